"""Shared by the tests of faults: a small trial, methods that misbehave, and what a run is when it trains alone."""

import pytest
from company import files_of
from small_sweeps import call, few_digits, no_costs, quick_costs  # noqa: F401  fixtures

from benchmark.conformance.trial import PAIRS, Trial
from benchmark.training.loop import train
from methods import registry


@pytest.fixture
def trial(tmp_path):
    return Trial("kd", *PAIRS[0], tmp_path)


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """The files of the trial's run, trained alone: folder -> bytes."""
    trial = Trial("kd", *PAIRS[0], tmp_path_factory.mktemp("alone"))
    context = trial.context()
    train([trial.run], context)
    return files_of(context.store, trial.run.id)


@pytest.fixture
def train_beside(trial, alone, isolated_registry):
    """A function: a class of Method -> its record, after training it beside `kd`, which must end as if alone."""

    def run(cls, context=None):
        registry.register("hostile")(cls)
        context = context or trial.context()
        cohort = [Trial(name, trial.teacher, trial.student, trial.root).run for name in ("hostile", "kd")]
        hostile, kd = train(cohort, context)
        assert kd.status == "done", kd.error
        assert files_of(context.store, kd.id) == alone
        return hostile

    return run
