"""The hash of a method's code: which changes alter it, and the table of versions with the same results."""

import hashlib
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from benchmark.conformance.trial import PAIRS, Trial
from benchmark.record import equivalent_hashes
from benchmark.training.loop import train
from methods import registry
from methods.source_hash import source_hash

ROOT = Path(__file__).parents[2]
CODE = b'''"""A method."""
import torch  # tensors

class A:
    """Its class."""
    def loss(self, s):
        """Its loss."""
        return f"{s:.2f}", 1.0  # a constant
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"A method.", b"Another word."),
        (b'"""Its loss."""', b""),
        (b'"""Its class."""\n', b"\n\n"),
        (b"  # tensors", b""),
        (b"1.0  # a constant", b"(\n  1.0)"),
    ],
    ids=["docstring", "no docstring", "class without docstring", "comment", "layout"],
)
def test_docstrings_comments_and_layout_do_not_change_the_hash(old, new):
    assert old in CODE
    assert source_hash(CODE.replace(old, new)) == source_hash(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"1.0", b"1"), (b"1.0", b"1.5"), (b".2f", b".3f"), (b"loss", b"cost"), (b"A:", b"A(B):"), (b"s)", b"s=0)")],
    ids=["type", "value", "format", "name", "base", "default"],
)
def test_code_changes_the_hash(old, new):
    assert old in CODE
    assert source_hash(CODE.replace(old, new, 1)) != source_hash(CODE)


def test_the_hash_is_the_same_in_every_version_of_python():
    assert source_hash(CODE) == "e22b7f71c13f"


def test_the_hash_depends_on_the_order_of_the_parts():
    assert source_hash(CODE, b"x = 1") != source_hash(b"x = 1", CODE)


# ---- versions with the same results
@cache
def versions():
    """Hash -> contents of every version of every method file: those in git and today's; each under both its hashes."""
    if git("rev-parse", "--is-shallow-repository").strip() != b"false":
        pytest.skip("not a checkout with its history")
    blobs = {
        line.split()[3]
        for line in git("log", "--raw", "--no-abbrev", "--format=", "--", "methods/*.py").decode().splitlines()
    }
    texts = [git("cat-file", "blob", blob) for blob in sorted(blobs) if set(blob) != {"0"}]
    texts += [path.read_bytes() for path in sorted((ROOT / "methods").glob("*.py"))]
    return {key: text for text in texts for key in (hashlib.sha256(text).hexdigest()[:12], source_hash(text))}


def test_every_hash_of_the_table_is_that_of_a_version():
    assert set(equivalent_hashes()) | set(equivalent_hashes().values()) <= set(versions())


def test_versions_that_the_table_links_are_of_the_same_method():
    for old, new in equivalent_hashes().items():
        assert method_name(versions()[old]) == method_name(versions()[new])


@pytest.mark.parametrize("old", equivalent_hashes())
def test_equivalent_versions_train_the_same_weights(old, isolated_registry, tmp_path):
    new = equivalent_hashes()[old]
    if source_hash(versions()[old]) == new:
        return  # the same code under the hash of its bytes
    found = []
    for text in (versions()[old], versions()[new]):
        name = method_name(text)
        isolated_registry.pop(name)
        path = tmp_path / f"{len(found)}" / f"{name}.py"
        path.parent.mkdir()
        path.write_bytes(text)
        registry.load(str(path))
        found.append([trained_weights(Trial(name, *pair, tmp_path)) for pair in PAIRS])
    assert found[0] == found[1]


def method_name(text):
    """The name that a method file registers."""
    return re.search(rb'^@register\("(\w+)"\)', text, re.M)[1].decode()


def trained_weights(trial):
    """The bytes of the weights and the loss curves of a whole training."""
    context = trial.context()
    record = train([trial.run], context)[-1]
    assert record.status == "done"
    return context.store.weights(record.id).read_bytes(), record.curve


def git(*arguments):
    """The output of a git command; b"" outside a checkout."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False).stdout
