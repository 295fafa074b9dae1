"""CUDA's recorder and its streams, from what they ask of a torch.cuda that is not there."""

import gc
import warnings
import weakref
from dataclasses import replace

import pytest
import torch
from fake_cuda import STREAMED, FakeCuda
from lanes import LONG, a_lane, assert_equal, state, trained
from tape import CALLED
from torch.torch_version import TorchVersion

from benchmark.acceleration import device
from benchmark.acceleration.cuda_graphs import STREAM_COUNT, Recorder, StreamPool, empty_cache
from benchmark.acceleration.graphed_function import WARMUP_STEPS, GraphedFunction, Guard
from benchmark.acceleration.machine import Machine
from benchmark.conformance.trial import PAIRS, Trial
from benchmark.training import provenance
from benchmark.training.loop import train

pytestmark = pytest.mark.usefixtures("torch_only")
CUDA = torch.device("cuda")


@pytest.fixture
def cuda(monkeypatch):
    fake = FakeCuda()
    fake.install(monkeypatch)
    return fake


@pytest.fixture
def trial(tmp_path):
    return Trial("kd", *PAIRS[0], tmp_path)


# ---- recording
def test_work_goes_to_the_own_stream_after_what_was_launched_before(cuda):
    recorder = Recorder(CUDA)
    with recorder.on_own_stream():
        assert cuda.current_stream().name == "stream 0"
    assert cuda.current_stream().name == "main"
    recorder.join()
    assert cuda.log == ["stream 0 waits for main", "main waits for stream 0"]


def test_it_records_on_the_own_stream_while_no_garbage_is_collected(cuda):
    recorder, total = Recorder(CUDA), torch.zeros(2)
    with recorder.on_own_stream():
        replay, result = recorder.capture(lambda: total.add_(1))
    assert cuda.log[-1] == "records on stream 0, collecting garbage: False"
    assert gc.isenabled()
    assert result is total
    assert total.tolist() == [0, 0]
    replay()
    assert total.tolist() == [1, 1]
    with pytest.raises(ZeroDivisionError):
        recorder.capture(lambda: 1 / 0)
    assert gc.isenabled()


def test_it_notes_what_waits_and_passes_other_warnings_on(cuda):
    recorder = Recorder(CUDA)
    with pytest.warns(UserWarning, match="something else"), recorder.detect_syncs() as waits:
        assert cuda.modes[-1] == "warn"
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("Synchronization debug mode is a prototype feature", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert waits == ["called a synchronizing CUDA operation"]
    assert cuda.modes[-1] == "default"


def test_a_whole_run_through_cudas_recorder_equals_one_that_is_called(cuda, trial):
    lane = trained(a_lane(trial, STREAMED))
    assert_equal(state(lane), state(trained(a_lane(trial, CALLED))))
    assert lane.graphed_step.summary()["replayed"] > 10
    assert sum(line.startswith("records") for line in cuda.log) == 2, "the teacher and the lane"


# ---- streams
def test_recorders_that_live_at_the_same_time_have_different_streams_though_torch_repeats_them(cuda):
    kept = [Recorder(CUDA) for _ in range(20)]
    for _ in range(40):
        Recorder(CUDA)
    kept += [Recorder(CUDA) for _ in range(12)]
    assert len({recorder.stream.cuda_stream for recorder in kept}) == len(kept) == STREAM_COUNT
    assert cuda.created <= 2 * STREAM_COUNT
    kept.pop(5)
    kept.append(Recorder(CUDA))
    assert len({recorder.stream.cuda_stream for recorder in kept}) == STREAM_COUNT


def test_a_recorder_without_a_stream_works_on_the_current_one_and_says_why_it_records_nothing(cuda):
    kept = [Recorder(CUDA) for _ in range(STREAM_COUNT)]
    poor = Recorder(CUDA)
    assert poor.stream is None
    calls = []
    function = GraphedFunction(lambda x: calls.append(cuda.current_stream().name), Guard, poor)
    function.begin()
    given = object()
    for _ in range(WARMUP_STEPS + 3):
        function(given)
    function.join()
    assert calls == ["main"] * (WARMUP_STEPS + 3)
    assert function.summary() == {"recorded": 0, "replayed": 0, "reason": "all 32 CUDA streams of torch are in use"}
    kept[7].close()
    assert Recorder(CUDA).stream is not None
    assert {recorder.why_not() for recorder in kept[:7]} == {""}


def test_a_stream_is_given_back_after_its_graph_is_gone_and_the_device_has_been_waited_for(cuda, monkeypatch):
    real = StreamPool.give_back
    monkeypatch.setattr(StreamPool, "give_back", lambda *given: cuda.log.append("gives back") or real(*given))
    function = GraphedFunction(lambda x: x.add_(1), Guard, Recorder(CUDA))
    function.begin()
    total = torch.zeros(())
    for _ in range(WARMUP_STEPS + 3):
        function(total)
    assert function.recorded == 1
    own, cuda.log[:] = function.recorder.stream, []
    function.close()
    assert cuda.log == ["destroys a graph", "synchronizes", "gives back"]
    assert Recorder(CUDA).stream is own
    function.close(), function(total)
    assert cuda.log.count("gives back") == 2, "its own, and that of the recorder above"
    assert total == WARMUP_STEPS + 4
    assert function.summary()["recorded"] == 1


def test_a_graph_is_destroyed_before_the_same_stream_records_another(cuda):
    options = {"weight": 1.0}
    total = torch.zeros(())
    function = GraphedFunction(lambda x: x.add_(options["weight"]), lambda: Guard(options), Recorder(CUDA))
    for weight in (1.0, 2.0):
        options["weight"] = weight
        function.begin()
        for _ in range(WARMUP_STEPS + 3):
            function(total)
    graphs = [line.split()[0] for line in cuda.log if "record" in line or "graph" in line]
    assert graphs == ["records", "destroys", "records"]
    assert total == 3 * (WARMUP_STEPS + 3)


def test_the_stream_of_a_device_that_is_lost_is_not_used_again(cuda):
    lost = Recorder(CUDA)
    own = lost.stream
    cuda.lost = True
    lost.close()
    cuda.lost = False
    del lost
    assert own not in [Recorder(CUDA).stream for _ in range(40)]


def test_lanes_that_end_give_their_streams_to_the_next_cohort(cuda, trial):
    cohort = [replace(trial, method=name).run for name in ("ce", "kd", "sp")]
    context = replace(trial.context(), machine=STREAMED)
    for _ in range(4):
        train(cohort, context)
    assert cuda.created == 4, "the teacher and three lanes"


# ---- recordings that fail
@pytest.mark.parametrize(("version", "recorded"), [("2.11.0", 0), ("2.12.1+cu130", 0), ("2.13.0", 1), ("2.14.1", 1)])
def test_after_a_failed_recording_others_are_tried_where_torch_can_go_on(cuda, trial, monkeypatch, version, recorded):
    provenance.versions()  # read the true version once; it is kept
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    first = GraphedFunction(lambda x: x if not cuda.capturing else 1 / 0, Guard, Recorder(CUDA))
    first.begin()
    given = object()
    for _ in range(WARMUP_STEPS + 2):
        first(given)
    assert first.reason == "it could not be recorded: ZeroDivisionError: division by zero"
    assert ("empties the cache" in cuda.log) is bool(recorded), "with an allocator that is stuck it would raise"
    context = replace(trial.context(), machine=STREAMED)
    (record,) = train([trial.run.model_copy(update={"recipe": LONG})], context)
    assert record.status == "done"
    summary = record.provenance["recording"]
    assert summary["recorded"] == recorded
    wanted = "" if recorded else f"another recording failed before, and torch {version} cannot record after that"
    assert summary["reason"] == wanted


def test_without_a_failed_recording_the_cache_is_emptied_in_any_version(cuda, monkeypatch):
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.12.0"))
    empty_cache()
    Machine(CUDA, "fp32").free_memory()
    assert cuda.log == ["empties the cache"] * 2


def test_a_graphed_function_and_its_recording_are_freed_without_the_garbage_collector(cuda):
    class Owner:
        def __init__(self):
            self.total = torch.zeros(())

        def add(self):
            return self.total.add_(1)

    owner = Owner()
    function = GraphedFunction(owner.add, Guard, Recorder(CUDA))
    function.begin()
    for _ in range(WARMUP_STEPS + 3):
        function()
    gone, cuda.log[:] = weakref.ref(function), []
    gc.disable()
    try:
        del function
        assert gone() is None
    finally:
        gc.enable()
    assert cuda.log == ["destroys a graph"]


# ---- what CUDA is told before it starts
def test_lanes_have_hardware_queues_of_their_own_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("CUDA_DEVICE_MAX_CONNECTIONS", raising=False)
    device.set_cuda_environment()
    assert device.os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] == "32"
    monkeypatch.setenv("CUDA_DEVICE_MAX_CONNECTIONS", "8")
    device.set_cuda_environment()
    assert device.os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] == "8"


@pytest.mark.parametrize(
    ("memory", "theirs", "wanted"),
    [(80 << 30, None, ":4096:8"), (8 << 30, None, ":16:8"), (None, None, ":4096:8"), (8 << 30, ":32:2", ":32:2")],
)
def test_cublas_takes_little_memory_for_each_stream_of_a_small_device(monkeypatch, memory, theirs, wanted):
    for name in ("use_deterministic_algorithms", "backends"):
        monkeypatch.setattr(torch, name, Anything())
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if theirs:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", theirs)
    device.configure_cuda(exact=True, memory=memory)
    assert device.os.environ["CUBLAS_WORKSPACE_CONFIG"] == wanted
    assert torch.utils.deterministic.fill_uninitialized_memory is False


class Anything:
    """Can be called and has every attribute."""

    def __call__(self, *given, **named):
        return self

    def __getattr__(self, name):
        return self
