"""Which values are tried: spaces that methods declare, and spaces of the command line."""

import re
from typing import Annotated

import pytest
from annotated_types import Interval

from benchmark.errors import BadInput
from benchmark.experiment.knobs import resolve_knobs
from benchmark.tuning.spaces import declared_spaces, parse_spaces, tuned_knobs
from methods import registry
from methods.contract import Method

WEIGHTS = {  # the factors of the terms in the equations of the methods' docstrings
    "ab": ["margin"],  # has no factor; the margin scales its only term
    "at": ["beta"],
    "cc": ["beta"],
    "ce": [],
    "crd": ["beta"],
    "dist": ["weight"],
    "dkd": ["alpha", "beta"],
    "fitnets": ["lam"],
    "fsp": [],
    "ft": ["beta"],
    "hint": ["beta"],
    "kd": ["alpha"],
    "kda": ["alpha"],
    "lp": ["gamma"],
    "lsh": ["beta"],
    "nst": ["beta"],
    "ofd": ["beta"],
    "pkt": ["beta"],
    "reviewkd": ["beta"],
    "rkd": ["distance", "angle"],
    "sp": ["gamma"],
    "vid": ["beta"],
    "sp+kd": ["sp.gamma", "kd.alpha"],
}
METHODS = ["kd", "lp", "lsh", "sp", "sp+kd"]


@pytest.mark.parametrize("method", sorted({*registry.names(), *WEIGHTS}))
def test_tuned_knobs_are_the_weights_of_the_method(method):
    assert tuned_knobs(method) == WEIGHTS[method]


@pytest.mark.parametrize("method", sorted(registry.names()))
def test_a_declared_space_holds_the_authors_value_and_is_within_the_knobs_range(method):
    knobs = resolve_knobs(method, {})
    for space in declared_spaces(method, knobs):
        value = knobs[space.knob]
        assert space.log and space.low <= value <= space.high
        assert space.low == pytest.approx(value / 10, rel=0.01)
        assert space.high == pytest.approx(value * 10, rel=0.01) or space.high == 1
        for end in (space.low, space.high):
            resolve_knobs(method, {space.knob: end})


def test_a_space_is_laid_around_the_suites_value():
    (space,) = declared_spaces("sp", resolve_knobs("sp", {"gamma": 20}))
    assert (space.low, space.high) == (2, 200)


def test_a_declared_space_ends_where_the_knobs_range_ends():
    (space,) = declared_spaces("kd", resolve_knobs("kd", {}))
    assert (space.low, space.high) == (0.09, 1)


def test_no_space_is_laid_around_zero():
    with pytest.raises(BadInput, match=re.escape("sp.gamma is 0.0, and no range can be laid around that")):
        declared_spaces("sp", resolve_knobs("sp", {"gamma": 0}))


def test_a_method_names_its_tuned_knobs(isolated_registry):
    class Own(Method):
        tuned = ("width",)

        def __init__(
            self,
            student,
            teacher,
            *,
            width: Annotated[int, Interval(ge=1, le=50)] = 8,
            beta: Annotated[float, Interval(ge=0)] = 1.0,
        ):
            super().__init__()

    registry.register("own")(Own)
    (space,) = declared_spaces("own", resolve_knobs("own", {}))
    assert (space.knob, space.low, space.high, space.whole) == ("width", 1, 50, True)
    Own.tuned = ("breadth",)
    with pytest.raises(BadInput, match="`tuned` names 'breadth', which is no knob of it that takes numbers"):
        declared_spaces("own", {})


def test_a_space_of_the_command_line_is_read():
    found = parse_spaces(["kd.alpha=0.1..0.9", "lp.k=2..9", "lp.sigma=1e-2..4:log", "sp+kd.kd.alpha=.5...75"], METHODS)
    spaces = {(m, s.knob): (s.low, s.high, s.log, s.whole) for m, own in found.items() for s in own}
    assert spaces == {
        ("kd", "alpha"): (0.1, 0.9, False, False),
        ("lp", "k"): (2, 9, False, True),
        ("lp", "sigma"): (0.01, 4, True, False),
        ("sp+kd", "kd.alpha"): (0.5, 0.75, False, False),
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kd", "--knob takes METHOD.KNOB=LOW..HIGH or METHOD.KNOB=LOW..HIGH:log, as in kd.alpha=0.1..0.9, not 'kd'"),
        ("kd.alpha=0.5", "--knob takes METHOD.KNOB=LOW..HIGH"),
        ("kd.alpha=0.1..0.9:ln", "--knob takes METHOD.KNOB=LOW..HIGH"),
        ("kdd.alpha=0.1..0.9", "unknown method 'kdd'; did you mean 'kd'?"),
        ("kda.alpha=0.1..0.9", "'kda' is not among the methods of this run, kd, lp, lsh, sp, sp+kd"),
        ("kd.alfa=0.1..0.9", "unknown knob 'alfa' of method 'kd'; did you mean 'alpha'?"),
        ("kd.alpha=0.5..1.5", "must be a number from 0 to 1, not 1.5"),
        ("kd.alpha=-0.5..1", "must be a number from 0 to 1, not -0.5"),
        ("kd.alpha=0.9..0.1", "the range must go from a smaller number to a larger one"),
        ("kd.alpha=0.5..0.5", "the range must go from a smaller number to a larger one"),
        ("kd.alpha=0..1:log", "a logarithmic range must begin above 0"),
        ("kd.alpha=a..1", "both ends of the range must be finite numbers, and 'a' is none"),
        ("kd.alpha=0..inf", "both ends of the range must be finite numbers, and 'inf' is none"),
        ("lp.k=1.5..4", "the knob takes whole numbers, so that both ends of its range must be whole"),
        ("lsh.variant=1..2", "the knob takes no numbers; list its values in a suite's `knobs` instead"),
    ],
)
def test_an_impossible_space_is_bad_input(text, problem):
    with pytest.raises(BadInput, match=re.escape(problem)):
        parse_spaces([text], METHODS)


def test_a_knob_has_one_range():
    with pytest.raises(BadInput, match=re.escape("kd.alpha has a range already; give one")):
        parse_spaces(["kd.alpha=0.1..0.9", "kd.alpha=0.2..0.9"], METHODS)
