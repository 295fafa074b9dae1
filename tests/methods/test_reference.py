"""Losses and their gradients against what the authors' own public code answers (tests/reference/losses.npz).

Unweighted: the method's term divided by its knob.  Hashes, centres and features are given, nothing is prepared.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from methods import registry
from methods.contract import Batch, Outputs, Shape

ANSWERS = np.load(Path(__file__).parents[1] / "reference" / "losses.npz")
CASES = ["case0", "case1"]


class Case:
    """One of the reference's inputs, as networks would show it."""

    def __init__(self, name):
        self.given = {word.split("/")[1]: torch.from_numpy(ANSWERS[word]) for word in ANSWERS if word.startswith(name)}
        self.leaves = {
            word: self.given[f"student_{word}"].clone().requires_grad_() for word in ("logits", "embedding", "map")
        }
        self.s = Outputs([self.leaves["map"]], self.leaves["embedding"], self.leaves["logits"])
        self.t = Outputs([self.given["teacher_map"]], self.given["teacher_embedding"], self.given["teacher_logits"])
        labels = self.given["labels"]
        self.batch = Batch(labels, labels, labels)

    def method(self, name, **knobs):
        """The method on these shapes."""
        return registry.get(name)(Shape.of(self.s), Shape.of(self.t), **knobs)

    def agrees(self, term, word, leaf):
        """Value and gradient equal the reference's to 1e-5 relative."""
        close(term, self.given[f"value_{word}"])
        close(torch.autograd.grad(term, self.leaves[leaf])[0], self.given[f"grad_{word}"])


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.fixture(params=CASES)
def case(request):
    return Case(request.param)


def test_kd_answers_as_the_reference_code_does(case):
    method = case.method("kd", temperature=4.0, alpha=0.9)
    case.agrees(method.loss(case.s, case.t, case.batch)["kd"] / 0.9, "kd_T4", "logits")


def test_sp_answers_as_the_reference_code_does(case):
    term = case.method("sp").loss(case.s, case.t, case.batch)["sp"] / 3000
    case.agrees(term, "sp", "map")


@pytest.mark.parametrize("variant", ["lsh", "lshl2", "lshl2_s"])
def test_lsh_answers_as_the_reference_code_does(case, variant):
    method = case.method("lsh", variant=variant, hashes=len(case.given["hash_bias"]))
    method.weight.copy_(case.given["hash_weight"])
    method.bias.copy_(case.given["hash_bias"])
    case.agrees(method.loss(case.s, case.t, case.batch)["lsh"] / 6, variant, "embedding")


def test_the_mean_squared_error_of_features_answers_as_the_reference_code_does(case):
    term = case.method("lsh", variant="l2").loss(case.s, case.t, case.batch)["lsh"] / 6
    case.agrees(term, "hint_mse", "embedding")


def test_the_hint_is_that_mean_squared_error_behind_its_regressor(case):
    class Shown(torch.nn.Module):
        def forward(self, x):
            return x[:, :, None, None]

    method = case.method("hint", guided=0, hint=0)
    method.regressor = Shown()
    embeddings = (case.leaves["embedding"], case.given["teacher_embedding"][:, :, None, None])
    s = Outputs([embeddings[0]], case.s.embedding, case.s.logits)
    t = Outputs([embeddings[1]], case.t.embedding, case.t.logits)
    case.agrees(method.loss(s, t, case.batch)["hint"] / 100, "hint_mse", "embedding")


def test_kda_answers_as_the_reference_code_does(case):
    method = case.method("kda")
    method.centre_s.copy_(case.given["student_centres"])
    method.centre_t.copy_(case.given["teacher_centres"])
    case.agrees(method.loss(case.s, case.t, case.batch)["kda"] / 0.04, "kda", "embedding")
