"""Losses and their gradients against what the authors' own public code answers (tests/reference/losses.npz)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from methods import registry
from methods.contract import Batch, Outputs

ANSWERS = np.load(Path(__file__).parent / "reference" / "losses.npz")


def case(name, word):
    return torch.from_numpy(ANSWERS[f"{name}/{word}"])


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("name", ["case0", "case1"])
def test_kd_answers_as_the_reference_code_does(name):
    logits = case(name, "student_logits").requires_grad_()
    s = Outputs([], case(name, "student_embedding"), logits)
    t = Outputs([], case(name, "teacher_embedding"), case(name, "teacher_logits"))
    labels = case(name, "labels")
    method = registry.get("kd")(temperature=4.0, alpha=0.9)
    unweighted = method.loss(s, t, Batch(labels, labels, labels))["kd"] / 0.9
    close(unweighted, case(name, "value_kd_T4"))
    close(torch.autograd.grad(unweighted, logits)[0], case(name, "grad_kd_T4"))
