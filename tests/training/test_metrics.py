"""Metrics of logits, compared with loops over the images.  M images · K classes"""

import math
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from benchmark.acceleration.machine import Machine
from benchmark.conformance.trial import CPU, PAIRS, Trial, train_one_epoch
from benchmark.training.metrics import BINS, all_metrics, predict_logits
from benchmark.training.teacher import all_logits


def draw(m=200, k=10, spread=2.0, seed=0):
    """Logits (M, K) and labels (M,)."""
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(m, k, generator=generator), torch.randint(0, k, (m,), generator=generator)


def softmax(row):
    top = max(row)
    powers = [math.exp(value - top) for value in row]
    return [power / sum(powers) for power in powers]


def best(row, count):
    """The classes of the `count` largest values, largest first."""
    return sorted(range(len(row)), key=lambda k: -row[k])[:count]


def slow_top(z, y, count):
    return sum(label in best(row, count) for row, label in zip(z, y, strict=True)) / len(y)


def slow_ece(z, y):
    """Guo et al., eq. 3: bins ((b - 1) / B, b / B], each weighted by its share of the images."""
    total = 0.0
    for b in range(1, BINS + 1):
        inside = []
        for row, label in zip(z, y, strict=True):
            p = softmax(row)
            if (b - 1) / BINS < max(p) <= b / BINS:
                inside.append((max(p), best(p, 1)[0] == label))
        if inside:
            accuracy = sum(correct for _, correct in inside) / len(inside)
            confidence = sum(p for p, _ in inside) / len(inside)
            total += len(inside) / len(y) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize(("k", "spread"), [(10, 2.0), (100, 1.0), (3, 5.0)])
def test_every_metric_equals_that_of_a_loop_over_the_images(k, spread):
    z, y = draw(k=k, spread=spread)
    t, _ = draw(k=k, spread=spread, seed=1)
    found, rows, labels, teacher = all_metrics(z, y, t), z.tolist(), y.tolist(), t.tolist()
    pairs = list(zip(rows, teacher, strict=True))
    assert found["top1"] == pytest.approx(slow_top(rows, labels, 1))
    assert found["top5"] == pytest.approx(slow_top(rows, labels, min(5, k)))
    nll = [-math.log(softmax(row)[label]) for row, label in zip(rows, labels, strict=True)]
    assert found["nll"] == pytest.approx(sum(nll) / len(nll))
    assert found["ece"] == pytest.approx(slow_ece(rows, labels))
    assert found["agreement"] == pytest.approx(sum(best(s, 1) == best(t, 1) for s, t in pairs) / len(pairs))
    gaps = [p * math.log(p / q) for s, t in pairs for p, q in zip(softmax(t), softmax(s), strict=True)]
    assert found["kl"] == pytest.approx(sum(gaps) / len(pairs))


def test_without_a_teacher_there_is_neither_agreement_nor_divergence():
    found = all_metrics(*draw())
    assert found["agreement"] is None
    assert found["kl"] is None


def test_a_student_with_its_teachers_logits_has_full_agreement_and_no_divergence():
    z, y = draw()
    found = all_metrics(z, y, z)
    assert found["agreement"] == 1
    assert found["kl"] == pytest.approx(0, abs=1e-12)


def test_the_divergence_is_from_teacher_to_student():
    teacher, student = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    p = softmax([4.0, 0.0])
    expected = sum(each * math.log(each / 0.5) for each in p)
    assert all_metrics(student, torch.tensor([0]), teacher)["kl"] == pytest.approx(expected)


def test_full_confidence_in_wrong_classes_is_a_calibration_error_of_one():
    z = torch.tensor([[100.0, 0.0], [100.0, 0.0]])
    assert all_metrics(z, torch.tensor([1, 1]))["ece"] == pytest.approx(1)
    assert all_metrics(z, torch.tensor([0, 0]))["ece"] == pytest.approx(0)


def test_huge_logits_of_a_wrong_class_leave_the_metrics_finite():
    z, y = torch.tensor([[1e4, 0.0, 0.0]]), torch.tensor([1])
    assert all_metrics(z, y)["nll"] == pytest.approx(1e4)


# ---- logits of a network
class SmallMemory(Machine):
    """A machine whose memory holds the activations of so many images at once."""

    most = 5
    asked: ClassVar[list] = []

    def forward(self, net, x):
        self.asked.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(net, x)


@pytest.fixture
def lane(tmp_path):
    SmallMemory.asked.clear()
    return Trial("ce", *PAIRS[0], tmp_path).lane()


def test_logits_do_not_depend_on_the_batch_and_the_size_that_fitted_is_used_again(lane):
    split, small = lane.context.eval_split, SmallMemory(torch.device("cpu"), "fp32")
    whole, batch = predict_logits(lane.student.train(), split, CPU, 500)
    assert (len(whole), batch) == (24, 500)
    parts, batch = predict_logits(lane.student, split, small, 40)
    assert batch == 3
    assert small.asked == [24, 12, 6, *[3] * 8]
    assert parts.equal(whole)
    assert lane.student.training
    small.asked.clear()
    again, batch = predict_logits(lane.student, split, small, batch)
    assert again.equal(whole)
    assert small.asked == [3] * 8


def test_a_network_that_cannot_evaluate_one_image_raises_and_stays_in_training_mode(lane, monkeypatch):
    monkeypatch.setattr(SmallMemory, "most", 0)
    with pytest.raises(torch.OutOfMemoryError):
        predict_logits(lane.student.train(), lane.context.eval_split, SmallMemory(torch.device("cpu"), "fp32"), 4)
    assert SmallMemory.asked == [4, 2, 1]
    assert lane.student.training


def test_a_lane_remembers_the_size_of_its_evaluation(lane, monkeypatch):
    lane.context = replace(lane.context, machine=SmallMemory(torch.device("cpu"), "fp32"))
    monkeypatch.setattr(SmallMemory, "most", 12)
    for _ in range(2):
        train_one_epoch(lane)
    assert lane.eval_batch == 12
    assert SmallMemory.asked == [10, 10, 4, 24, 12, 12, 10, 10, 4, 12, 12], "steps of 10, 10 and 4, and evaluations"


def test_a_teachers_logits_are_computed_in_batches_that_fit(lane, monkeypatch):
    split, asked = lane.context.eval_split, []

    def forward(x):
        asked.append(len(x))
        if len(x) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return lane.student.eval()(x)

    with torch.no_grad():
        found = all_logits(forward, split, CPU)
        assert found.equal(torch.cat([lane.student(batch.x).logits for batch in split.in_order(3)]))
    assert asked == [24, 12, 6, *[3] * 8]
