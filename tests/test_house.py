"""The architecture, read from the source: imports run downward between rooms, and files stay small."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = {
    "README.md", "requirements.txt", "requirements-dev.txt", "requirements-cluster.txt", "requirements-cuda12.txt",
    "run_all.sh", "pyproject.toml", "LICENSE",
    "CONTRIBUTING.md", "RELIABILITY.md", "benchmark", "methods", "results", "reports", "tests", ".ci", ".gitignore",
}  # fmt: skip
FLOORS = (  # an import leads from a room to a lower floor, never up or sideways
    "__main__",
    "cli",
    "theory",
    "profiling doctor tuning",
    "sweep conformance",
    "training report",
    "acceleration data",
    "models experiment",
    "store",
    "record files errors interrupts waiting privacy",
)
LEVEL = {room: -floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
MANY = ("report/tables", "report/figures", "models")  # folders of one file per table, figure or family
RETIRED = {  # names that only their author understood
    "flight", "landing", "belt", "nature", "circumstances", "outlook", "gaze", "ink", "board", "fly", "flown", "flying",
    "land", "retire", "bring", "carry", "dismiss", "Ask", "ask", "words", "told", "card", "made",
}  # fmt: skip
SOURCES = sorted([*(ROOT / "benchmark").rglob("*.py"), *(ROOT / "methods").rglob("*.py")])
ENGINE = [path for path in SOURCES if path.is_relative_to(ROOT / "benchmark")]
NO_METHODS = (
    "__init__.py",
    "contract.py",
    "registry.py",
    "blocks.py",
    "source_hash.py",
    "composition.py",
)  # of methods/, no methods themselves


def imports(path):
    """Every module or name that a file imports, wherever the statement stands, for types alone too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path):
    """benchmark/models/net.py -> models; benchmark/store.py -> store."""
    return path.relative_to(ROOT / "benchmark").parts[0].removesuffix(".py")


def module_file(name):
    """benchmark.models.net -> its file; None for a name inside a module, or another package."""
    stem = ROOT.joinpath(*name.split("."))
    found = [path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()]
    return found[0] if found else None


def files_imported(path):
    """The files of benchmark/ that a file imports."""
    found = {module_file(name) for name in imports(path) if name.startswith("benchmark.")}
    return found - {None, path}


def rooms_imported(path):
    """The rooms of benchmark/ that a file imports."""
    return {room(other) for other in files_imported(path)}


def test_the_top_level_is_as_agreed():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = {Path(line).parts[0] for line in listed.stdout.splitlines()}
    assert found <= TOP


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[-2] == "methods"], ids=lambda p: p.name)
def test_methods_know_nothing_of_the_benchmark(path):
    assert not [name for name in imports(path) if name.startswith("benchmark")]


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[-2] == "methods"], ids=lambda p: p.name)
def test_a_method_imports_contract_registry_and_blocks_only(path):
    if path.name in NO_METHODS:
        pytest.skip("part of the interface of methods")
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("methods.")}
    assert ours <= {"contract", "registry", "blocks"}


@pytest.mark.parametrize("path", ENGINE, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downward_between_rooms(path):
    if path.parent == ROOT / "benchmark" and path.name == "__init__.py":
        return
    own = room(path)
    for other in rooms_imported(path) - {own}:
        assert LEVEL[other] < LEVEL[own], f"{path.relative_to(ROOT)} imports benchmark.{other}, which is not below it"


def test_no_imports_run_in_a_circle():
    graph = {path: files_imported(path) for path in SOURCES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as fault:
        pytest.fail(" imports ".join(str(path.relative_to(ROOT)) for path in reversed(fault.args[1])))


def test_every_room_has_its_floor():
    assert {room(path) for path in ENGINE} - {"__init__"} == set(LEVEL)


def test_no_folder_has_more_than_14_files():
    folders = {path.parent for path in ENGINE} - {ROOT / "benchmark" / name for name in MANY}
    for folder in folders:
        files = [path for path in folder.iterdir() if path.is_file() and path.suffix != ".pyc"]
        assert len(files) <= 14, f"{folder.relative_to(ROOT)} has {len(files)} files"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_retired_name_is_used(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        found |= {getattr(node, word, None) for word in ("id", "attr", "arg", "name", "asname") if hasattr(node, word)}
    assert sorted(found & RETIRED) == []
    assert path.stem not in RETIRED


def test_the_report_stands_on_store_and_values_only():
    for path in (ROOT / "benchmark" / "report").rglob("*.py"):
        assert rooms_imported(path) <= {"report", "store", "record", "experiment", "errors", "files"}, path


def test_the_store_imports_only_what_writes_files():
    assert rooms_imported(ROOT / "benchmark/store.py") == {"files", "record"}
    assert not [name for name in imports(ROOT / "benchmark/store.py") if name.startswith(("methods", "torch"))]


def test_no_file_of_the_engine_names_a_method():
    names = {p.stem for p in (ROOT / "methods").glob("*.py") if p.name not in NO_METHODS}
    for path in SOURCES:
        if path.parts[-2] == "methods" or path.stem in ("trial", "resolve"):
            continue  # `ce` names the plain student there: the run of a teacher, not a case apart
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                strings = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)}
                assert not strings & names, f"{path.name}:{node.lineno} compares a method's name"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 200
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= 40, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_and_public_function_says_what_it_is(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            known = [b for b in getattr(node, "bases", []) if getattr(b, "id", "") == "Method"]
            assert ast.get_docstring(node) or known or path.parts[-2] == "methods", f"{path.name}: {node.name}"


def test_nothing_is_left_unfinished():
    odd = re.compile(r"\b(TODO|FIXME|XXX)\b|NotImplementedError")
    assert not [path for path in SOURCES if odd.search(path.read_text())]


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_has_nothing_to_say(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


LOADED = (
    "import sys; import {}; "
    "print(*sorted({{'torch', 'pandas', 'matplotlib', 'sklearn', 'scipy.stats'}} & set(sys.modules)))"
)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("benchmark.report.build", {"torch", "sklearn"}),
        ("benchmark.report.commands.explain", {"torch", "pandas", "matplotlib", "sklearn", "scipy.stats"}),
        ("benchmark.store", {"torch", "pandas", "matplotlib", "sklearn"}),
        ("benchmark.cli.app", {"torch", "pandas", "matplotlib", "sklearn"}),
        ("benchmark.sweep.runner", {"pandas", "matplotlib"}),
    ],
)
def test_heavy_libraries_are_loaded_only_where_they_work(module, heavy):
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(module)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not heavy & set(done.stdout.split())
