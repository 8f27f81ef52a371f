"""The shape of the code: what a reader can count on in every file of node and pipelines, and in every test."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

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
SOURCES = {
    str(path.relative_to(ROOT)): path.read_text() for package in ("node", "pipelines") for path in sorted((ROOT / package).rglob("*.py"))
}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
OURS = [name for name in SOURCES if not name.startswith(MIGRATIONS)]


def module_of(name: str) -> str:
    return name.removesuffix(".py").replace("/", ".")


def found(seek: Callable[[str], Iterable[object]], names: Iterable[str] = SOURCES) -> dict[str, list[object]]:
    """What is found in each source in which anything is found."""
    faults = {name: list(seek(name)) for name in names}
    return {name: fault for name, fault in faults.items() if fault}


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


def test_functions_fit_on_a_screen() -> None:
    def too_long(name: str) -> Iterator[str]:
        functions = (node for node in ast.walk(TREES[name]) if isinstance(node, Function))
        return (f"{function.name}: {body_lines(function)} lines" for function in functions if body_lines(function) > LONGEST_BODY)

    assert found(too_long, OURS) == {}


def test_modules_are_short() -> None:
    lengths = {name: len(SOURCES[name].splitlines()) for name in OURS}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_modules_are_named_for_a_thing() -> None:
    assert [name for name in SOURCES if Path(name).stem in VAGUE_NAMES] == []


def test_nothing_is_global() -> None:
    assert found(lambda name: (node.lineno for node in ast.walk(TREES[name]) if isinstance(node, ast.Global))) == {}


def test_what_is_public_has_a_docstring() -> None:
    def without(name: str) -> Iterator[str]:
        if TREES[name].body and ast.get_docstring(TREES[name]) is None:
            yield "the module"
        yield from (node.name for node in public_definitions(TREES[name]) if ast.get_docstring(node) is None)

    assert found(without) == {}


def test_errors_are_caught_by_name() -> None:
    def broad(name: str) -> list[object]:
        lines = [node.lineno for node in ast.walk(TREES[name]) if isinstance(node, ast.ExceptHandler) and is_broad(node)]
        return [] if len(lines) == BOUNDARIES.get(module_of(name), 0) else [lines, "are not as many as BOUNDARIES says"]

    assert found(broad) == {}


def test_the_environment_is_read_at_the_top_only() -> None:
    words = {"environ", "getenv"}

    def reads(name: str) -> Iterator[int]:
        for node in ast.walk(TREES[name]):
            is_import = isinstance(node, ast.ImportFrom) and words & {alias.name for alias in node.names}
            if is_import or (isinstance(node, ast.Attribute) and node.attr in words):
                yield node.lineno

    assert found(reads, set(SOURCES) - READS_ENVIRONMENT) == {}


def test_nothing_is_mocked() -> None:
    """DICOM, SQL, sockets and files are real in every test."""
    tests = {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "tests").rglob("*.py"))}
    assert {name: STAND_INS.findall(text) for name, text in tests.items() if STAND_INS.search(text)} == {}
