"""Metrics of logits against literal loops.  M images · K classes"""

import math

import pytest
import torch

from benchmark.training.metrics import BINS, all_metrics


def draw(m=200, k=10, spread=2.0, seed=0):
    """Logits (M, K) and labels (M,)."""
    dice = torch.Generator().manual_seed(seed)
    return spread * torch.randn(m, k, generator=dice), torch.randint(0, k, (m,), generator=dice)


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
    """Guo et al., eq. 3: bins ((b - 1) / B, b / B], each weighed by its share of images."""
    total = 0.0
    for b in range(1, BINS + 1):
        inside = []
        for row, label in zip(z, y, strict=True):
            p = softmax(row)
            if (b - 1) / BINS < max(p) <= b / BINS:
                inside.append((max(p), best(p, 1)[0] == label))
        if inside:
            accuracy = sum(right for _, right in inside) / len(inside)
            confidence = sum(p for p, _ in inside) / len(inside)
            total += len(inside) / len(y) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize(("k", "spread"), [(10, 2.0), (100, 1.0), (3, 5.0)])
def test_every_metric_is_what_a_loop_over_the_images_gives(k, spread):
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


def test_a_student_that_copies_its_teacher_agrees_wholly():
    z, y = draw()
    found = all_metrics(z, y, z)
    assert found["agreement"] == 1
    assert found["kl"] == pytest.approx(0, abs=1e-12)


def test_the_divergence_is_from_teacher_to_student():
    sure, unsure = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    p = softmax([4.0, 0.0])
    expected = sum(each * math.log(each / 0.5) for each in p)
    assert all_metrics(unsure, torch.tensor([0]), sure)["kl"] == pytest.approx(expected)


def test_wholly_sure_and_wholly_wrong_is_a_calibration_error_of_one():
    z = torch.tensor([[100.0, 0.0], [100.0, 0.0]])
    assert all_metrics(z, torch.tensor([1, 1]))["ece"] == pytest.approx(1)
    assert all_metrics(z, torch.tensor([0, 0]))["ece"] == pytest.approx(0)


def test_huge_logits_of_a_wrong_class_leave_the_metrics_finite():
    z, y = torch.tensor([[1e4, 0.0, 0.0]]), torch.tensor([1])
    assert all_metrics(z, y)["nll"] == pytest.approx(1e4)
