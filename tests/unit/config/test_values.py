"""Secrets come from the environment or a file and never out again; relative paths begin at the folder of the file."""

import pickle
from pathlib import Path

import pytest

from node.config import read_config
from node.core.errors import ConfigError

URL = "postgresql://radnode:hunter2@db/radnode"


@pytest.fixture
def write(tmp_path):
    def write(text, folder="."):
        path = tmp_path / folder / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_a_secret_may_be_given_in_the_environment(write, monkeypatch):
    monkeypatch.setenv("RADNODE_TEST_DATABASE", URL)
    assert read_config(write('[node]\ndatabase = { env = "RADNODE_TEST_DATABASE" }')).database_url == URL


def test_a_secret_may_be_given_in_a_file_beside_the_configuration(write, tmp_path, monkeypatch):
    path = write('[node]\ndatabase = { file = "secrets/database" }', "etc")
    (path.parent / "secrets").mkdir()
    (path.parent / "secrets" / "database").write_text(f"{URL}\n")
    monkeypatch.chdir(tmp_path)
    assert read_config(Path("etc/config.toml")).database_url == URL


def test_a_secret_may_be_given_in_a_file_anywhere(write, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(f"  {URL}\n")
    assert read_config(write(f'[node]\ndatabase = {{ file = "{secret}" }}', "etc")).database_url == URL


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ('{ env = "RADNODE_TEST_UNSET" }', "the environment has no variable RADNODE_TEST_UNSET; set it, or give the value here"),
        ('{ file = "none" }', "the file none cannot be read (No such file or directory); create it, or give the value here"),
        ('{ file = "." }', "the file . cannot be read (Is a directory); create it, or give the value here"),
        ('{ file = "binary" }', "the file binary is not UTF-8 text; write the value alone into it"),
        ('{ env = "A", file = "B" }', 'a secret is a string, { env = "NAME" } or { file = "PATH" }'),
        ("{ env = 1 }", 'a secret is a string, { env = "NAME" } or { file = "PATH" }'),
        ("{}", 'a secret is a string, { env = "NAME" } or { file = "PATH" }'),
    ],
)
def test_a_secret_that_cannot_be_had_is_a_fault(value, sentence, write, monkeypatch):
    monkeypatch.delenv("RADNODE_TEST_UNSET", raising=False)
    path = write(f"[node]\ndatabase = {value}")
    (path.parent / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert caught.value.sentence.splitlines()[1:] == [f"  node.database: {sentence}"]


def test_a_secret_is_never_shown(write):
    config = read_config(write(f'[node]\ndatabase = "{URL}"'))
    shown = [repr(config), str(config), config.model_dump_json(), str(config.model_dump()), repr(config.node), str(config.node.database)]
    assert not any("hunter2" in text for text in shown)
    assert config.database_url == URL
    assert pickle.loads(pickle.dumps(config)).database_url == URL


def test_relative_paths_begin_at_the_folder_of_the_file(write, tmp_path, monkeypatch):
    write('[node]\ndata = "var"\n[pipelines]\nfolder = "../p"\nmodels = "/opt/models"', "etc/radnode")
    monkeypatch.chdir(tmp_path / "etc")
    config = read_config(Path("radnode/config.toml"))
    folder = tmp_path.resolve() / "etc" / "radnode"
    assert config.node.data == folder / "var"
    assert config.pipelines.folder == folder / "../p"
    assert config.pipelines.models == Path("/opt/models")
    assert config.database_url == f"sqlite:///{folder}/var/radnode.db"


def test_where_the_process_stands_makes_no_difference(write, tmp_path, monkeypatch):
    path = write("")
    here = read_config(path)
    monkeypatch.chdir("/")
    assert read_config(path) == here


def test_we_answer_to_our_own_title_and_to_those_that_are_listed(write):
    listed = read_config(write('[node]\nae_title = "AI"\n[listen]\ncalled_ae = ["AI2", " AI3 "]'))
    assert listed.called_ae_titles == {"AI", "AI2", "AI3"}
    anything = read_config(write('[node]\nae_title = "AI"\n[listen]\ncalled_ae = ["AI2"]\nany_called_ae = true'))
    assert anything.called_ae_titles == frozenset()
