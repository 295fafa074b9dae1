"""What the README shows is so."""

import re
from pathlib import Path

import pytest

from benchmark import conform
from benchmark.models import names
from benchmark.suite import suites
from benchmark.trial import PAIRS
from methods import registry

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_method_in_twenty_lines_conforms_and_composes(tmp_path, shelf):
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    (tmp_path / "centred.py").write_text(code)
    registry.load(str(tmp_path / "centred.py"))
    assert conform.examine("centred", PAIRS[1]) == ([], "")
    assert "centred.weight" in registry.knobs("centred+kd")


def test_every_suite_is_in_the_table():
    assert re.findall(r"^\| `(\w+)` \|", README, re.M)[: len(suites())] == [
        "digits", "mini", "quick", "crd", "sp", "kda", "lsh", "lp",
    ]  # fmt: skip
    assert sorted(suites()) == ["crd", "digits", "kda", "lp", "lsh", "mini", "quick", "sp"]


def test_the_number_of_networks_is_right():
    assert f"{len(names())} networks" in README


@pytest.mark.parametrize("path", re.findall(r"\]\(([\w./-]+)\)", README))
def test_every_picture_and_link_is_there(path):
    assert (ROOT / path).exists()


def test_every_file_of_the_map_is_there():
    tree = re.search(r"```text\n(.*?)```", README, re.S)[1]
    for word in re.findall(r"\b[\w]+\.(?:py|yaml)\b", tree):
        assert list(ROOT.glob(f"benchmark/{word}")), word
