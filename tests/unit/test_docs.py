"""What the documents say is what the code does."""

import importlib
import re
import tomllib
from pathlib import Path

from typer.testing import CliRunner

from node.cli import app
from node.conformance import statement
from node.core import errors
from node.ledger import schema
from node.spoken import STEPS
from pipelines.rules import Input
from pipelines.spec import Label, Limits, Outputs, Pipeline, Plausible
from pipelines.verbs import VERBS

ROOT = Path(__file__).parents[2]


def subclasses(kind: type[errors.CodedError]) -> set[type[errors.CodedError]]:
    return {kind} | {deeper for child in kind.__subclasses__() for deeper in subclasses(child)}


def test_every_error_code_is_explained_for_operators() -> None:
    importlib.import_module("node.work.loop")  # has two of its own
    codes = {kind.code for kind in subclasses(errors.CodedError)}
    explained = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE))
    assert explained == codes


def test_every_table_and_state_is_described() -> None:
    text = (ROOT / "docs" / "ledger.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(schema.metadata.tables)


def test_every_command_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text()
    verbs = set(re.findall(r"radnode ([a-z-]+)", text)) - {"is"}
    runner = CliRunner()
    for verb in sorted(verbs):
        done = runner.invoke(app, [verb, "--help"])
        assert done.exit_code == 0, f"radnode {verb} does not exist"
        assert "Example" in done.output or verb == "--help", f"radnode {verb} --help shows no example"
    assert runner.invoke(app, ["no-such-verb", "--help"]).exit_code != 0


def test_every_file_that_the_architecture_names_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    modules = set(re.findall(r"`(node(?:\.\w+)+)`", text))
    named = set(re.findall(r"`((?:node|tests)/[\w/]+\.py)`", text)) | {f"{module.replace('.', '/')}.py" for module in modules}
    assert modules
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_event_that_the_code_records_has_words_for_people() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "node" / "ledger").glob("*.py"))
    recorded = set(re.findall(r'record\(\s*tx,\s*"([a-z]+\.[a-z_]+)"', sources))
    assert recorded
    assert recorded - set(STEPS) == set()


def test_the_conformance_statement_is_what_the_node_runs_by() -> None:
    assert (ROOT / "docs" / "conformance.md").read_text() == statement(), "radnode conformance > docs/conformance.md"


def test_every_key_of_a_pipeline_is_explained() -> None:
    text = (ROOT / "docs" / "pipelines.md").read_text()
    keys = {key for model in (Pipeline, Input, Limits, Label, Plausible, Outputs) for key in model.model_fields}
    assert sorted(key for key in keys if not re.search(rf"`(?:\[\[?)?{key}\b", text)) == []


def test_every_pipeline_that_ships_is_named() -> None:
    text = (ROOT / "docs" / "pipelines.md").read_text()
    shipped = {path.parent.name for path in (ROOT / "pipelines").glob("*/pipeline.toml")}
    assert {name for name in shipped if f"`{name}`" not in text} == set()


def test_the_path_of_a_data_scientist_can_be_walked() -> None:
    text = (ROOT / "docs" / "pipelines.md").read_text()
    tables = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]
    (limits,) = [table["limits"] for table in tables if "limits" in table]
    assert set(Limits.model_validate(limits).model_dump()) == set(Limits.model_fields)
    verbs = set(re.findall(r"radnode pipelines ([a-z]+)", text))
    assert verbs
    assert verbs == set(VERBS)


def test_every_document_that_is_linked_exists() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"
