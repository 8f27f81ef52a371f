"""The config.toml that we ship is complete, and says what is so."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from node.config import (
    CalledSection,
    ClientTlsSection,
    Config,
    DicomDestinationSection,
    ExpectedSection,
    PeerSection,
    PrioritySection,
    SenderDestinationSection,
    ServerTlsSection,
    StowDestinationSection,
    TokenSection,
    read_config,
)

SHIPPED = Path(__file__).parents[3] / "config.toml"
#: What the file chooses although the model's default is another: an installation must say it.
CHOSEN = {"pipelines.enabled": ("ct_lungs",)}
LISTS = ("called", "priority", "peer", "destination")
TABLES = {name: field.annotation for name, field in Config.model_fields.items() if name not in LISTS}


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
    assert sorted(written[table]) == sorted(set(TABLES[table].model_fields) - {"tls", "tokens"})


def test_every_field_of_a_destination_is_in_the_file(written):
    (destination,) = written["destination"]
    assert list(destination) == [name for name in DicomDestinationSection.model_fields if name not in ("tls", "kind")]


def test_the_optional_tables_are_in_the_file_as_comments():
    words = r"listen\.tls|web\.tls|web\.tokens|token|destination\.tls|destination|certificate|key|authority|names|check_name"
    words += r"|peer|name|ae_title|host|port"
    words += r"|kind|url|user|password|confirm|shadow"
    words += r"|called|calling_ae|addresses|pipelines|quiet_s|patience_s|expected_series|ask"
    words += r"|priority|called_ae|tag|value"
    optional = tomllib.loads(re.sub(rf"(?m)^# (\[{{0,2}}(?:{words})\b)", r"\1", SHIPPED.read_text()))
    assert sorted(optional["web"]["tokens"][0]) == sorted(TokenSection.model_fields)
    _, web, sender = optional["destination"]
    assert list(web) == [name for name in StowDestinationSection.model_fields if name != "tls"]
    assert list(sender) == list(SenderDestinationSection.model_fields)
    assert sorted(optional["peer"][0]) == sorted(set(PeerSection.model_fields) - {"tls"})
    assert list(optional["called"][0]) == list(CalledSection.model_fields)
    assert list(optional["called"][0]["expected_series"][0]) == list(ExpectedSection.model_fields)
    assert Config.model_validate({"called": optional["called"], "destination": optional["destination"][:1]}).called[0].ask == "pacs"
    assert list(optional["priority"][0]) == list(PrioritySection.model_fields)
    assert sorted(optional["listen"]["tls"]) == sorted(ServerTlsSection.model_fields)
    assert sorted(optional["web"]["tls"]) == sorted(ServerTlsSection.model_fields)
    assert sorted(optional["destination"][0]["tls"]) == sorted(ClientTlsSection.model_fields)


def test_it_has_no_table_that_the_models_do_not_know(written):
    assert list(written) == [name for name in Config.model_fields if name not in ("called", "priority", "peer")]


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
