"""Costs where steps are recorded and replayed, as on CUDA: what is timed, what the record says, a lost device."""

import gc
from contextlib import nullcontext
from dataclasses import replace
from weakref import WeakSet

import pytest
import torch
import torch.nn.functional as F

from benchmark import models
from benchmark.acceleration import machine
from benchmark.acceleration.cuda_graphs import STREAM_COUNT
from benchmark.acceleration.feed import BatchFeed
from benchmark.acceleration.machine import Machine
from benchmark.conformance.trial import Trial, images
from benchmark.data import datasets
from benchmark.experiment import resolve
from benchmark.models.unfilled import Unfilled
from benchmark.profiling import cost, cost_parts, timing
from benchmark.profiling.cost_plan import RUNS_TOGETHER, group_by_pair
from benchmark.profiling.timing import DeviceLost
from benchmark.store import Store
from benchmark.sweep.options import Options
from methods import Method, register, registry

ASSERT = "CUDA error: device-side assert triggered"
NO_STREAM = f"all {STREAM_COUNT} CUDA streams of torch are in use"


class CallingRecorder:
    """Stands for `cuda_graphs.Recorder`: a replay calls the function again; without a stream nothing is recorded."""

    has_stream = True
    alive = WeakSet()

    def __init__(self):
        self.alive.add(self)

    def on_own_stream(self):
        return nullcontext()

    def detect_syncs(self):
        return nullcontext([])

    def why_not(self):
        return "" if self.has_stream else NO_STREAM

    def capture(self, action):
        return action, action()

    def join(self):
        pass

    def free_memory(self):
        pass


class Recorded(Machine):
    """A CPU whose steps are recorded."""

    teacher_batches = 2

    def recorder(self):
        return CallingRecorder()


HERE = Recorded(torch.device("cpu"), "fp32", graphs=True)


def here(device="auto", precision="auto", graphs=True):
    """Stands for `machine.machine`."""
    return replace(HERE, graphs=graphs)


def quick_options(root, monkeypatch):
    """How to measure: a few random images, two rounds, a machine that records."""
    monkeypatch.setattr(datasets, "load", lambda *_: images())
    monkeypatch.setattr(timing, "LEAST", 2)
    monkeypatch.setattr(timing, "SECONDS_EACH", 0.0)
    monkeypatch.setattr(machine, "machine", here)
    return Options("trial", root / "results", root, quiet=True)


@pytest.fixture
def options(tmp_path, monkeypatch):
    """The same, for each test anew."""
    return quick_options(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    """method -> its cost: without a teacher, with one, and in two stages."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield measured(quick_options(tmp_path_factory.mktemp("costs"), monkeypatch), "ce", "kd", "fitnets")


def runs(*methods, teacher="resnet14"):
    """The runs of a suite with these methods on one pair."""
    return [Trial(method, teacher, "resnet8", None).run for method in methods]


def measured(options, *methods):
    """method -> its cost."""
    return {record.run["method"]: record for record in cost.measure(runs(*methods), options)}


# ---- what is timed
def test_parts_are_timed_without_overlap_and_the_step_as_it_is_trained_beside_them(options, monkeypatch):
    used, kinds = [], {}
    for name in ("_in_parallel", "_in_order"):
        real = getattr(BatchFeed, name)
        monkeypatch.setattr(BatchFeed, name, lambda *given, name=name, real=real: used.append(name) or real(*given))

    def time_in_turn(walks, batches, _):
        for who, stages in walks.items():
            used.clear()
            for walk in stages.values():
                walk(batches)
            kinds[who] = set(used)
        return {}, {}

    monkeypatch.setattr(cost, "time_in_turn", time_in_turn)
    assert cost.measure(runs("ce", "fitnets"), options) == []
    plain, taught = map(cost_parts.name_of, runs("ce", "fitnets"))
    parts = {who: {"_in_order"} for who in (plain, taught, cost_parts.TEACHER)}
    assert kinds == parts | {cost_parts.overlapped(taught): {"_in_parallel"}}


def test_the_overlapped_step_is_a_number_of_its_own_and_no_part(costs):
    for name, record in costs.items():
        clock = record.clock
        taught = name != "ce"
        parts = (clock["plain_ms"], clock["teacher_ms"] or 0.0, clock["method_ms"])
        assert sum(parts) == pytest.approx(clock["step_ms"]) and clock["step_ms"] == min(clock["all"]["step_ms"])
        assert ("overlapped_ms" in clock) is ("overlapped_ms" in clock["medians"]) is taught
        assert not taught or clock["overlapped_ms"] == min(clock["all"]["overlapped_ms"])


# ---- what the record says
def test_a_cost_says_how_often_its_steps_and_its_parts_were_replayed(costs):
    for name, record in costs.items():
        parts = record.provenance["recording_of_parts"]
        summaries = [record.provenance["recording"], parts["plain"], *parts["stages"].values()]
        summaries += [parts["teacher"]] if name != "ce" else []
        assert all(each["recorded"] == 1 and each["replayed"] > 3 and not each["reason"] for each in summaries), name
        assert (parts["teacher"] is None, list(parts["stages"])) == (name == "ce", ["hint"] * (name == "fitnets"))


def test_a_cost_whose_steps_got_no_stream_says_so(options, monkeypatch):
    monkeypatch.setattr(CallingRecorder, "has_stream", False)
    found = measured(options, "kd")["kd"].provenance
    assert found["graphs"] is True
    launched = {"recorded": 0, "replayed": 0, "reason": NO_STREAM}
    parts = found["recording_of_parts"]
    assert found["recording"] == parts["plain"] == parts["teacher"] == launched


def test_without_graphs_there_is_neither_a_recording_nor_an_overlap(options):
    found = measured(replace(options, graphs=False), "kd")["kd"]
    assert not {"recording", "recording_of_parts"} & set(found.provenance) and "overlapped_ms" not in found.clock


# ---- streams
def test_a_pair_is_timed_in_parts_where_steps_are_recorded_and_each_part_leaves_no_recorder(options, monkeypatch):
    groups, alive, real = [], [], cost.measure_pair

    def measure_pair(group, *given):
        gc.collect()
        groups.append([run.method for run in group])
        alive.append(len(CallingRecorder.alive))
        return real(group, *given) if given[1].graphs else []

    monkeypatch.setattr(cost, "measure_pair", measure_pair)
    monkeypatch.setattr(cost, "RUNS_TOGETHER", 2)
    assert set(measured(options, "ce", "kd", "sp")) == {"ce", "kd", "sp"}
    assert (groups, set(alive)) == ([["kd", "sp"], ["ce"]], {0})
    groups.clear()
    assert measured(replace(options, graphs=False, results=options.results / "other"), "ce", "kd", "sp") == {}
    assert groups == [["kd", "sp", "ce"]]


def test_groups_of_a_few_runs_hold_every_run_once_and_no_two_pairs():
    given = [*runs("kd", "sp", "hint", "ce"), *runs("kd", teacher="resnet20")]
    groups = group_by_pair(given, 3)
    assert [[run.method for run in group] for group in groups] == [["kd", "sp", "hint"], ["ce"], ["kd"]]
    assert group_by_pair([]) == group_by_pair([], 3) == []


def test_the_streams_suffice_for_the_methods_with_the_most_stages():
    shape, counts = models.shape("resnet8", 10), []
    for name in registry.names():
        with torch.device("meta"), Unfilled():
            stages = registry.get(name)(shape, shape, **resolve.resolve_knobs(name, {})).stages(30)
        counts.append(sum(stage.epochs > 0 for stage in stages))
    assert max(counts) == 2, "as the comment on RUNS_TOGETHER says"
    assert 2 * RUNS_TOGETHER + 2 <= STREAM_COUNT, "the plain student and the teacher have one each"


# ---- a lost device
@pytest.fixture
def outside_asserts(isolated_registry):
    """A function: a number of steps -> a method is registered that fails an assert on the device after them."""

    def make(steps):
        @register("outside_asserts")
        class Asserts(Method):
            left = steps

            def loss(self, s, t, batch):
                self.left -= 1
                if self.left < 0:
                    raise torch.AcceleratorError(f"{ASSERT}\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1")
                return {"ce": F.cross_entropy(s.logits, batch.y)}

    return make


@pytest.mark.parametrize("steps", [0, 6], ids=["before it is timed", "while it is timed"])
def test_a_lost_device_ends_the_measurement_with_the_methods_name_and_what_was_measured_is_kept(
    options, outside_asserts, capsys, steps
):
    outside_asserts(steps)
    before, broken = runs("kd"), runs("outside_asserts", "sp", teacher="resnet20")
    options = replace(options, graphs=False)  # a replay that calls Python would count other steps
    with pytest.raises(DeviceLost, match=f"outside_asserts.*AcceleratorError: {ASSERT}; this process") as lost:
        cost.measure([*before, *broken], options)
    assert "debugging" not in str(lost.value)
    assert [record.id for record in Store(options.results).records()] == [run.id for run in before]
    assert capsys.readouterr().err == "", "nothing is said of methods that are not to blame"
    assert cost.measure_or_warn(broken[:1], options) == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("costs not measured: measuring") and "outside_asserts" in line


def test_a_device_that_is_lost_while_memory_is_measured_costs_no_record_of_before(options, monkeypatch):
    def cost_record(lane, *given, real=cost.cost_record):
        if lane.run.method == "sp":
            raise torch.AcceleratorError(ASSERT)
        return real(lane, *given)

    monkeypatch.setattr(cost, "cost_record", cost_record)
    with pytest.raises(DeviceLost, match="resnet14-resnet8 sp"):
        cost.measure(runs("kd", "sp", "hint"), options)
    assert [record.run["method"] for record in Store(options.results).records()] == ["kd"]


def test_an_error_of_a_kernel_is_that_of_the_walk_that_launched_it(monkeypatch):
    launched = []

    def synchronize(_):
        if "broken" in launched:
            raise torch.AcceleratorError(ASSERT)

    monkeypatch.setattr(timing, "synchronize", synchronize)
    walks = {name: {"": lambda _, name=name: launched.append(name)} for name in ("first", "broken", "last")}
    with pytest.raises(DeviceLost, match="measuring broken raised"):
        timing.time_in_turn(walks, [1], HERE)
    assert launched == ["first", "broken"]
