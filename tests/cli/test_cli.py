"""The command line, as a person meets it: each call is a process of its own."""

from pathlib import Path

import pytest

from benchmark.cli.listing import describe
from benchmark.errors import BadInput

REFERENCE = Path(__file__).parents[1] / "reference" / "checkpoints"


@pytest.fixture
def refused(run_cli, tmp_path):
    """A function: words -> the one line with which they are refused, having written nothing."""

    def run(*words):
        places = ["--results", tmp_path / "results"]
        if words[0] == "run":
            places += ["--reports", tmp_path / "reports"]
        done = run_cli(*words, *places)
        assert done.code == 2, done.err
        assert done.out == ""
        (line,) = done.err.splitlines()
        assert line.startswith("error: ")
        assert not (tmp_path / "results").exists()
        assert not (tmp_path / "reports").exists()
        return line

    return run


@pytest.mark.parametrize(
    ("words", "hints"),
    [
        (["digitz"], ["'digitz'", "did you mean 'digits'"]),
        (["digits", "-m", "ce,kdd"], ["'kdd'", "did you mean 'kd'"]),
        (["digits", "-p", "resnet20-resnet9"], ["'resnet9'", "did you mean resnet"]),
        (["digits", "-p", "resnet20"], ["'resnet20'", "TEACHER-STUDENT"]),
        (["digits", "--dataset", "cifar-10"], ["'cifar-10'", "did you mean 'cifar10'"]),
        (["digits", "--set", "kd.alfa=1"], ["'alfa'", "'kd'", "did you mean 'alpha'"]),
        (["digits", "--teacher", "resnet20=0123"], ["resnet20=0123", "NETWORK=ID"]),
        (["digits", "--precision", "fp16"], ["fp16", "bf16"]),
        (["digits", "--executor", "cloud"], ["here or spawn", "'cloud'"]),
    ],
    ids=lambda words: " ".join(words) if words[0].startswith("digit") else "",
)
def test_a_wrong_word_is_one_line_that_says_what_was_meant(refused, words, hints):
    line = refused("plan", *words)
    for hint in hints:
        assert hint in line


def test_missing_data_is_told_with_what_to_put_where(refused, tmp_path):
    line = refused("run", "mini", "--data", tmp_path / "data")
    for word in (str(tmp_path / "data"), "cifar-100-python.tar.gz", "--download"):
        assert word in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("words", "hints"),
    [
        (["resnet8.pth", "--model", "resnet9", "--dataset", "cifar100"], ["'resnet9'", "did you mean resnet"]),
        (["resnet8.pth", "--model", "resnet8", "--dataset", "digits"], ["resnet8.pth", "number of classes"]),
    ],
    ids=lambda words: " ".join(words[:3]) if len(words) == 5 else "",
)
def test_weights_that_cannot_be_imported_are_refused_and_not_kept(refused, tmp_path, words, hints):
    line = refused("import-weights", REFERENCE / words[0], *words[1:], "--data", tmp_path / "data")
    for hint in hints:
        assert hint in line


def test_a_plan_counts_what_is_to_do_and_writes_nothing(run_cli, tmp_path):
    done = run_cli("plan", "digits", "-m", "ce,kd", "--results", tmp_path / "results", "--device", "cpu")
    assert (done.code, done.err) == (0, "")
    first, *rest = done.out.splitlines()
    assert first == "5 runs: 0 there, 5 to do, 0 unfit"  # one teacher; two methods, two seeds
    assert rest[0] == "  wave 1: resnet20 ce seed 0"
    assert rest[1] == "  wave 2: resnet8 ce seed 0, resnet20-resnet8 kd seed 0"
    assert rest[2] == "  wave 2: resnet8 ce seed 1, resnet20-resnet8 kd seed 1"
    assert not (tmp_path / "results").exists()


OUTSIDE = '''"""Attention to nothing."""
from methods import Method, register


@register("outside")
class Outside(Method):
    def __init__(self, student, teacher, *, weight: float = 2.0):
        super().__init__()
'''


def test_the_shelves_are_listed_with_what_a_plug_in_adds(run_cli, tmp_path):
    (tmp_path / "outside.py").write_text(OUTSIDE)
    done = run_cli("list", "--plugin", tmp_path / "outside.py", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    for word in ("temperature=4.0, alpha=0.9", "outside    Attention to nothing.", "weight=2.0"):
        assert word in done.out
    for line in ("ResNet50", "wrn_40_2", "MobileNetV2", "torchvision:NAME", "cifar100", "digits"):
        assert line in done.out.splitlines()
    for word in ("crd        CIFAR-100, the CRD benchmark", "folder:NAME"):
        assert word in done.out


@pytest.mark.parametrize("shelf", ["methods", "models", "suites", "datasets"])
def test_one_shelf_is_listed_alone(shelf):
    """In this process: the words are the same."""
    first, *rest = describe(shelf).splitlines()
    assert first.startswith(shelf)
    assert rest


def test_an_unknown_shelf_is_refused_with_the_nearest():
    with pytest.raises(BadInput, match="'method'; did you mean 'methods'"):
        describe("method")
