"""The config.toml that we ship is complete, and says what is so."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from node.config import ClientTlsSection, Config, DestinationSection, ServerTlsSection, read_config

SHIPPED = Path(__file__).parents[3] / "config.toml"
#: What the file chooses although the model's default is another: an installation must say it.
CHOSEN = {"pipelines.enabled": ("ct_lungs",)}
TABLES = {name: field.annotation for name, field in Config.model_fields.items() if name != "destination"}


@pytest.fixture(scope="module")
def written():
    return tomllib.loads(SHIPPED.read_text())


def test_it_is_read_without_a_fault():
    config = read_config(SHIPPED)
    assert config.node.ae_title == "RADNODE"
    assert [destination.name for destination in config.destination] == ["pacs"]


def test_every_table_of_the_models_is_walked():
    assert all(issubclass(table, BaseModel) for table in TABLES.values())
    assert len(TABLES) >= 8


@pytest.mark.parametrize("table", TABLES)
def test_every_field_of_every_table_is_in_the_file(table, written):
    assert sorted(written[table]) == sorted(set(TABLES[table].model_fields) - {"tls"})


def test_every_field_of_a_destination_is_in_the_file(written):
    (destination,) = written["destination"]
    assert list(destination) == [name for name in DestinationSection.model_fields if name != "tls"]


def test_the_optional_tables_are_in_the_file_as_comments():
    words = r"listen\.tls|destination\.tls|certificate|key|authority|names|check_name"
    optional = tomllib.loads(re.sub(rf"(?m)^# (\[?(?:{words})\b)", r"\1", SHIPPED.read_text()))
    assert sorted(optional["listen"]["tls"]) == sorted(ServerTlsSection.model_fields)
    assert sorted(optional["destination"][0]["tls"]) == sorted(ClientTlsSection.model_fields)


def test_it_has_no_table_that_the_models_do_not_know(written):
    assert list(written) == list(Config.model_fields)


@pytest.mark.parametrize(("table", "key"), [(table, key) for table, model in TABLES.items() for key in model.model_fields])
def test_what_it_says_is_the_default(table, key, tmp_path, written):
    (tmp_path / "config.toml").write_text("")
    default = getattr(getattr(read_config(tmp_path / "config.toml"), table), key)
    here = getattr(getattr(read_config(SHIPPED), table), key)
    if isinstance(here, Path):
        default, here = default.relative_to(tmp_path.resolve()), here.relative_to(SHIPPED.parent)
    assert here == CHOSEN.get(f"{table}.{key}", default)


def test_it_says_what_every_key_with_a_choice_may_be():
    lines = SHIPPED.read_text().splitlines()
    for key in ("level", "format", "late", "device"):
        (line,) = [line for line in lines if line.startswith(f"{key} ")]
        assert " | " in line.partition("#")[2]


def test_an_empty_file_is_a_configuration(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("")
    assert read_config(path).destination == ()
