"""Further baselines against the answers of public code, value and gradient (tests/reference/baselines.npz).

KD_BASELINES may name another file of the same kind; every case in it is tested.  Losses in it are unweighted.  Where
the public code's answer is not finite, ours has to be; where its gradient is of order 1e9, ours has to be smaller.
"""

import os
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from methods import registry
from methods.contract import Batch, Outputs, Shape

FILE = os.environ.get("KD_BASELINES") or Path(__file__).parents[1] / "reference" / "baselines.npz"
VALUE, GRADIENT = 1e-4, 1e-3  # relative tolerances
HUGE = 1e8  # norm of a gradient of the public code, above which it follows from a division by almost 0
OWN_NAMES = {  # of parameters: pattern of the reference's name -> ours
    "vid": {r"regressor(\d)\.regressor\.": r"regressors.\1.", r"regressor(\d)\.log_scale": r"log_scales.\1"},
    "ft": {
        r"paraphraser\.(\w+)\.0": r"\1.0",
        r"paraphraser\.(\w+)\.3": r"\1.2",
        r"paraphraser\.(\w+)\.6": r"\1.4",
        r"translator\.encoder": "translator",
    },
    "ab": {r"connector\.(\d)\.conv": r"connectors.\1.0", r"connector\.(\d)\.bn": r"connectors.\1.1"},
    "ofd": {r"connector\.": "connectors."},
    "reviewkd": {
        r"abf(\d)\.conv1": r"levels.\1.enter",
        r"abf(\d)\.conv2": r"levels.\1.leave",
        r"abf(\d)\.att_conv\.0": r"levels.\1.gate",
    },
}


@cache
def reference():
    """Method/case -> name -> array."""
    found = {}
    with np.load(FILE) as file:
        for key in file:
            method, case, name = key.split("/", 2)
            found.setdefault(f"{method}/{case}", {})[name] = torch.from_numpy(file[key])
    return found


def cases(*methods):
    """A parametrisation with every case of some methods."""
    return pytest.mark.parametrize("case", [key for key in reference() if key.split("/")[0] in methods])


class Case:
    """One case of the file: outputs of networks, and the answers to compare with."""

    def __init__(self, key):
        self.name, self.arrays = key.split("/")[0], reference()[key]
        self.inputs = {}  # what gradients are with respect to
        self.s, self.t = self.outputs("student"), self.outputs("teacher")
        count = len(self.s.logits)
        labels = self.arrays.get("labels", torch.zeros(count, dtype=torch.int64))
        self.batch = Batch(labels, labels, torch.arange(count))

    def outputs(self, who):
        """The outputs of a network; a stem is put before the maps, which are also those before the ReLU."""
        keys = [f"{who}_map", *(f"{who}_map{i}" for i in range(9))]
        maps = [self.leaf(key) for key in keys if key in self.arrays]
        known = {key: self.leaf(f"{who}_{key}") for key in ("embedding", "logits") if f"{who}_{key}" in self.arrays}
        count = len(next(iter([*maps, *known.values()]), torch.zeros(1)))
        filler = torch.zeros(count, 2)
        stem = [] if self.name == "fsp" else [torch.zeros(count, 1, 1, 1)]
        return Outputs([*stem, *maps], known.get("embedding", filler), known.get("logits", filler), maps)

    def leaf(self, key):
        """An input; the student's get a gradient."""
        tensor = self.arrays[key].clone()
        if key.startswith("student"):
            self.inputs[key] = tensor.requires_grad_()
        return tensor

    def method(self, **knobs):
        """The method for these shapes, its parameters those of the case."""
        method = registry.get(self.name)(Shape.of(self.s), Shape.of(self.t), **knobs)
        own = dict(method.named_parameters())
        for key, array in self.arrays.items():
            name = key
            for pattern, ours in OWN_NAMES.get(self.name, {}).items():
                name = re.sub(f"^{pattern}", ours, name)
            if name in own:
                assert own[name].shape == array.shape
                own[name].data.copy_(array)
                self.inputs[key] = own[name]
        assert {id(p) for p in own.values()} <= {id(p) for p in self.inputs.values()}, "a parameter has no value"
        return method

    def terms(self, loss):
        """The terms of a loss without cross-entropy."""
        return {name: value for name, value in loss(self.s, self.t, self.batch).items() if name != "ce"}

    def compare(self, value, part=""):
        """Compares a value and its gradients with the answers, of the whole or of a part."""
        assert_close(value, self.arrays[f"value_{part}" if part else "value"], VALUE)
        prefix = f"grad_{part}_" if part else "grad_"
        answers = {key: self.arrays[prefix + key] for key in self.inputs if prefix + key in self.arrays}
        leaves = [self.inputs[key] for key in answers]
        found = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
        for key, gradient in zip(answers, found, strict=True):
            assert_close(torch.zeros_like(self.inputs[key]) if gradient is None else gradient, answers[key], GRADIENT)


def assert_close(found, expected, tolerance):
    """Finite, and equal where the answer is finite, relative to its norm."""
    assert found.isfinite().all()
    there = expected.isfinite()
    if not there.any():
        return
    found, expected = found[there].double(), expected[there].double()
    if expected.norm() > HUGE:
        assert found.norm() < expected.norm()
        return
    assert (found - expected).norm() <= tolerance * expected.norm() + 1e-9


def number(case, key, default):
    """A constant that is stored with a case."""
    return case.arrays[key].item() if key in case.arrays else default


@cases("at", "nst")
def test_losses_of_single_stages_and_their_sum_equal_the_public_code(case):
    case = Case(case)
    method = case.method(beta=1.0)
    (whole,) = case.terms(method.loss).values()
    case.compare(whole)
    for i, (f_s, f_t) in enumerate(zip(case.s.maps[1:], case.t.maps[1:], strict=True)):
        s, t = (Outputs([f, f], o.embedding, o.logits) for f, o in ((f_s, case.s), (f_t, case.t)))
        assert_close(method.loss(s, t, case.batch)[case.name], case.arrays[f"value_stage{i}"], VALUE)


@cases("pkt", "cc")
def test_losses_of_embeddings_equal_the_public_code(case):
    case = Case(case)
    width = {"width": len(case.arrays["embed_student.bias"])} if case.name == "cc" else {}
    (value,) = case.terms(case.method(beta=1.0, **width).loss).values()
    case.compare(value)


@cases("rkd")
def test_relational_distances_and_angles_equal_the_public_code(case):
    case = Case(case)
    method = case.method(distance=number(case, "distance_weight", 25.0), angle=number(case, "angle_weight", 50.0))
    terms = case.terms(method.loss)
    case.compare(terms["distance"] + terms["angle"])
    for part, weight in (("distance", method.distance), ("angle", method.angle)):
        if f"value_{part}" in case.arrays:
            case.compare(terms[part] / weight, part)


@cases("dkd")
def test_target_and_other_classes_equal_the_public_code(case):
    case = Case(case)
    method = case.method(**{key: number(case, key, 1.0) for key in ("alpha", "beta", "temperature")})
    terms = case.terms(method.loss)
    case.compare(terms["tckd"] + terms["nckd"])
    for part, value in zip(("tckd", "nckd"), method.parts(case.s.logits, case.t.logits, case.batch.y), strict=True):
        if f"value_{part}" in case.arrays:
            case.compare(value, part)


@cases("dist")
def test_correlations_of_rows_and_columns_equal_the_public_code(case):
    case = Case(case)
    tau, beta, gamma = (
        number(case, key, default) for key, default in (("temperature", 4.0), ("beta", 1.0), ("gamma", 1.0))
    )
    terms = case.terms(case.method(weight=1.0, beta=beta, gamma=gamma, tau=tau).loss)
    case.compare(terms["inter"] + terms["intra"])
    for part, weight in (("inter", beta), ("intra", gamma)):
        if f"value_{part}" in case.arrays:
            case.compare(terms[part] / weight, part)


@cases("vid")
def test_the_likelihood_of_the_teachers_maps_equals_the_public_code(case):
    case = Case(case)
    (value,) = case.terms(case.method(beta=1.0).loss).values()
    case.compare(value)


@cases("fsp")
def test_flows_between_neighbouring_maps_equal_the_public_code(case):
    case = Case(case)
    method = case.method()
    (value,) = case.terms(method.flow_loss).values()
    case.compare(value)
    for i in range(len(case.s.maps) - 1):
        s, t = (Outputs(o.maps[i : i + 2], o.embedding, o.logits) for o in (case.s, case.t))
        assert_close(method.flow_loss(s, t, case.batch)["fsp"], case.arrays[f"value_stage{i}"], VALUE)


@cases("ft")
def test_factors_of_both_forms_and_the_paraphraser_equal_the_public_code(case):
    case = Case(case)
    k = len(case.arrays["paraphraser.encoder.6.bias"]) / case.arrays["teacher_map"].shape[1]
    method = case.method(beta=1.0, k=k)
    case.compare(case.terms(method.loss)["ft"])
    case.compare(case.terms(method.paraphrase_loss)["paraphrase"], "paraphraser")
    assert_close(method.translator(case.s.maps[-1]), case.arrays["factor_student"], VALUE)
    assert_close(method.encoder(case.t.maps[-1]), case.arrays["factor_teacher"], VALUE)
    if "value_authors" in case.arrays:
        case.compare(case.terms(case.method(beta=1.0, k=k, form="factor").loss)["ft"], "authors")


@cases("crd")
def test_contrasts_memories_and_constants_of_several_steps_equal_the_public_code(case):
    case = Case(case)
    steps = sum(key.startswith("index_step") for key in case.arrays)
    case.s, case.t = (
        Outputs([], case.arrays[f"{who}_embedding_step0"], torch.zeros(1, 2)) for who in ("student", "teacher")
    )
    knobs = {key: number(case, key, default) for key, default in (("temperature", 0.07), ("momentum", 0.5))}
    method = case.method(beta=1.0, width=case.arrays["memory_student"].shape[1], **knobs)
    method.remember(torch.arange(len(case.arrays["memory_student"])))
    method.memory_s.copy_(case.arrays["memory_student"]), method.memory_t.copy_(case.arrays["memory_teacher"])
    for step in range(steps):
        index = case.arrays[f"index_step{step}"]
        method.negatives = lambda batch, step=step: case.arrays[f"negative_index_step{step}"]
        case.inputs["student_embedding"] = case.arrays[f"student_embedding_step{step}"].clone().requires_grad_()
        s, t = (
            Outputs([], embedding, torch.zeros(len(index), len(method.labels)))
            for embedding in (case.inputs["student_embedding"], case.arrays[f"teacher_embedding_step{step}"])
        )
        batch = Batch(index, index, index)
        value = method.loss(s, t, batch)["crd"]
        assert_close(value, case.arrays[f"value_step{step}"], VALUE)
        answers = {key: case.arrays[f"grad_step{step}_{key}"] for key in case.inputs}
        for answer, found in zip(answers.values(), torch.autograd.grad(value, list(case.inputs.values())), strict=True):
            assert_close(found, answer, GRADIENT)
        with torch.no_grad():
            method.observe(s, t, batch)
        for who, z in zip(("student", "teacher"), method.z, strict=True):
            assert_close(z, case.arrays[f"z_{who}_step{step}"], VALUE)
            memory = getattr(method, f"memory_{who[0]}")
            assert_close(memory, case.arrays[f"memory_{who}_after_step{step}"], VALUE)


@cases("ab")
def test_activation_boundaries_equal_the_public_code(case):
    case = Case(case)
    method = case.method(margin=number(case, "margin", 1.0))
    (value,) = case.terms(method.boundary_loss).values()
    case.compare(value)


@cases("ofd")
def test_margins_and_overhauled_features_equal_the_public_code(case):
    case = Case(case)
    method = case.method(beta=1.0)
    teacher = torch.nn.Module()
    teacher.last_norms = []
    for i in range(len(case.t.preactivations)):
        norm = torch.nn.BatchNorm2d(len(case.arrays[f"teacher_bn_weight{i}"]))
        norm.weight.data.copy_(case.arrays[f"teacher_bn_weight{i}"])
        norm.bias.data.copy_(case.arrays[f"teacher_bn_bias{i}"])
        teacher.last_norms.append(norm)
    method.prepare(None, teacher, None)
    for i in range(len(case.t.preactivations)):
        assert_close(getattr(method, f"margin_{i}"), case.arrays[f"margin{i}"], VALUE)
    (value,) = case.terms(method.loss).values()
    case.compare(value)


@cases("reviewkd")
def test_fused_maps_and_their_distances_equal_the_public_code(case):
    case = Case(case)
    method = case.method(beta=1.0)
    (value,) = case.terms(method.loss).values()
    case.compare(value)
    maps = [case.s.embedding[:, :, None, None], *reversed(case.s.maps[1:])]
    targets = [case.t.embedding[:, :, None, None], *reversed(case.t.preactivations)]
    for level, fused in enumerate(reversed(method.review(maps, [f.shape[2:] for f in targets]))):
        if f"fused_level{level}" in case.arrays:
            assert_close(fused, case.arrays[f"fused_level{level}"], VALUE)
