"""The shape of the code: what a reader can count on in every file of node and pipelines, and in every test."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_BODY = 45
LONGEST_MODULE = 300
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
BOUNDARIES = {  # the process boundaries: one broad except each, which turns whatever happened into the cautious answer
    "node.dimse.mpps": 1,
    "node.dimse.commitment": 1,
    "node.deliver.reporter": 1,
    "node.dimse.pledge": 1,
    "node.dimse.query": 1,
    "node.dimse.retrieve": 1,
    "node.dimse.scp": 1,
    "node.dimse.receive": 1,
    "node.dimse.messages": 1,
    "node.dimse.guard": 2,
    "node.work.child": 1,
    "node.work.loop": 1,
    "node.intake.assemble": 1,
    "node.intake.census": 1,
    "node.intake.scribe": 1,
    "node.web.submission": 1,
}
READS_ENVIRONMENT = {"node/__main__.py", "node/cli.py", "node/config/fields.py", "pipelines/__main__.py"}
MIGRATIONS = "node/ledger/migrations/versions/"  # each is a list of columns as they were once; cutting it up would explain nothing
STAND_INS = re.compile("|".join(["unittest" + r"\.mock", "Magic" + "Mock", "mock" + "er", r"monkeypatch\." + "setattr"]))

Function = ast.FunctionDef | ast.AsyncFunctionDef
SOURCES = {str(path.relative_to(ROOT)): path for package in ("node", "pipelines") for path in sorted((ROOT / package).rglob("*.py"))}
every_source = pytest.mark.parametrize("name", SOURCES)
every_source_but_migrations = pytest.mark.parametrize("name", [name for name in SOURCES if not name.startswith(MIGRATIONS)])


def nodes(name: str) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(SOURCES[name].read_text()))


def module_of(name: str) -> str:
    return name.removesuffix(".py").replace("/", ".")


def functions(name: str) -> Iterator[Function]:
    yield from (node for node in nodes(name) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Count the lines of a function without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler swallows whatever comes; one that cleans up and raises again does not."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {kind.id if isinstance(kind, ast.Name) else None for kind in kinds if kind is not None} or {"BaseException"}
    last = handler.body[-1]
    return bool(names & {"Exception", "BaseException"}) and not (isinstance(last, ast.Raise) and last.exc is None)


def public_definitions(tree: ast.Module | ast.ClassDef) -> Iterator[Function | ast.ClassDef]:
    """Yield the functions, classes and methods that other modules may use."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node)


@every_source_but_migrations
def test_functions_fit_on_a_screen(name: str) -> None:
    too_long = {function.name: body_lines(function) for function in functions(name) if body_lines(function) > LONGEST_BODY}
    assert too_long == {}


@every_source_but_migrations
def test_modules_are_short(name: str) -> None:
    assert len(SOURCES[name].read_text().splitlines()) <= LONGEST_MODULE


@every_source
def test_modules_are_named_for_a_thing(name: str) -> None:
    assert Path(name).stem not in VAGUE_NAMES


@every_source
def test_nothing_is_global(name: str) -> None:
    assert [node.lineno for node in nodes(name) if isinstance(node, ast.Global)] == []


@every_source
def test_what_is_public_has_a_docstring(name: str) -> None:
    tree = ast.parse(SOURCES[name].read_text())
    assert ast.get_docstring(tree) is not None or not tree.body
    assert [node.name for node in public_definitions(tree) if ast.get_docstring(node) is None] == []


@every_source
def test_errors_are_caught_by_name(name: str) -> None:
    lines = [node.lineno for node in nodes(name) if isinstance(node, ast.ExceptHandler) and is_broad(node)]
    assert len(lines) == BOUNDARIES.get(module_of(name), 0), f"broad except in lines {lines}"


@every_source
def test_the_environment_is_read_at_the_top_only(name: str) -> None:
    words = {"environ", "getenv"}
    reads = [node.lineno for node in nodes(name) if isinstance(node, ast.Attribute) and node.attr in words]
    reads += [node.lineno for node in nodes(name) if isinstance(node, ast.ImportFrom) and words & {alias.name for alias in node.names}]
    assert reads == [] or name in READS_ENVIRONMENT, f"the environment is read in lines {reads}"


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_mocked(path: Path) -> None:
    assert STAND_INS.findall(path.read_text()) == [], "DICOM, SQL, sockets and files are real in every test"
