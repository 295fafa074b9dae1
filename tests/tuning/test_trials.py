"""The settings that are tried: evenly spread, the same for the same seed, the suite's own first."""

import itertools
import math

import pytest

from benchmark.errors import BadInput
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.experiment.study import Space, Study, Trial
from benchmark.tuning.trials import plan_studies, trial_values

LOG = Space(knob="gamma", low=10, high=1000, log=True)
LINEAR = Space(knob="alpha", low=0, high=1)


def radical_inverse(index, base):
    """The digits of a number in some base, mirrored at the point: the definition of a Halton sequence's coordinate."""
    found, scale = 0.0, 1.0
    while index:
        index, digit = divmod(index, base)
        scale /= base
        found += digit * scale
    return found


def test_settings_are_a_halton_sequence_shifted_by_one_vector():
    found = trial_values("m", (LOG, LINEAR), {"gamma": 1, "alpha": 1}, 9, seed=3)[1:]
    units = [(math.log(each["gamma"] / 10) / math.log(100), each["alpha"]) for each in found]
    for coordinate, base in enumerate((2, 3)):
        shifts = [(unit[coordinate] - radical_inverse(i, base)) % 1 for i, unit in enumerate(units)]
        turned = [(each - shifts[0] + 0.5) % 1 - 0.5 for each in shifts]
        assert turned == pytest.approx([0] * len(units), abs=2e-3)  # values have three significant digits


@pytest.mark.parametrize("seed", range(5))
def test_every_eighth_of_a_space_has_one_of_eight_settings(seed):
    values = trial_values("m", (LOG,), {"gamma": 1}, 9, seed)[1:]
    positions = sorted(math.log(each["gamma"] / 10) / math.log(100) for each in values)
    gaps = [b - a for a, b in itertools.pairwise(positions)]
    assert gaps == pytest.approx([1 / 8] * 7, abs=2e-3)


def test_the_suites_own_value_is_trial_0_and_equal_seeds_give_equal_settings():
    own = {"gamma": 300.0}
    first = trial_values("m", (LOG,), own, 6, seed=0)
    assert first[0] == own
    assert first == trial_values("m", (LOG,), own, 6, seed=0) != trial_values("m", (LOG,), own, 6, seed=1)
    assert len({each["gamma"] for each in first}) == 6


def test_more_trials_keep_the_earlier_ones():
    few, many = (trial_values("m", (LOG, LINEAR), {"gamma": 1, "alpha": 1}, n, seed=0) for n in (5, 12))
    assert many[:5] == few


def test_whole_numbers_are_whole_and_different():
    values = trial_values("m", (Space(knob="k", low=1, high=5, whole=True),), {"k": 5}, 5, seed=0)
    assert sorted(each["k"] for each in values) == [1, 2, 3, 4, 5]
    assert all(type(each["k"]) is int for each in values)


def test_a_range_with_too_few_values_is_bad_input():
    with pytest.raises(BadInput, match=r"lp.k=1\.\.3 has fewer than 4 values: widen the range with --knob, or lower"):
        trial_values("lp", (Space(knob="k", low=1, high=3, whole=True),), {"k": 2}, 4, seed=0)


def test_trials_are_the_suites_runs_with_other_knobs_only():
    runs = load_suite("mini", Choices(methods=("ce", "kd", "lsh"), seeds="0-1", judge="holdout"))
    planned = plan_studies(runs, "mini", {}, 4, seed=0)
    assert [(study.method, len(trials)) for study, trials in planned] == [("ce", 1), ("kd", 4), *[("lsh", 4)] * 3]
    assert {run.id for _, trials in planned for run in trials[0]} == {run.id for run in runs}
    for _, trials in planned:
        for trial in trials:
            for run, original in zip(trial, trials[0], strict=True):
                assert run.judge == "holdout"
                assert run.model_copy(update={"knobs": original.knobs}) == original
    ids = [run.id for _, trials in planned for trial in trials for run in trial]
    assert len(set(ids)) == len(ids) == 2 * 17


# ---- the choice
def study(*ids):
    """A study with a trial for each tuple of run ids."""
    trials = [Trial(values={"gamma": float(n)}, ids=own) for n, own in enumerate(ids)]
    return Study(suite="s", method="m", knobs={"gamma": 0.0}, spaces=(LOG,), seed=0, trials=trials)


def test_the_best_trial_has_the_highest_mean_over_pairs_and_seeds():
    scores = {"a": 0.5, "b": 0.5, "c": 0.2, "d": 0.9, "e": 0.6, "f": 0.3}
    assert study(("a", "b"), ("c", "d"), ("e", "f")).best(scores) == 1


def test_of_equal_trials_the_suites_own_is_the_best():
    assert study(("a",), ("b",)).best({"a": 0.5, "b": 0.5}) == 0


def test_a_trial_without_one_of_its_results_is_not_chosen():
    assert study(("a", "b"), ("c", "d")).best({"a": 0.1, "b": 0.1, "c": 0.9}) == 0


def test_a_pair_that_no_trial_can_serve_is_left_out_of_the_mean():
    assert study(("a", "b"), ("c", "d")).best({"a": 0.1, "c": 0.9}) == 1
    assert study(("a",), ("b",)).best({}) is None


def test_a_study_survives_its_file_and_more_trials_replace_it():
    small, large = study(("a",), ("b",)), study(("a",), ("b",), ("c",))
    assert Study.model_validate_json(small.text()) == small
    assert small.name == large.name != study(("b",)).name
