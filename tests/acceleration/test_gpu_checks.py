"""The checks of training on a GPU, rehearsed on the CPU with a stand-in for CUDA's recorder, and with faults."""

import itertools
import os
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from tape import TapeMachine, TapeRecorder

from benchmark.acceleration import frozen_net
from benchmark.acceleration.cuda_kernels import cudnn_conv
from benchmark.acceleration.machine import Machine
from benchmark.doctor import gpu_checks, gpu_faults, gpu_kernels, gpu_limits, gpu_processes, gpu_training
from benchmark.doctor.finding import Finding, run_check
from benchmark.doctor.workload import Workload, calibrated, distance, unlike
from benchmark.sweep.executors import run_here
from methods import registry

CPU = torch.device("cpu")


class Rehearsal(Workload):
    """The task on a CPU that records and replays."""

    def machine(self, precision, graphs=True, exact=True):
        kind = TapeMachine if graphs else Machine
        return kind(CPU, "bf16" if precision == "bf16" else "fp32", graphs)


@pytest.fixture
def work(tmp_path, monkeypatch, torch_only):
    """A small task; two methods stand for all, and our own kernels, which the stand-in cannot see, are not used."""
    monkeypatch.setattr(gpu_faults, "exhaust", out_of_memory)
    monkeypatch.setattr(gpu_faults, "RECORDERS", 5)
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: None)
    for module in (gpu_training, gpu_faults):
        monkeypatch.setattr(module, "learners", lambda count=None: ["kd", "sp"])
    gpu_training.launched_alone.cache_clear()
    yield Rehearsal(tmp_path, "cpu", "resnet14", "resnet8", pixels=16, batches=4, batch=5, rest=3, epochs=4)
    gpu_training.launched_alone.cache_clear()


def out_of_memory(*_):
    raise torch.OutOfMemoryError("no memory")


class Forgetful(TapeRecorder):
    """A recorder whose replays do nothing."""

    def capture(self, action):
        return (lambda: None), super().capture(action)[1]


class Reluctant(TapeRecorder):
    """A recorder that cannot record."""

    def capture(self, action):
        raise RuntimeError("not today")


# ---- the list
def test_the_list_has_every_method_in_both_precisions_and_every_name_once(tmp_path):
    names = [name for name, _ in gpu_checks.training_checks(Workload(tmp_path))]
    assert len(set(names)) == len(names)
    assert {f"{method} {precision}" for method in registry.names() for precision in ("fp32", "bf16")} < set(names)
    assert {"delayed streams", "many recorders", "memory runs out", "failed recording", "RMSProp"} < set(names)


def test_a_slow_device_for_which_the_time_is_over_early_has_had_its_faults_checked(tmp_path, capsys):
    checks = gpu_checks.training_checks(Workload(tmp_path))
    faults = {"device-side assert", "memory runs out", "failed recording", "many recorders", "delayed streams"}
    faults |= {"masked devices", "Triton kernels", "cuDNN fusion"}
    assert {name for name, _ in checks[: len(faults)]} == faults
    replays = [f"{method} {precision}" for method in registry.names() for precision in gpu_checks.PRECISIONS]
    assert [name for name, _ in checks[-len(replays) :]] == replays
    seconds = itertools.count(0, 10)
    listed = dict(gpu_checks.within_time(checks, lambda: next(seconds)))
    made = {name for name, check in checks if listed[name] is check}
    assert faults < made and len(made) < len(checks)


def test_checks_in_which_a_recording_may_fail_run_in_processes_of_their_own(work, monkeypatch):
    names, wanted = [], {"memory runs out", "failed recording", "students at once"}
    monkeypatch.setattr(gpu_processes, "in_own_process", lambda name, check, work: names.append(name))
    checks = dict(gpu_checks.training_checks(work))
    for name in wanted:
        checks[name]()
    assert set(names) == wanted


@pytest.mark.parametrize(
    "name",
    ["kd fp32", "kd bf16", "beside a CPU fp32", "cohort fp32", "bf16 autotuned", "delayed streams", "many recorders",
     "memory runs out", "failed recording"],
)  # fmt: skip
def test_a_check_that_holds_on_the_stand_in_is_ok_and_has_the_name_of_the_list(work, name, monkeypatch):
    monkeypatch.setattr(gpu_processes, "run_in_processes", lambda run, jobs, _: [run_here(run, *jobs)])
    found = run_check(name, dict(gpu_checks.training_checks(work))[name])
    assert found.ok and found.name == name, found
    assert not found.advice


def test_a_training_with_rmsprop_is_replayed_and_its_averages_are_compared(work, monkeypatch):
    monkeypatch.setattr(import_module("torch.optim.rmsprop"), "_get_capturable_supported_devices", lambda: ["cpu"])
    monkeypatch.setattr(Machine, "capturable", True)
    compared, real = set(), gpu_training.unlike
    monkeypatch.setattr(gpu_training, "unlike", lambda one, other: compared.update(one) or real(one, other))
    found = gpu_training.rmsprop(work)
    assert found.ok and found.name == "RMSProp" and "recorded 1 times" in found.value, found
    assert {"momentum_buffer.0", "square_avg.0", "step.0", "student.head.weight"} < compared


# ---- kernels
def test_triton_kernels_are_used_in_bf16_or_the_reason_is_given(work, monkeypatch):
    reasons = {"bf16": "", "fp32": "they read maps that are channels last"}
    monkeypatch.setattr(Machine, "_why_no_kernels", lambda self: reasons[self.precision])
    found = gpu_kernels.triton(work)
    assert found.ok and found.value == "bf16: used; fp32: not used, they read maps that are channels last"
    reasons["bf16"] = "RuntimeError: Failed to find C compiler"
    found = gpu_kernels.triton(work)
    assert not found.ok and "bf16: not used, RuntimeError: Failed to find C compiler" in found.value
    assert "C compiler" in found.advice and not found.prevents


@pytest.fixture
def fused(monkeypatch):
    """Stand-ins for cuDNN's operators, for the teacher of a task that runs on a CPU."""

    def relu(x, weight, bias, *layer):
        return F.conv2d(x, weight, bias, *layer).relu()

    def add_relu(x, weight, z, alpha, bias, *layer):
        return (F.conv2d(x, weight, bias, *layer) + alpha * z).relu()

    monkeypatch.setattr(torch, "cudnn_convolution_relu", relu)
    monkeypatch.setattr(torch, "cudnn_convolution_add_relu", add_relu)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr(frozen_net.onednn, "fuse_convolutions", cudnn_conv.fuse_convolutions)
    return monkeypatch


def without_engine(*_):
    raise RuntimeError("GET was unable to find an engine to execute this computation")


def test_convolutions_that_cudnn_fuses_are_counted(work, fused):
    found = gpu_kernels.cudnn(work)
    assert found.ok and "bf16: 10 of 10 convolutions of a teacher" in found.value and not found.advice
    fused.setattr(torch, "cudnn_convolution_add_relu", without_engine)
    found = gpu_kernels.cudnn(work)
    assert found.ok and "bf16: 7 of 10 convolutions" in found.value


def test_a_teacher_whose_convolutions_are_not_fused_says_why(work, fused):
    with fused.context() as patch:
        patch.setattr(torch, "cudnn_convolution_relu", without_engine)
        patch.setattr(torch, "cudnn_convolution_add_relu", without_engine)
        found = gpu_kernels.cudnn(work)
        assert not found.ok and "0 of 10" in found.value and "no such operator for these shapes" in found.value
    with fused.context() as patch:
        patch.setattr(torch.backends.cudnn, "is_available", lambda: False)
        assert "torch has no such operators here" in gpu_kernels.cudnn(work).value
    fused.setattr(frozen_net, "outputs_close", lambda one, other: False)
    assert "batch norm is not folded" in gpu_kernels.cudnn(work).value


# ---- faults that the checks must find
def recorded_by(monkeypatch, recorder):
    """Steps are recorded by another recorder from now on."""
    monkeypatch.setattr(TapeMachine, "recorder", lambda self: recorder())


def test_a_replay_that_does_something_else_is_found(work, monkeypatch):
    recorded_by(monkeypatch, Forgetful)
    for found in (gpu_training.replay(work, "kd", "fp32"), gpu_training.delays(work), gpu_training.autotuned(work)):
        assert not found.ok and "bug" in found.advice, found
    assert "tensors differ" in gpu_training.replay(work, "kd", "fp32").value


def test_a_step_that_is_never_recorded_is_found_and_says_why(work, monkeypatch):
    recorded_by(monkeypatch, Reluctant)
    found = gpu_training.replay(work, "kd", "fp32")
    assert not found.ok and "not today" in found.value and "launched one by one" in found.advice
    assert not gpu_faults.many_recorders(work).ok, "none could be recorded"


def test_a_loss_that_falls_otherwise_than_on_a_cpu_is_found(work, monkeypatch):
    real = Workload.train

    def train(self, here, method, **changes):
        lane, taken = real(self, here, method, **changes)
        factor = 1.03 if here.graphs else 1.0
        lane.curve["loss"] = {name: [factor * each for each in column] for name, column in lane.curve["loss"].items()}
        return lane, taken

    monkeypatch.setattr(Workload, "train", train)
    found = gpu_training.beside_cpu(work, "fp32")
    assert not found.ok and "3.00 %" in found.value
    assert gpu_training.beside_cpu(work, "bf16").ok


# ---- delays
def test_every_stream_is_held_up_for_random_times(monkeypatch):
    order = []

    class Inner:
        @contextmanager
        def on_own_stream(self):
            order.append("enter")
            yield
            order.append("leave")

        def join(self):
            order.append("join")

        def capture(self, action):
            return "captured"

    monkeypatch.setattr(torch.cuda, "_sleep", order.append)
    dice = SimpleNamespace(randrange=lambda low, high: high)
    recorder = gpu_training.DelayedRecorder(Inner(), dice)
    with recorder.on_own_stream():
        order.append("work")
    recorder.join()
    wait = gpu_training.MAX_CYCLES
    assert order == [wait, "enter", wait, "work", wait, "leave", wait, "join", wait]
    assert recorder.capture(None) == "captured"


# ---- limits
def test_as_many_students_as_fit_are_timed(work, monkeypatch):
    taken = itertools.count(1)
    monkeypatch.setattr(
        gpu_limits, "milliseconds", lambda work, here, count: next(taken) if count < 8 else out_of_memory()
    )
    found = gpu_limits.lanes(work)
    assert found.ok and "1: 1.00 ms, 4: 2.00 ms; more do not fit" in found.value and "--lanes 4" in found.advice
    assert "expected, not measured" in found.value
    monkeypatch.setattr(gpu_limits, "milliseconds", out_of_memory)
    assert gpu_limits.lanes(work).prevents


def test_students_are_timed_side_by_side_and_replayed(work):
    assert gpu_limits.milliseconds(work, work.machine("fp32"), 2) > 0


def test_the_teacher_is_timed_for_each_number_of_batches(work, monkeypatch):
    sizes, real = set(), gpu_limits.BatchFeed

    def feed(forward, count, recorder):
        return real(lambda x: sizes.add((count, len(x))) or forward(x), count, recorder)

    monkeypatch.setattr(gpu_limits, "BatchFeed", feed)
    monkeypatch.setattr(gpu_limits, "TEACHER_BATCHES", (1, 3))
    found = gpu_limits.teacher(work)
    assert sizes == {(1, 5), (3, 15)}
    assert "1 at once: " in found.value and "3 at once: " in found.value and "it is asked for 2" in found.value


@pytest.mark.parametrize(("most", "largest"), [(5000, 1000), (600, 500), (100, 0)])
def test_the_largest_evaluation_batch_that_fits_is_found(work, monkeypatch, most, largest):
    monkeypatch.setattr(gpu_limits, "WIDEST", "resnet8")
    monkeypatch.setattr(gpu_limits, "MOST_IMAGES", 1500)
    monkeypatch.setattr(TapeMachine, "forward", lambda self, net, x: out_of_memory() if len(x) > most else None)
    found = gpu_limits.evaluation(work)
    assert found.ok is (largest > 0)
    assert f"{largest:,} images of resnet8 fit, 500 are judged" in found.value


# ---- processes
def test_a_child_that_sees_other_devices_than_its_own_is_found(work, monkeypatch):
    seen_by = []

    def children(look, jobs, devices):
        for job, seen in zip(jobs, seen_by, strict=True):
            job.path.write_text(seen)
        return [None] * len(jobs)

    monkeypatch.setattr(gpu_processes, "visible", lambda: ["a", "b"])
    monkeypatch.setattr(gpu_processes.runner, "devices", lambda options: ["2", "3"])
    monkeypatch.setattr(gpu_processes, "run_in_processes", children)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "NVIDIA H100")
    seen_by[:] = ['["a"]', '["b"]', '["a"]', '["b"]']
    found = gpu_processes.masked(work)
    assert found.ok and "each of 4 child processes" in found.value
    seen_by[1] = '["a"]'
    found = gpu_processes.masked(work)
    assert not found.ok and "see [0], [0], [0], [1]" in found.value and "--executor here" in found.advice
    seen_by[1:] = ['["b"]', '["a"]', "[]"]
    found = gpu_processes.masked(work)
    assert not found.ok and "see [0], [1], [0], []" in found.value


def test_a_single_device_is_masked_by_its_uuid_too_except_where_it_is_a_part_of_a_gpu(work, monkeypatch):
    asked, name = [], "NVIDIA A100-SXM4-40GB"

    def children(look, jobs, devices):
        asked.append(devices)
        for job in jobs:
            job.path.write_text('["5f8a"]')
        return [None] * len(jobs)

    monkeypatch.setattr(gpu_processes, "visible", lambda: ["5f8a"])
    monkeypatch.setattr(gpu_processes.runner, "devices", lambda options: ["0"])
    monkeypatch.setattr(gpu_processes, "run_in_processes", children)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: name)
    assert gpu_processes.masked(work).ok
    name += " MIG 1g.5gb"
    assert gpu_processes.masked(work).ok
    assert asked == [["0", "GPU-5f8a"], ["0"]]


def process_id(work):
    return Finding("process", str(os.getpid()))


def dies(work):
    os._exit(3)


def test_a_check_in_a_process_of_its_own_brings_its_finding_back(work):
    found = gpu_processes.in_own_process("process", process_id, work)
    assert found.ok and found.name == "process" and int(found.value) != os.getpid()


def test_a_check_whose_process_dies_is_a_problem_and_nothing_else_is_lost(work):
    found = gpu_processes.in_own_process("process", dies, work)
    assert not found.ok and "its process ended with exit code 3" in found.value and "bug" in found.advice


def test_a_lane_that_reads_outside_of_a_tensor_fails_alone(work):
    found = gpu_processes.device_assert(work)
    assert found.ok, found
    assert "the lane that fails: failed (index 1000 is out of bounds" in found.value
    assert "the lane beside it: done" in found.value
    assert "asserting" not in registry.names()


def test_a_lane_that_is_lost_with_the_one_that_fails_is_a_problem(work, monkeypatch):
    monkeypatch.setattr(gpu_processes, "run_in_processes", lambda *_: None)
    found = gpu_processes.device_assert(work)
    assert not found.ok and found.value.count("no record") == 2


# ---- the task
def test_a_deep_teacher_without_training_shows_numbers_of_ordinary_size():
    net = calibrated("resnet56", 16)
    with torch.no_grad():
        shown = net(torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(1)))
    assert shown.embedding.abs().max() < 100
    assert shown.logits.isfinite().all()


def test_states_are_compared_bit_for_bit():
    one = {"a": torch.ones(2), "b": torch.zeros(2)}
    assert unlike(one, {name: value.clone() for name, value in one.items()}) == []
    other = {"a": torch.tensor([1.0, 1.0 + 2e-7]), "c": torch.zeros(2)}
    assert unlike(one, other) == ["a", "b", "c"]
    assert distance({"a": torch.tensor([1.0, 4.0])}, {"a": torch.tensor([2.0, 4.0])}) == 0.25


def test_the_task_has_full_batches_and_a_partial_one(work):
    sizes = [len(batch.y) for batch in work.context(work.machine("fp32")).train_split.epoch(0, 0, work.recipe)]
    assert sizes == [5, 5, 5, 5, 3]
    whole = replace(work, rest=0)
    split = whole.context(whole.machine("fp32")).train_split
    assert {len(batch.y) for batch in split.epoch(0, 0, whole.recipe)} == {5}


def test_each_check_begins_with_the_memory_of_earlier_ones_given_back(work, monkeypatch):
    order = []
    monkeypatch.setattr(TapeMachine, "free_memory", lambda self: order.append("free"))
    gpu_checks.with_free_memory(work, partial(order.append, "check"))
    assert order == ["free", "check"]
