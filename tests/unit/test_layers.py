"""The import contract: who may import whom, where each third-party package lives, and what the listener never loads.

The tables are the contract; the tests hold whatever modules there are against them.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = [  # of node, top to bottom: a module imports only from rows below it, or from its own package
    {"__main__"},
    {"cli"},
    {"care", "control", "demo"},
    {"show", "conformance", "measure", "evaluate"},
    {"bench", "spoken"},
    {"app", "supervisor"},
    {"dimse", "intake", "process", "work", "deliver", "query", "web"},
    {"encode"},
    {"ledger", "spool", "config", "logs"},
    {"core"},
]
PIPELINES = {  # which parts of node may import which parts of pipelines; "pipelines" stands for all of it
    "app": "pipelines",
    "bench": "pipelines",
    "cli": "pipelines",
    "core": "pipelines.errors",
    "demo": "pipelines",
    "encode": "pipelines",
    "evaluate": "pipelines.evaluation",
    "intake": "pipelines",
    "process": "pipelines",
}
RUN_BY_HAND = {"pipelines.__main__", "pipelines.mounting", "pipelines.verbs"}
RUNS_BUNDLES = {
    f"pipelines.{name}"
    for name in (
        *(
            "axes",
            "backend",
            "boxes",
            "bundle",
            "configuration",
            "conformance",
            "engine",
            "identity",
            "inversion",
            "outputs",
            "reader",
            "stages",
            "stopwatch",
        ),
        *("untrained", "upload", "weights"),
    )
}
HOMES = {  # third-party package -> the only places that may import it
    "alembic": {"node.ledger"},
    "dbos": {"node.work"},
    "fastapi": {"node.web"},
    "h11": {"node.web"},
    "highdicom": {"node.encode"},
    "httpx": {"node.deliver"},
    "ignite": {"pipelines.engine"},
    "matplotlib": {"node.bench", "pipelines.evaluation.plots"},
    "monai": {*RUNS_BUNDLES, "pipelines.evaluation", "pipelines.ladder", "pipelines.runner"},
    "psutil": {"node.bench", "node.work"},
    "openvino": {"pipelines.backend"},
    "obstore": {"node.spool.bucket"},
    "psycopg": {"node.ledger"},
    "pynetdicom": {"node.dimse"},
    "python_multipart": {"node.web"},
    "sqlalchemy": {"node.ledger"},
    "starlette": {"node.web"},
    "torch": {*RUNS_BUNDLES, "pipelines.evaluation", "pipelines.ladder", "pipelines.memory", "pipelines.runner", "pipelines.selftest"},
    "typer": {"node.care", "node.cli", "node.control", "node.evaluate", "node.measure", *RUN_BY_HAND},
    "uvicorn": {"node.web"},
    "yaml": {"pipelines.outline"},
}
LIGHT = (
    "node.app.listen",
    "node.app.deliver",
    "node.app.web",
    "node.dimse",
    "node.intake",
    "node.deliver",
    "node.query",
    "node.ledger",
    "node.spool",
    "node.web",
    "pipelines.spec",
    "pipelines.result",
)
HEAVY = ("torch", "monai")

RANK = {unit: number for number, row in enumerate(LAYERS) for unit in row}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for package in ("node", "pipelines") for path in sorted((ROOT / package).rglob("*.py"))}


def imported_names(path: Path) -> Iterator[str]:
    for statement in ast.walk(ast.parse(path.read_text())):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{path}: imports are absolute"
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def module_of(name: str) -> str:
    """Return the module of ours that an imported name is, or is in; the name itself when it is not ours."""
    module = name
    while module not in FILES and "." in module:
        module = module.rpartition(".")[0]
    return module if module in FILES else name


IMPORTS = {module: sorted({module_of(name) for name in imported_names(path)}) for module, path in FILES.items()}


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def unit_of(module: str) -> str:
    return module.split(".")[1]


def faults_of(module: str, imported: str) -> Iterator[str]:
    if is_within(module, "pipelines") and is_within(imported, "node"):
        yield "pipelines knows nothing of node"
    elif module.startswith("node."):
        unit = unit_of(module)
        if imported.startswith("node.") and unit_of(imported) != unit and RANK[unit_of(imported)] <= RANK[unit]:
            yield "sideways or upwards"
        if is_within(imported, "pipelines") and not is_within(imported, PIPELINES.get(unit, "nothing")):
            yield f"node.{unit} may import {PIPELINES.get(unit, 'nothing')} of pipelines"
    homes = HOMES.get(imported.partition(".")[0])
    if homes is not None and not any(is_within(module, home) for home in homes):
        yield f"its home is {' and '.join(sorted(homes))}"


def test_imports_point_down() -> None:
    homeless = [module for module in FILES if module.startswith("node.") and unit_of(module) not in RANK]
    assert homeless == [], "they are in no row of LAYERS: decide where each stands"
    pairs = [(module, imported) for module, names in IMPORTS.items() for imported in names]
    assert [f"{module} imports {imported}: {fault}" for module, imported in pairs for fault in faults_of(module, imported)] == []


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("pipelines.series", "node.core.study"),
        ("node.core.study", "pipelines.spec"),
        ("node.core.study", "node.ledger.schema"),
        ("node.dimse.scp", "node.intake.receive"),
        ("node.deliver.courier", "pynetdicom.AE"),
        ("node.work.loop", "sqlalchemy.select"),
        ("node.work.loop", "pipelines.runner"),
        ("pipelines.series", "torch"),
        ("node.web.stow", "node.intake.receive"),
        ("node.app.web", "fastapi.FastAPI"),
        ("node.supervisor", "node.app"),
    ],
)
def test_the_contract_would_notice(module: str, imported: str) -> None:
    assert list(faults_of(module, imported))


@pytest.mark.parametrize("package", ["node", "pipelines"])
def test_no_modules_import_each_other(package: str) -> None:
    graph = {module: [name for name in names if name in FILES] for module, names in IMPORTS.items() if is_within(module, package)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as problem:
        pytest.fail(" imports ".join(reversed(problem.args[1])))


def heavy_modules_after(program: str) -> list[str]:
    """Run Python code in a fresh process and list what it loaded of the packages that only the model's process needs."""
    report = f"import sys; print('loaded:', *[name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", f"{program}\n{report}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.rpartition("loaded:")[2].split()


def test_the_roles_without_a_model_never_load_torch() -> None:
    modules = [module for module in FILES if any(is_within(module, light) for light in LIGHT) and "migrations" not in module]
    assert heavy_modules_after("".join(f"import {module}\n" for module in modules)) == []


@pytest.mark.parametrize("package", ["node", "pipelines"])
def test_help_never_loads_torch(package: str) -> None:
    if f"{package}.__main__" not in FILES:
        pytest.skip(f"there is no {package}.__main__ yet")
    program = f"""
import contextlib, runpy, sys
sys.argv = ["{package}", "--help"]
with contextlib.suppress(SystemExit):
    runpy.run_module("{package}", run_name="__main__")
"""
    assert heavy_modules_after(program) == []
