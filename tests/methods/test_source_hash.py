"""The hash of a method's code: what moves it, what does not, and what early records are read as."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from benchmark.store import early_hashes
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
def test_words_and_layout_do_not_move_the_hash(old, new):
    assert old in CODE
    assert source_hash(CODE.replace(old, new)) == source_hash(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"1.0", b"1"), (b"1.0", b"1.5"), (b".2f", b".3f"), (b"loss", b"cost"), (b"A:", b"A(B):"), (b"s)", b"s=0)")],
    ids=["type", "value", "format", "name", "base", "default"],
)
def test_code_moves_the_hash(old, new):
    assert old in CODE
    assert source_hash(CODE.replace(old, new, 1)) != source_hash(CODE)


def test_the_hash_is_the_same_in_every_version_of_python():
    assert source_hash(CODE) == "e22b7f71c13f"


def test_the_order_of_parts_counts():
    assert source_hash(CODE, b"x = 1") != source_hash(b"x = 1", CODE)


def test_every_early_hash_belongs_to_a_file_of_the_history():
    """The table is made again from every version of every method file that git knows."""
    listed = git("log", "--raw", "--no-abbrev", "--format=", "--", "methods")
    if git("rev-parse", "--is-shallow-repository").strip() != b"false":
        pytest.skip("not a checkout with its history")
    made = {}
    for line in listed.decode().splitlines():
        blob = line.split()[3]
        if line.endswith(".py") and set(blob) != {"0"}:
            text = git("cat-file", "blob", blob)
            made[hashlib.sha256(text).hexdigest()[:12]] = source_hash(text)
    assert early_hashes().items() <= made.items()


def git(*words):
    """What git answers; b"" outside a checkout."""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False).stdout
