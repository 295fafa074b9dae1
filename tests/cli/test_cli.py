"""The command line, error messages, `plan` and `list`."""

from pathlib import Path

import pytest

from benchmark.cli.listing import describe
from benchmark.errors import BadInput

REFERENCE = Path(__file__).parents[1] / "reference" / "checkpoints"


@pytest.fixture
def error_of(call, tmp_path):
    """A function: arguments -> the one line of the error; asserts that nothing was written."""

    def run(*arguments):
        options = ["--results", tmp_path / "results"]
        if arguments[0] == "run":
            options += ["--reports", tmp_path / "reports"]
        finished = call(*arguments, *options)
        assert finished.code == 2, finished.err
        assert finished.out == ""
        (line,) = finished.err.splitlines()
        assert line.startswith("error: ")
        assert not (tmp_path / "results").exists()
        assert not (tmp_path / "reports").exists()
        return line

    return run


@pytest.mark.parametrize(
    ("arguments", "expected"),
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
    ids=lambda arguments: " ".join(arguments) if arguments[0].startswith("digit") else "",
)
def test_a_wrong_argument_is_one_line_that_names_the_right_one(error_of, arguments, expected):
    line = error_of("plan", *arguments)
    for part in expected:
        assert part in line


def test_the_error_for_missing_data_says_what_to_put_where(error_of, tmp_path):
    line = error_of("run", "mini", "--data", tmp_path / "data")
    for part in (str(tmp_path / "data"), "cifar-100-python.tar.gz", "--download"):
        assert part in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["resnet8.pth", "--model", "resnet9", "--dataset", "cifar100"], ["'resnet9'", "did you mean resnet"]),
        (["resnet8.pth", "--model", "resnet8", "--dataset", "digits"], ["resnet8.pth", "number of classes"]),
    ],
    ids=lambda arguments: " ".join(arguments[:3]) if len(arguments) == 5 else "",
)
def test_weights_that_cannot_be_imported_are_refused_and_not_kept(error_of, tmp_path, arguments, expected):
    line = error_of("import-weights", REFERENCE / arguments[0], *arguments[1:], "--data", tmp_path / "data")
    for part in expected:
        assert part in line


def test_a_plan_counts_the_missing_runs_and_writes_nothing(call, tmp_path):
    finished = call("plan", "digits", "-m", "ce,kd", "--results", tmp_path / "results", "--device", "cpu")
    assert (finished.code, finished.err) == (0, "")
    counts, time, disk, *cohorts = finished.out.splitlines()
    assert counts == "5 runs: 0 finished, 5 to do, 0 unfit"  # one teacher; two methods, two seeds
    assert time.startswith("time: not measured yet on ") and disk.startswith("disk: ")
    assert cohorts == [
        "  wave 1: resnet20 ce seed 0",
        "  wave 2: resnet8 ce seed 0, resnet20-resnet8 kd seed 0",
        "  wave 2: resnet8 ce seed 1, resnet20-resnet8 kd seed 1",
    ]
    assert not (tmp_path / "results").exists()


OUTSIDE = '''"""Attention to nothing."""
from methods import Method, register


@register("outside")
class Outside(Method):
    def __init__(self, student, teacher, *, weight: float = 2.0):
        super().__init__()
'''


def test_list_shows_everything_including_the_methods_of_a_plug_in(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outside.py").write_text(OUTSIDE)
    finished = call("list", "--plugin", tmp_path / "outside.py")
    assert (finished.code, finished.err) == (0, "")
    for part in ("temperature=4.0, alpha=0.9", "outside    Attention to nothing.", "weight=2.0"):
        assert part in finished.out
    for line in ("ResNet50", "wrn_40_2", "MobileNetV2", "torchvision:NAME", "cifar100", "digits"):
        assert line in finished.out.splitlines()
    for part in ("crd        CIFAR-100, the CRD benchmark", "folder:NAME"):
        assert part in finished.out


@pytest.mark.parametrize("kind", ["methods", "models", "suites", "datasets"])
def test_one_kind_is_listed_alone(kind):
    first, *rest = describe(kind).splitlines()
    assert first.startswith(kind)
    assert rest


def test_an_unknown_kind_is_refused_with_the_closest():
    with pytest.raises(BadInput, match="'method'; did you mean 'methods'"):
        describe("method")
