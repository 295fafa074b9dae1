"""Each loss against a slow, literal, loop-written reading of its equation, in float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods import registry
from methods.contract import Batch, Outputs

sizes = st.sampled_from([1, 2, 5])
classes = st.integers(2, 7)
temperatures = st.sampled_from([1.0, 3.0, 4.0])


def shown(logits):
    return Outputs([], logits, logits)


def softmax(row, temperature):
    weights = [math.exp(z / temperature) for z in row]
    return [w / sum(weights) for w in weights]


def cross_entropy(rows, labels):
    return -sum(math.log(softmax(row, 1.0)[y]) for row, y in zip(rows, labels, strict=True)) / len(rows)


def divergence(students, teachers, temperature):
    total = 0.0
    for s, t in zip(students, teachers, strict=True):
        p, q = softmax(t, temperature), softmax(s, temperature)
        total += sum(p_k * math.log(p_k / q_k) for p_k, q_k in zip(p, q, strict=True))
    return total / len(students)


def drawn(seed, n, k):
    stream = torch.Generator().manual_seed(seed)
    s, t = (3 * torch.randn(n, k, generator=stream, dtype=torch.float64) for _ in range(2))
    y = torch.randint(0, k, (n,), generator=stream)
    return s, t, Batch(torch.zeros(n), y, torch.arange(n))


@given(st.integers(0, 99), sizes, classes)
def test_the_plain_student_minimises_the_mean_surprise_of_the_labels(seed, n, k):
    s, _, batch = drawn(seed, n, k)
    terms = registry.get("ce")().loss(shown(s), None, batch)
    assert terms["ce"].item() == pytest.approx(cross_entropy(s.tolist(), batch.y.tolist()), rel=1e-9)


@given(st.integers(0, 99), sizes, classes, temperatures, st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_kd_weighs_labels_against_softened_divergence_times_temperature_squared(seed, n, k, temperature, alpha):
    s, t, batch = drawn(seed, n, k)
    terms = registry.get("kd")(temperature=temperature, alpha=alpha).loss(shown(s), shown(t), batch)
    hard = (1 - alpha) * cross_entropy(s.tolist(), batch.y.tolist())
    soft = alpha * temperature**2 * divergence(s.tolist(), t.tolist(), temperature)
    assert terms["ce"].item() == pytest.approx(hard, rel=1e-9, abs=1e-12)
    assert terms["kd"].item() == pytest.approx(soft, rel=1e-9, abs=1e-12)


def test_the_temperature_knob_changes_the_loss():
    s, t, batch = drawn(0, 5, 4)
    losses = {
        T: registry.get("kd")(temperature=T).loss(shown(s), shown(t), batch)["kd"].item() for T in (1.0, 4.0, 8.0)
    }
    assert len(set(losses.values())) == 3


def test_a_composition_adds_all_terms_and_counts_cross_entropy_once_as_its_first_part_weighs_it():
    s, t, batch = drawn(1, 5, 4)
    terms = registry.get("ce+kd")(None, None, **{"kd.alpha": 0.5}).loss(shown(s), shown(t), batch)
    assert terms["ce"].item() == pytest.approx(cross_entropy(s.tolist(), batch.y.tolist()))
    assert terms["kd"].item() == pytest.approx(0.5 * 16 * divergence(s.tolist(), t.tolist(), 4.0))
