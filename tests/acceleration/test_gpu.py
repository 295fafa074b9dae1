"""What only a CUDA device can show.  Without one, all of this is skipped."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from test_cuda_graphs import LONG, SETTINGS, a_lane, assert_equal, flown, state

from benchmark.acceleration import device, machine
from benchmark.conformance.trial import PAIRS, Trial
from benchmark.data.split import make_splits
from benchmark.store import Store
from benchmark.training.context import Context
from benchmark.training.loop import train
from benchmark.training.teacher import Teacher, all_logits
from methods import registry

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:.*deterministic"),  # the median of lsh has no such kernel, and one answer
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.fixture(autouse=True)
def exact():
    """The same answer twice, in either precision; as before afterwards."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = False


def on_gpu(trial: Trial, precision: str, graphs: bool = True) -> Context:
    """The trial's context, on the device."""
    here = machine.machine("cuda", precision, graphs)
    device.configure_cuda(exact=True)
    context = trial.context()
    learn, judged = make_splits(context.data, "test", here.device)
    teacher = context.teacher
    if teacher:
        net = here.freeze(copy.deepcopy(teacher.net.net), next(judged.in_order()).x)
        teacher = Teacher(trial.run.teacher, net, all_logits(net, judged), teacher.provenance)
    return replace(context, machine=here, learn=learn, judged=judged, teacher=teacher)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("method", "changes"), SETTINGS, ids=str)
def test_replayed_steps_leave_the_weights_that_launched_ones_do(method, changes, precision, tmp_path):
    trial = Trial(method, *PAIRS[1], tmp_path)
    launched, replayed = (
        flown(a_lane(trial, context=on_gpu(trial, precision, graphs), **changes)) for graphs in (False, True)
    )
    assert_equal(state(replayed), state(launched))
    assert replayed.curve == launched.curve
    told = replayed.graphed_step.summary()
    assert not told["reason"]
    assert told["replayed"] > 20 or method == "fitnets"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_lane_ends_the_same_alone_and_in_company(precision, tmp_path):
    trial = Trial("kd", *PAIRS[0], tmp_path)
    methods = [name for name in registry.names() if registry.get(name).needs_teacher]
    cohort = [replace(trial, method=name).run.model_copy(update={"recipe": LONG}) for name in methods]
    together = on_gpu(trial, precision)
    assert {record.status for record in train(cohort, together)} == {"done"}
    for run in cohort:
        alone = on_gpu(trial, precision)
        train([run], alone)
        left, right = (context.store.weights(run.id).read_bytes() for context in (together, alone))
        assert left == right, run.method


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_trains_a_student_that_a_cpu_would(precision, tmp_path):
    trial = Trial("kd", *PAIRS[0], tmp_path)
    beside = train([trial.run], on_gpu(trial, precision))[0]
    assert beside.status == "done", beside.error
    alone = train([trial.run], trial.context())[0]
    for ours, theirs in zip(beside.curve["loss"]["kd"], alone.curve["loss"]["kd"], strict=True):
        assert ours == pytest.approx(theirs, rel=0.02 if precision == "fp32" else 0.1)


def test_a_cohort_comes_through_where_one_lane_just_fits(tmp_path):
    trial = Trial("kd", *PAIRS[0], tmp_path)
    cohort = [replace(trial, method=name).run for name in ("ce", "kd", "sp", "hint")]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    assert train(cohort[:1], on_gpu(trial, "fp32"))[0].status == "done"
    enough = torch.cuda.max_memory_reserved() * 2
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(enough / torch.cuda.get_device_properties(0).total_memory)
    try:
        records = train(cohort, on_gpu(trial, "fp32"))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert {record.status for record in records} == {"done"}, [record.error for record in records]


def test_a_suite_its_costs_and_its_speed_come_through(run_cli, tmp_path):
    options = ("--results", tmp_path / "results", "--device", "cuda")
    done = run_cli("run", "digits", "--epochs", "3", "--seeds", "0", *options, "--reports", tmp_path / "reports")
    assert done.code == 0, done.err
    records = list(Store(tmp_path / "results").records())
    runs, costs = ([record for record in records if record.kind == kind] for kind in ("run", "cost"))
    assert {record.status for record in records} == {"done"}
    assert len(runs) == len(registry.names()) + 1
    assert len(costs) == len(registry.names())
    assert all(record.size["peak_bytes"] > 0 for record in costs)
    assert {record.provenance["graphs"] for record in runs} == {True}
    done = run_cli("speed", "--steps", "20", "--repeats", "1", "--json", "--device", "cuda", "--data", tmp_path)
    assert done.code == 0, done.err
    assert json.loads(done.out)["made"]["graphs"] is True
