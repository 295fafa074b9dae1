"""Losses and their gradients against the values of the authors' public code (tests/reference/losses.npz).

Terms are unweighted: a method's term is divided by its knob.  Hashes, centres and features are inputs of the reference.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from methods import registry
from methods.contract import Batch, Outputs, Shape

REFERENCE = np.load(Path(__file__).parents[1] / "reference" / "losses.npz")
CASES = ["case0", "case1"]


class Case:
    """One input of the reference as the outputs of networks."""

    def __init__(self, name):
        self.arrays = {key.split("/")[1]: torch.from_numpy(REFERENCE[key]) for key in REFERENCE if key.startswith(name)}
        self.inputs = {
            key: self.arrays[f"student_{key}"].clone().requires_grad_() for key in ("logits", "embedding", "map")
        }
        self.s = Outputs([self.inputs["map"]], self.inputs["embedding"], self.inputs["logits"])
        self.t = Outputs([self.arrays["teacher_map"]], self.arrays["teacher_embedding"], self.arrays["teacher_logits"])
        labels = self.arrays["labels"]
        self.batch = Batch(labels, labels, labels)

    def method(self, name, **knobs):
        """The method for these shapes."""
        return registry.get(name)(Shape.of(self.s), Shape.of(self.t), **knobs)

    def assert_equal(self, term, key, input_name):
        """Value and gradient equal those of the reference to 1e-5 relative."""
        assert_close(term, self.arrays[f"value_{key}"])
        assert_close(torch.autograd.grad(term, self.inputs[input_name])[0], self.arrays[f"grad_{key}"])


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.fixture(params=CASES)
def case(request):
    return Case(request.param)


def test_kd_equals_the_reference_code(case):
    method = case.method("kd", temperature=4.0, alpha=0.9)
    case.assert_equal(method.loss(case.s, case.t, case.batch)["kd"] / 0.9, "kd_T4", "logits")


def test_sp_equals_the_reference_code(case):
    term = case.method("sp").loss(case.s, case.t, case.batch)["sp"] / 3000
    case.assert_equal(term, "sp", "map")


@pytest.mark.parametrize("variant", ["lsh", "lshl2", "lshl2_s"])
def test_lsh_equals_the_reference_code(case, variant):
    method = case.method("lsh", variant=variant, hashes=len(case.arrays["hash_bias"]))
    method.weight.copy_(case.arrays["hash_weight"])
    method.bias.copy_(case.arrays["hash_bias"])
    case.assert_equal(method.loss(case.s, case.t, case.batch)["lsh"] / 6, variant, "embedding")


def test_the_mean_squared_error_of_features_equals_the_reference_code(case):
    term = case.method("lsh", variant="l2").loss(case.s, case.t, case.batch)["lsh"] / 6
    case.assert_equal(term, "hint_mse", "embedding")


def test_the_hint_is_the_mean_squared_error_after_its_regressor(case):
    class AsMap(torch.nn.Module):
        def forward(self, x):
            return x[:, :, None, None]

    method = case.method("hint", guided=0, hint=0)
    method.regressor = AsMap()
    embeddings = (case.inputs["embedding"], case.arrays["teacher_embedding"][:, :, None, None])
    s = Outputs([embeddings[0]], case.s.embedding, case.s.logits)
    t = Outputs([embeddings[1]], case.t.embedding, case.t.logits)
    case.assert_equal(method.loss(s, t, case.batch)["hint"] / 100, "hint_mse", "embedding")


def test_kda_equals_the_reference_code(case):
    method = case.method("kda")
    method.centre_s.copy_(case.arrays["student_centres"])
    method.centre_t.copy_(case.arrays["teacher_centres"])
    case.assert_equal(method.loss(case.s, case.t, case.batch)["kda"] / 0.04, "kda", "embedding")
