"""Networks as they are deployed: which are measured, what is kept, and what a method's layer changes."""

import pytest
import torch
from torch import nn

from benchmark import models
from benchmark.acceleration.machine import Machine
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.profiling import deployment
from benchmark.store import Record, Store
from benchmark.sweep.options import Options
from benchmark.training import model_size, weights


@pytest.fixture
def quick(monkeypatch):
    """Timings of one pass each."""
    monkeypatch.setattr(deployment, "SECONDS_EACH", 0.0)
    monkeypatch.setattr(deployment, "LEAST", 1)
    monkeypatch.setattr(deployment, "WARMUP", 1)


def test_each_network_is_measured_once_teacher_and_student_and_again_only_where_a_layer_was_left(tmp_path, quick):
    runs = load_suite("digits", Choices(methods=("ce", "kd", "sp"), seeds="0-1"))
    options, store = Options("digits", tmp_path, tmp_path, device="cpu", quiet=True), Store(tmp_path)
    found = deployment.measure(runs, options)
    assert sorted(record.run["student"] for record in found) == ["resnet20", "resnet8"]
    assert deployment.measure(runs, options) == []
    widened = models.build("resnet8", 10)
    widened.embed, widened.head = nn.Linear(64, 96), nn.Linear(96, 10)
    store.keep_weights(runs[1].id, weights.to_bytes(widened))
    (record,) = deployment.measure(runs, options)
    assert record.id == runs[1].id and record.provenance["trained"]
    assert record.size["student"] == model_size.count_parameters(widened)
    assert record.size["file_bytes"] == store.weights(runs[1].id).stat().st_size
    assert all(record.id not in store.latest() for record in found), "it answers for no run"


def test_times_are_positive_and_named_by_precision(tmp_path, quick):
    runs = load_suite("digits", Choices(methods=("ce",), seeds="0"))
    (record,) = deployment.measure(runs, Options("digits", tmp_path, tmp_path, device="cpu", quiet=True))
    assert record.clock["batch"] == 256
    for name in set(record.clock) - {"batch"}:
        assert name in ("fp32", "bf16")
        assert record.clock[name]["latency_ms"] > 0 and record.clock[name]["images_per_s"] > 0
        assert record.clock[name]["folded"] is True
    assert "fp32" in record.clock
    assert record.provenance["trained"] is False


def test_memory_is_given_back_after_every_network(tmp_path, monkeypatch):
    def measure_run(run, *_):
        order.append("network")
        return Record(kind="deployment", id=run.id, status="done", run=run.model_dump(mode="json"))

    order = []
    monkeypatch.setattr(Machine, "free_memory", lambda self: order.append("free"))
    monkeypatch.setattr(deployment, "measure_run", measure_run)
    runs = load_suite("digits", Choices(methods=("kd",), seeds="0"))
    assert len(deployment.measure(runs, Options("digits", tmp_path, tmp_path, device="cpu", quiet=True))) == 2
    assert order == ["network", "free"] * 2


def test_a_process_that_has_lost_its_device_measures_nothing_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(deployment, "device_is_lost", lambda: True)
    monkeypatch.setattr(deployment, "measure_run", lambda *_: pytest.fail("something was measured"))
    runs = load_suite("digits", Choices(methods=("kd",), seeds="0"))
    assert deployment.measure(runs, Options("digits", tmp_path, tmp_path, device="cpu")) == []
    assert capsys.readouterr().err.count("cannot use its CUDA device") == 1


def test_the_median_is_of_passes_after_the_first_ones(monkeypatch):
    now, durations = [0.0], iter([100.0, 100.0, 1.0, 9.0, 2.0, 7.0])

    def action():
        now[0] += next(durations)

    monkeypatch.setattr(deployment.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(deployment, "WARMUP", 2)
    monkeypatch.setattr(deployment, "LEAST", 3)
    monkeypatch.setattr(deployment, "SECONDS_EACH", 15.0)
    here = type("Here", (), {"device": torch.device("cpu")})
    assert deployment.seconds(action, here) == 4.5  # of 1, 9, 2 and 7: after 12 seconds the time was not over
