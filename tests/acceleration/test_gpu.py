"""Tests that need a CUDA device: the checks of `doctor`, further variants and pairs, memory, and a suite as a whole.

What they expect of a suite is tested on a CPU too, so that it follows the suite.
"""

import json
from dataclasses import replace

import pytest
import torch
from lanes import SETTINGS, pair_of

from benchmark.doctor import gpu, gpu_training
from benchmark.doctor.finding import run_check
from benchmark.doctor.gpu_checks import PRECISIONS, training_checks
from benchmark.doctor.workload import Workload
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.profiling.cost_plan import missing_costs
from benchmark.store import Store
from benchmark.sweep.plan import with_teachers
from benchmark.training.loop import train

SMALL = {"teacher": "wrn_16_2", "student": "resnet8", "pixels": 16, "batches": 8, "batch": 10}  # of other widths
SUITE = ("digits", "--epochs", "3", "--seeds", "0")


def on_a_device(test):
    """A test that is skipped where there is no CUDA device."""
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")(test))


def expected_ids():
    """Of SUITE: the ids of the runs that have a record afterwards, and of those that have a cost."""
    runs = load_suite("digits", Choices(epochs=3, seeds="0"))
    return {run.id for run in with_teachers(runs)}, {run.id for run in runs}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The training task of `doctor`; settings of torch are as before afterwards."""
    yield Workload(tmp_path_factory.mktemp("doctor"))
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = False


@on_a_device
@pytest.mark.parametrize("check", [gpu.versions, gpu.devices, gpu.memory], ids=lambda check: check.__name__)
def test_the_device_can_be_used(check):
    found = run_check(check.__name__, check)
    assert found.ok, f"{found.value}; {found.advice}"


@on_a_device
@pytest.mark.parametrize("name", [name for name, _ in training_checks(Workload(None))])
def test_training_on_the_device_passes_the_check(name, work):
    found = run_check(name, dict(training_checks(work))[name])
    assert found.ok, f"{found.value}; {found.advice}"


@on_a_device
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("method", "changes"), SETTINGS, ids=str)
def test_replayed_steps_of_other_pairs_and_variants_leave_the_weights_of_launched_ones(
    method, changes, precision, work
):
    teacher, student = pair_of(method)
    small = replace(work, **SMALL | {"teacher": teacher, "student": student})
    found = gpu_training.replay(small, method, precision, **changes)
    assert found.ok, f"{found.value}; {found.advice}"


@on_a_device
def test_a_cohort_is_trained_to_its_end_where_one_lane_just_fits(work):
    small, here = replace(work, **SMALL), work.machine("fp32")
    cohort = [small.run(method) for method in gpu_training.learners(4)]
    here.free_memory()
    torch.cuda.reset_peak_memory_stats()
    assert train(cohort[:1], small.context(here))[0].status == "done"
    enough = torch.cuda.max_memory_reserved() * 2
    here.free_memory()
    torch.cuda.set_per_process_memory_fraction(enough / torch.cuda.get_device_properties(0).total_memory)
    try:
        records = train(cohort, small.context(here))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert {record.status for record in records} == {"done"}, [record.error for record in records]


def test_a_plan_of_the_suite_has_the_runs_and_the_costs_that_are_expected_of_it(run_cli, tmp_path):
    runs, costs = expected_ids()
    done = run_cli("plan", *SUITE, "--device", "cpu", "--results", tmp_path, "--data", tmp_path)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{len(runs)} runs: 0 finished, {len(runs)} to do, 0 unfit\n")
    suite = load_suite("digits", Choices(epochs=3, seeds="0"))
    assert sorted(run.id for run in missing_costs(suite, Store(tmp_path), "cpu")) == sorted(costs)


@on_a_device
def test_a_suite_with_its_costs_and_its_speed_runs_to_its_end(run_cli, tmp_path):
    options = ("--results", tmp_path / "results", "--device", "cuda")
    done = run_cli("run", *SUITE, *options, "--reports", tmp_path / "reports")
    assert done.code == 0, done.err
    records = list(Store(tmp_path / "results").records())
    runs, costs = ([record for record in records if record.kind == kind] for kind in ("run", "cost"))
    assert {record.status for record in records} == {"done"}
    assert ({record.id for record in runs}, {record.id for record in costs}) == expected_ids()
    assert all(record.size["peak_bytes"] > 0 for record in costs)
    assert all(record.provenance["recording"]["replayed"] > 0 for record in costs)
    assert all(("overlapped_ms" in record.clock) == (record.run["teacher"] is not None) for record in costs)
    assert {record.provenance["graphs"] for record in runs} == {True}
    done = run_cli("speed", "--steps", "20", "--repeats", "1", "--json", "--device", "cuda", "--data", tmp_path)
    assert done.code == 0, done.err
    assert json.loads(done.out)["made"]["graphs"] is True


@on_a_device
def test_doctor_finds_nothing_that_prevents_training(run_cli, tmp_path):
    done = run_cli("doctor", "--json", "--data", tmp_path)
    found = json.loads(done.out)
    assert (done.code, found["prevents"]) == (0, []), done.out
