"""Whatever a user types or writes into a suite, the outcome is a value or one sentence.  `tests/fuzz.py` tries more."""

import fuzz
import pytest
from generators import TARGETS, outcome
from hypothesis import HealthCheck, given, settings

INPUTS = 4000  # of all kinds together
SHARES = sum(target.share for target in TARGETS.values())


@pytest.mark.parametrize("name", TARGETS)
def test_any_input_is_a_value_or_one_sentence(name, tmp_path):
    target, tried = TARGETS[name], []
    count = INPUTS * target.share // SHARES

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(target.inputs)
    def check(value):
        tried.append(value)
        outcome(target.handle, tmp_path, value)

    check()
    assert len(tried) >= count


@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")  # that a file is large, as text
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about old formats
@pytest.mark.parametrize("name", fuzz.MORE)
def test_changed_files_and_planned_knobs_are_values_or_one_sentence(name, tmp_path):
    found, failures = fuzz.try_target(fuzz.MORE[name], 20, 0, float("inf"), tmp_path)
    assert failures == []
    assert sum(found.values()) >= 20
