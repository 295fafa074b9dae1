"""Measurement of one pair: every claim, on one teacher and its students of one seed.

M evaluation images · N of them in kernels · D width
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmark import models
from benchmark.experiment import seeds
from benchmark.experiment.run import Run
from benchmark.theory import claims, loss_cost
from benchmark.theory.features import EvaluationSet, NetworkFeatures, extract, untrained_similarity
from benchmark.theory.pairs import Pair
from benchmark.theory.tsne import layouts

KERNEL_IMAGES = 2_000  # the first of the evaluation images; a kernel is a matrix over them
PLANES = 8_192  # random planes that measure hash agreement
MAX_MAPS, MAP_DIMENSIONS = 8, 64  # t-SNE maps of students; principal components that t-SNE starts from, at most
BASE = "l2"  # the variant without a hashing term, with which LSHFM is compared


@dataclass(slots=True)
class Measurement:
    """Measured numbers by claim, and the arrays that figures are drawn from."""

    hashing: list[dict[str, Any]] = field(default_factory=list)
    likeness: list[dict[str, Any]] = field(default_factory=list)
    kernel: list[dict[str, Any]] = field(default_factory=list)
    bound: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def numbers(self) -> dict[str, list[dict[str, Any]]]:
        """Everything but the arrays."""
        claims = ("hashing", "likeness", "kernel", "bound", "verdicts")
        return {name: getattr(self, name) for name in claims}


def measure(pair: Pair, evaluation: EvaluationSet) -> Measurement:
    """Measure every claim on the pair's networks; each network is evaluated once, the teacher first."""
    found, y = Measurement(), evaluation.eval_split.y.cpu().numpy()
    t, directions = extract(pair.teacher, evaluation), {}
    untrained = untrained_similarity(pair.runs[0], evaluation)
    found.arrays["labels_alike"] = evaluation.matrix_split.y.cpu().numpy()
    found.arrays["labels_shown"] = y[evaluation.map_index.numpy()]
    found.arrays |= {"alike_teacher": t.likeness, "alike_untrained": untrained}
    found.arrays["shown_teacher"] = map_features(t, evaluation)
    for number, run in enumerate(pair.runs):
        s = extract(run, evaluation)
        theta_and_ratio = hashing(found, run, s, t)
        if theta_and_ratio:
            directions[run.id] = theta_and_ratio
        before, after = (float(np.linalg.norm(matrix - t.likeness)) for matrix in (untrained, s.likeness))
        found.likeness.append({"id": run.id, "before": before, "after": after})
        found.kernel.append({"id": run.id} | kernels(s, t))
        found.bound += [{"id": run.id} | each for each in bounds(s, t, y)]
        found.arrays[f"alike_{run.id}"] = s.likeness
        if number < MAX_MAPS:
            found.arrays[f"shown_{run.id}"] = map_features(s, evaluation)
    found.verdicts = verdicts(pair.runs, directions)
    mapped = {name.removeprefix("shown_"): f for name, f in found.arrays.items() if name.startswith("shown_")}
    found.arrays |= {f"place_{name}": points for name, points in layouts(mapped).items()}
    found.arrays = {name: compact(value) for name, value in found.arrays.items()}
    return found


# ---- LSHFM
def hashing(
    found: Measurement, run: Run, s: NetworkFeatures, t: NetworkFeatures
) -> tuple[np.ndarray, np.ndarray] | None:
    """Measure direction, length and hash agreement of a run and add them to `found`.

    Returns angles in degrees (M,) and ratios of length (M,); None if the embeddings differ in width.
    """
    width, teacher_width = s.embedding.shape[1], t.embedding.shape[1]
    if width != teacher_width:
        found.hashing.append({"id": run.id, "skipped": f"its embedding is {width} wide, the teacher’s {teacher_width}"})
        return None
    generator = seeds.generator("theory", "planes", width)
    planes = torch.randn(PLANES, width, generator=generator, dtype=torch.float64).numpy()  # (J, D)
    theta, ratio = claims.angles(s.embedding, t.embedding), claims.length_ratios(s.embedding, t.embedding)  # (M,), (M,)
    same, at_median = (claims.hash_agreement(s.embedding, t.embedding, planes, median) for median in (False, True))
    bins = claims.angle_bins(theta, same)
    finite = ratio[np.isfinite(ratio)]
    counted = [abs(b["agreement"] - b["formula"]) for b in bins if b["images"] >= claims.MIN_IMAGES]
    found.hashing.append(
        {
            "id": run.id,
            "angle": theta.mean(),
            "angle_sd": theta.std(ddof=1),
            "ratio": finite.mean(),
            "ratio_sd": finite.std(ddof=1),
            "agreement": same.mean(),
            "formula": (1 - theta / 180).mean(),
            "worst": max(counted, default=None),
            "agreement_median": at_median.mean(),
            "bins": bins,
        }
    )
    return theta, ratio


def verdicts(runs: Sequence[Run], directions: dict[str, tuple[np.ndarray, np.ndarray]]) -> list[dict[str, Any]]:
    """LSHFM's two claims, for each run with a hashing term against the run that differs only in having none.

    With the term the student's direction is closer to the teacher's, and its length may differ more from the teacher's.
    directions: id -> angles (M,) and ratios of length (M,).
    """
    found = []
    for base in (run for run in runs if run.id in directions and run.knobs.get("variant") == BASE):
        rest = base.knobs | {"variant": None}
        others = [run for run in runs if run.id in directions and run.method == base.method and run.id != base.id]
        for run in (run for run in others if run.knobs | {"variant": None} == rest):
            (theta_0, ratio_0), (theta, ratio) = directions[base.id], directions[run.id]
            with np.errstate(divide="ignore", invalid="ignore"):
                log_ratio, log_ratio_0 = np.abs(np.log(ratio)), np.abs(np.log(ratio_0))  # (M,) each
            finite = np.isfinite(log_ratio) & np.isfinite(log_ratio_0)
            found.append(
                {
                    "id": run.id,
                    "base": base.id,
                    "direction": claims.paired_claim(theta - theta_0, -1),  # degrees; the claim: smaller
                    "length": claims.paired_claim(
                        (log_ratio - log_ratio_0)[finite], +1
                    ),  # the claim: |ln ratio| larger
                }
            )
    return found


# ---- KDA
def kernels(s: NetworkFeatures, t: NetworkFeatures) -> dict[str, Any]:
    """Relative errors of the linear kernel, before and after the classifier: raw, at the best scale, centred."""
    found = {}
    for output in ("embedding", "logits"):
        k_s, k_t = (f @ f.T for f in (getattr(features, output)[:KERNEL_IMAGES] for features in (s, t)))  # (N, N) each
        scaled, factor = claims.scaled_error(k_s, k_t)
        centred = claims.relative_error(claims.centred_kernel(k_s), claims.centred_kernel(k_t))
        raw = claims.relative_error(k_s, k_t)
        found[output] = {"raw": raw, "scaled": scaled, "factor": factor, "centred": centred}
    return found


def bounds(s: NetworkFeatures, t: NetworkFeatures, y: np.ndarray) -> list[dict[str, Any]]:
    """The bound at full rank and, if its premise fails there, at the largest rank at which it holds."""
    landmarks = [claims.class_means(features.embedding, y) for features in (s, t)]
    embeddings = [features.embedding[:KERNEL_IMAGES] for features in (s, t)]
    found = [{"which": "full"} | claims.bound(*embeddings, *landmarks)]
    rank = claims.rank_above_one(*landmarks)
    if rank and not found[0]["premise"]:
        found.append({"which": "premise"} | claims.bound(*embeddings, *landmarks, rank))
    return found


# ---- arrays for figures
def map_features(features: NetworkFeatures, evaluation: EvaluationSet) -> np.ndarray:
    """Embeddings of the images of a t-SNE map, (n, D); if wider than MAP_DIMENSIONS, as many principal components."""
    f = features.embedding[evaluation.map_index.numpy()]
    if f.shape[1] <= MAP_DIMENSIONS:
        return f
    f = f - f.mean(0)
    axes = np.linalg.svd(f, full_matrices=False)[2][:MAP_DIMENSIONS]  # (MAP_DIMENSIONS, D)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])  # the sign of an axis is arbitrary: fix it
    return f @ (axes * signs[:, None]).T


def compact(value: np.ndarray) -> np.ndarray:
    """Measured arrays in float16, limited to its range; labels in int16."""
    if value.dtype.kind == "i":
        return value.astype(np.int16)
    return value.clip(-65_504, 65_504).astype(np.float16)


# ---- LP
def costs(pair: Pair, evaluation: EvaluationSet) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Costs of LP and of regressors: counts of every case, milliseconds of the pair's and of the grid's diagonal."""
    size = tuple(evaluation.eval_split.x.shape[1:3])
    student, teacher = (models.shape(name, evaluation.classes, size) for name in (pair.student, pair.teacher.student))
    cases = loss_cost.cases(student, teacher, pair.runs[0].recipe.batch)
    timed = [case for case in cases if case["name"] == loss_cost.OWN or case["widths"] == (case["batch"],) * 2]
    counted = [case | {"counts": loss_cost.count(case)} for case in cases]
    return counted, [case | {"ms": loss_cost.time_losses(case, evaluation.machine.device)} for case in timed]
