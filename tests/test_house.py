"""The architecture, read from the source: imports run downward, names stay where they belong, files stay small."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOP = {
    "README.md", "requirements.txt", "requirements-dev.txt", "run_all.sh", "pyproject.toml", "LICENSE",
    "CONTRIBUTING.md", "benchmark", "methods", "results", "reports", "tests", ".ci", ".gitignore",
}  # fmt: skip
FLOORS = (
    "__main__",
    "circumstances reading",
    "targets",
    "compare explain export",
    "rebuild",
    "bound",
    "report outlook cost",
    "conform",
    "sweep check adopt speed theory",
    "execute trial grid registered plain",
    "card origin",
    "progress",
    "train",
    "timing",
    "lane",
    "landing",
    "flight setting",
    "teacher",
    "made size score weights memory",
    "accelerate data",
    "belt",
    "outputs onednn norm device",
    "graphs",
    "nature",
    "datasets models",
    "spec",
    "folders suite",
    "run store seeds options docstrings",
    "errors files",
)
LEVEL = {name: -floor for floor, names in enumerate(FLOORS) for name in names.split()}
SOURCES = sorted([*(ROOT / "benchmark").rglob("*.py"), *(ROOT / "methods").rglob("*.py")])


class Runtime(ast.NodeTransformer):
    """Leaves out what is imported for the sake of types only."""

    def visit_If(self, node):
        return None if getattr(node.test, "id", "") == "TYPE_CHECKING" else self.generic_visit(node)


def imports(path):
    """Every module that a file imports, wherever the statement stands."""
    for node in ast.walk(Runtime().visit(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part(path):
    """benchmark/models/net.py -> models; benchmark/lane.py -> lane."""
    return path.relative_to(ROOT / "benchmark").parts[0].removesuffix(".py")


def ours(path):
    """The parts of benchmark/ that a file imports at run time."""
    names = {name.split(".")[1] for name in imports(path) if name.startswith("benchmark.")}
    return {name for name in names if (ROOT / "benchmark" / name).exists() or (ROOT / f"benchmark/{name}.py").exists()}


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
    if path.name in ("__init__.py", "contract.py", "registry.py", "source_hash.py"):
        pytest.skip("the shelf itself")
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("methods.")}
    assert ours <= {"contract", "registry", "blocks"}


@pytest.mark.parametrize("path", [p for p in SOURCES if "benchmark" in p.parts[:-1] and part(p) in LEVEL], ids=str)
def test_imports_run_downward(path):
    own = part(path)
    for name in ours(path) - {own}:
        assert LEVEL[name] < LEVEL[own], f"{path.name} imports benchmark.{name}, which does not lie below it"


def test_every_part_of_the_benchmark_has_its_floor():
    parts = {part(path) for path in SOURCES if "benchmark" in path.parts[:-1]}
    assert parts - {"__init__"} == set(LEVEL)


def test_the_report_stands_on_store_and_values_only():
    for path in (ROOT / "benchmark" / "report").rglob("*.py"):
        assert ours(path) <= {"report", "store", "run", "suite", "docstrings", "errors", "files"}, path


def test_the_store_imports_only_what_writes_files():
    assert ours(ROOT / "benchmark/store.py") == {"files"}
    assert not [name for name in imports(ROOT / "benchmark/store.py") if name.startswith(("methods", "torch"))]


def test_no_file_of_the_engine_names_a_method():
    names = {p.stem for p in (ROOT / "methods").glob("*.py")} - {
        "__init__",
        "contract",
        "registry",
        "blocks",
        "source_hash",
    }
    for path in SOURCES:
        if path.parts[-2] == "methods" or path.stem in ("trial", "spec", "__main__"):
            continue  # `ce` names the plain student there: the run of a teacher, not a case apart
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                words = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)}
                assert not words & names, f"{path.name}:{node.lineno} compares a method's name"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 200
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= 40 or "circumstances" in node.name, f"{node.name} has {lines} lines"


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


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_has_nothing_to_say(words):
    told = subprocess.run(
        [sys.executable, "-m", "ruff", *words, "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


LOADED = "import sys; import {}; print(*sorted({{'torch', 'pandas', 'matplotlib', 'sklearn'}} & set(sys.modules)))"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("benchmark.report", {"torch", "sklearn"}),
        ("benchmark.store", {"torch", "pandas", "matplotlib", "sklearn"}),
        ("benchmark.__main__", {"torch", "pandas", "matplotlib", "sklearn"}),
        ("benchmark.sweep", {"pandas", "matplotlib"}),
    ],
)
def test_heavy_libraries_are_loaded_only_where_they_work(module, heavy):
    told = subprocess.run(
        [sys.executable, "-c", LOADED.format(module)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not heavy & set(told.stdout.split())
