"""Generated and mutated input of users: strategies, and what handles each.  Used by pytest and by `fuzz.py`.

Whatever is given, the outcome is a value or one sentence: `outcome` raises AssertionError for anything else.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from benchmark.cli.options import check_device
from benchmark.errors import BadInput
from benchmark.experiment.origins import origins
from benchmark.experiment.resolve import Choices, load_suite, resolve_knobs
from benchmark.experiment.run import Recipe
from benchmark.experiment.suite import SUITES, Suite, split_list
from methods import registry

ODD = [  # what is special to YAML, to Python's numbers or to a terminal
    ".nan", ".inf", "-.inf", "1e400", "-1", "0", "1e-320", "99999999999999999999", "9" * 5000, "0x_", "0xffff", "1_000",
    "*a", "&a", "!!python/name:os.system", "!!binary aGk", "<<: ", "{", "[", "]", "}", "[" * 300, "{a: " * 50, "|", ">",
    "%", "\t", "\n", "\n\n", "\r", "\x00", "\x1b[31m", "\u2028", "\ud800", "é", "- ", ": ", ", ", "#", "'", '"', "~",
    "null", "true", "yes", "1:2:3", "2001-99-99", "=", "?", "---", "...", "kd", "sp+kd", "kd+kd", "all", "alpha", "0-",
    "0-2", "0-999999999", "resnet8", "resnet20-resnet8", "a-b", "x" * 3000, "torchvision:", "folder:", "../..",
    "/dev/zero",
]  # fmt: skip
BASES = [(SUITES / f"{name}.yaml").read_text() for name in ("digits", "mini", "quick")]
BASES.append(
    "title: t\ndataset: cifar100\npairs: [resnet20-resnet8]\nmethods: [ce, kd, lp]\nseeds: [0, 1]\njudge: holdout\n"
    "knobs:\n  lp: [{k: 3, sigma: auto}, {sigma: 2.0, at: -1}]\n  kd: {alpha: 0.5}\nlr: {resnet8: 0.01}\n"
    "recipe:\n  epochs: 10\n  lr: 0.1\n  schedule: {kind: cosine, warmup: 2}\nteacher: {base: crd240, epochs: 5}\n"
)

odd = st.sampled_from(ODD)
usual = st.one_of(st.integers(-2, 12), st.floats(0, 2).map(lambda value: round(value, 3)))
numbers = st.one_of(usual, st.integers(), st.floats(), st.sampled_from([2**63, 10**400, 1e308, -0.0, 1e-320]))
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=12), odd, st.binary(max_size=4))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3), max_leaves=6
)


def edited(text: str, seed: int) -> str:
    """A text after one edit or some: something is cut out, repeated, moved or put in."""
    draw = random.Random(seed)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        start = draw.randrange(len(text) + 1)
        end = min(len(text), start + draw.choice((0, 1, 3, 10, 40)))
        part = text[start:end]
        new = draw.choice(("", part * 2, draw.choice(ODD), draw.choice(ODD) + part, part[::-1]))
        text = text[:start] + new + text[end:]
        lines = text.split("\n")
        if draw.random() < 0.2:  # a line of one place at another
            lines.insert(draw.randrange(len(lines)), draw.choice(lines))
            text = "\n".join(lines)
    return text


def dumped(value: Any) -> str:
    """A value as YAML; "" where YAML has no text for it."""
    try:
        return yaml.safe_dump(value, allow_unicode=True)
    except (yaml.YAMLError, ValueError, TypeError):
        return ""


def with_changes(base: str, changes: Mapping[str, Any], place: str) -> str:
    """A suite's text with changed values, of the suite itself or of one of its mappings."""
    suite = yaml.safe_load(base)
    inner = suite.get(place)
    if isinstance(inner, dict):
        inner.update(changes)
    else:
        suite.update(changes)
    return dumped(suite)


fields = st.sampled_from([*Suite.model_fields, *Recipe.model_fields, "base", "at", "kind", "factor", "warmup", "kd"])
suite_texts = st.one_of(
    st.builds(edited, st.sampled_from(BASES), st.integers(0, 2**32)),
    st.builds(
        with_changes,
        st.sampled_from(BASES),
        st.dictionaries(fields, values, min_size=1, max_size=2),
        st.sampled_from(["", "recipe", "teacher", "knobs", "lr"]),
    ),
    st.text(max_size=40),
    st.lists(odd, max_size=8).map("".join),
)
words = st.one_of(
    st.text(max_size=20),
    odd,
    st.lists(st.one_of(odd, st.sampled_from(registry.names())), max_size=4).map(",".join),
    st.builds("{}-{}".format, st.integers(-3, 2000), st.integers(-3, 2000)),
    st.builds(
        edited, st.sampled_from(["0-2,5", "ce,kd,sp+kd", "resnet56-resnet20", "bf16", "cuda"]), st.integers(0, 99)
    ),
)
names = st.sampled_from([*registry.names(), "sp+kd"])
knob_names = [f"{name}.{knob}" for name in registry.names() for knob in registry.knobs(name)]
assignments = st.one_of(
    st.builds("{}={}".format, st.sampled_from(knob_names), st.one_of(usual, odd, st.text(max_size=8), scalars)),
    st.builds(edited, st.sampled_from(["kd.alpha=0.5", "lp.sigma=auto", "lsh.hashes=64"]), st.integers(0, 2**32)),
    words,
)


@st.composite
def knob_settings(draw: Callable) -> tuple[str, dict[Any, Any]]:
    """A method's name and values for some of its knobs, or for knobs that it does not have."""
    name = draw(names)
    known = st.sampled_from([*registry.knobs(name), "alpha", ""])
    return name, draw(st.dictionaries(known, st.one_of(usual, values), max_size=3))


def load_text(folder: Path, text: str) -> Any:
    """The runs of a suite with this text, and the origins of their values."""
    path = folder / "suite.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    runs = load_suite(str(path))
    return origins(runs[:20], str(path), Choices())


def load_digits(**choices: Any) -> Any:
    """The runs of a small suite with a user's choices."""
    return load_suite("digits", Choices(**choices))


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of input."""

    inputs: st.SearchStrategy
    handle: Callable[[Path, Any], Any]  # a folder for files, the input
    share: int = 1  # of all inputs


TARGETS = {
    "suite": Target(suite_texts, load_text, 4),
    "--set": Target(assignments, lambda _, text: load_digits(knobs=(text,)), 3),
    "--seeds": Target(words, lambda _, text: load_digits(methods=("ce",), seeds=text), 2),
    "--pairs": Target(words, lambda _, text: load_digits(methods=("ce",), pairs=split_list(text, "--pairs")), 2),
    "--methods": Target(words, lambda _, text: load_digits(methods=split_list(text, "--methods")), 2),
    "--dataset": Target(words, lambda _, text: load_digits(methods=("ce",), dataset=text), 1),
    "--precision": Target(words, lambda _, text: load_digits(methods=("ce",), precision=text), 1),
    "--epochs": Target(st.integers(), lambda _, count: load_digits(methods=("ce",), epochs=count), 1),
    "--device": Target(words, lambda _, text: check_device(text), 1),
    "knobs": Target(knob_settings(), lambda _, setting: resolve_knobs(*setting), 4),
}


def outcome(handle: Callable[[Path, Any], Any], folder: Path, given: Any) -> str:
    """ "value" or the sentence that refuses the input.  Raises AssertionError for anything else."""
    try:
        handle(folder, given)
    except BadInput as fault:
        sentence = str(fault)
    except Exception as fault:
        raise AssertionError(f"{type(fault).__name__}: {fault} for {given!r:.300}") from fault
    else:
        return "value"
    assert sentence.strip() and len(sentence.splitlines()) == 1, repr(sentence)
    assert "Traceback" not in sentence and "pydantic" not in sentence and "Input should" not in sentence, sentence
    assert sentence.isprintable() and len(sentence) <= 1600, sentence
    return sentence
