"""The README and CONTRIBUTING agree with the code: example, suites, networks, folders and paths."""

import re
from pathlib import Path

import pytest

from benchmark.experiment.suite import suite_names
from benchmark.models import names
from methods import registry

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def test_the_example_method_composes(tmp_path, isolated_registry):
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    (tmp_path / "centred.py").write_text(code)
    registry.load(str(tmp_path / "centred.py"))
    assert "centred.weight" in registry.knobs("centred+kd")


def test_every_suite_is_in_the_table():
    assert re.findall(r"^\| `(\w+)` \|", README, re.M)[: len(suite_names())] == [
        "digits", "mini", "quick", "crd", "sp", "kda", "lsh", "lp",
    ]  # fmt: skip
    assert sorted(suite_names()) == ["crd", "digits", "kda", "lp", "lsh", "mini", "quick", "sp"]


def test_the_number_of_networks_is_right():
    assert f"{len(names())} networks" in README


@pytest.mark.parametrize("path", re.findall(r"\]\(([\w./-]+)\)", README))
def test_every_picture_and_link_exists(path):
    assert (ROOT / path).exists()


def test_the_folders_in_the_readme_are_those_of_the_package():
    tree = re.search(r"```text\n(.*?)```", README, re.S)[1]
    folders = sorted(path.parent.name for path in (ROOT / "benchmark").glob("*/__init__.py"))
    assert sorted(re.findall(r"^  (\w+)/ ", tree, re.M)) == folders
    for name in re.findall(r"\b\w+\.(?:py|yaml)\b", tree):
        assert list(ROOT.glob(f"benchmark/**/{name}")), name


@pytest.mark.parametrize("path", re.findall(r"`((?:benchmark|methods|tests)/[\w./]+)`", README + CONTRIBUTING))
def test_every_named_path_exists(path):
    assert (ROOT / path).exists()
