"""The measurement of one pair: every claim, on one teacher and the students of one seed.

M judged images · N of them in kernels · D width
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

KERNEL, PLANES, DRAWN, WIDE = 2_000, 8_192, 8, 64  # images, hashes, students in a map of points, its dimensions
BASE = "l2"  # the variant without a hashing term, which LSHFM compares itself with


@dataclass(slots=True)
class Study:
    """What was measured so far: numbers by claim, and the arrays that pictures are drawn from."""

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


def measure(pair: Pair, where: EvaluationSet) -> Study:
    """Every claim on the pair's networks; each is looked at once, the teacher first."""
    found, y = Study(), where.eval_split.y.cpu().numpy()
    t, bases = extract(pair.teacher, where), {}
    first = untrained_similarity(pair.runs[0], where)
    found.arrays |= {"labels_alike": where.few.y.cpu().numpy(), "labels_shown": y[where.shown.numpy()]}
    found.arrays |= {"alike_teacher": t.likeness, "alike_untrained": first, "shown_teacher": points(t, where)}
    for place, run in enumerate(pair.runs):
        s = extract(run, where)
        theta_and_ratio = hashing(found, run, s, t)
        if theta_and_ratio:
            bases[run.id] = theta_and_ratio
        before, after = (float(np.linalg.norm(part - t.likeness)) for part in (first, s.likeness))
        found.likeness.append({"id": run.id, "before": before, "after": after})
        found.kernel.append({"id": run.id} | kernels(s, t))
        found.bound += [{"id": run.id} | each for each in bounds(s, t, y)]
        found.arrays[f"alike_{run.id}"] = s.likeness
        if place < DRAWN:
            found.arrays[f"shown_{run.id}"] = points(s, where)
    found.verdicts = verdicts(pair.runs, bases)
    shown = {name.removeprefix("shown_"): f for name, f in found.arrays.items() if name.startswith("shown_")}
    found.arrays |= {f"place_{name}": place for name, place in layouts(shown).items()}
    found.arrays = {name: compact(value) for name, value in found.arrays.items()}
    return found


# ---- LSHFM
def hashing(found: Study, run: Run, s: NetworkFeatures, t: NetworkFeatures) -> tuple[np.ndarray, np.ndarray] | None:
    """Adds direction, length and hash agreement of a run; returns angles (M,) and ratios of length (M,)."""
    own, other = s.embedding.shape[1], t.embedding.shape[1]
    if own != other:
        found.hashing.append({"id": run.id, "skipped": f"its embedding is {own} wide, the teacher’s {other}"})
        return None
    stream = seeds.generator("theory", "planes", own)
    planes = torch.randn(PLANES, own, generator=stream, dtype=torch.float64).numpy()  # (J, D)
    theta, ratio = claims.angles(s.embedding, t.embedding), claims.ratios(s.embedding, t.embedding)  # (M,), (M,)
    same, moved = (claims.agreement(s.embedding, t.embedding, planes, median) for median in (False, True))  # (M,)
    bins = claims.by_angle(theta, same)
    known = ratio[np.isfinite(ratio)]
    found.hashing.append(
        {
            "id": run.id,
            "angle": theta.mean(),
            "angle_sd": theta.std(ddof=1),
            "ratio": known.mean(),
            "ratio_sd": known.std(ddof=1),
            "agreement": same.mean(),
            "formula": (1 - theta / 180).mean(),
            "worst": max((abs(b["agreement"] - b["formula"]) for b in bins if b["images"] >= claims.FEW), default=None),
            "agreement_median": moved.mean(),
            "bins": bins,
        }
    )
    return theta, ratio


def verdicts(runs: Sequence[Run], known: dict[str, tuple[np.ndarray, np.ndarray]]) -> list[dict[str, Any]]:
    """Each run with a hashing term beside the run that differs by its lack alone: is direction better, length freer?"""
    found = []
    for base in (run for run in runs if run.id in known and run.knobs.get("variant") == BASE):
        rest = base.knobs | {"variant": None}
        rivals = [run for run in runs if run.id in known and run.method == base.method and run.id != base.id]
        for run in (run for run in rivals if run.knobs | {"variant": None} == rest):
            (theta_0, ratio_0), (theta, ratio) = known[base.id], known[run.id]
            with np.errstate(divide="ignore", invalid="ignore"):
                off, off_0 = np.abs(np.log(ratio)), np.abs(np.log(ratio_0))  # (M,) each
            sound = np.isfinite(off) & np.isfinite(off_0)
            found.append(
                {
                    "id": run.id,
                    "base": base.id,
                    "direction": claims.paired_claim(theta - theta_0, -1),  # degrees; smaller is claimed
                    "length": claims.paired_claim((off - off_0)[sound], +1),  # |ln ratio|; larger is claimed
                }
            )
    return found


# ---- KDA
def kernels(s: NetworkFeatures, t: NetworkFeatures) -> dict[str, Any]:
    """Relative errors of the linear kernel, before and after the classifier: raw, best scaled, centred."""
    found = {}
    for place in ("embedding", "logits"):
        k_s, k_t = (f @ f.T for f in (getattr(o, place)[:KERNEL] for o in (s, t)))  # (N, N) each
        scaled, factor = claims.scaled_gap(k_s, k_t)
        apart = claims.gap(claims.centred(k_s), claims.centred(k_t))
        found[place] = {"raw": claims.gap(k_s, k_t), "scaled": scaled, "factor": factor, "centred": apart}
    return found


def bounds(s: NetworkFeatures, t: NetworkFeatures, y: np.ndarray) -> list[dict[str, Any]]:
    """The bound at full rank and, where that has eigenvalues below 1, at the largest rank without them."""
    marks = [claims.class_means(o.embedding, y) for o in (s, t)]
    few = [o.embedding[:KERNEL] for o in (s, t)]
    found = [{"which": "full"} | claims.bound(*few, *marks)]
    rank = claims.above_one(*marks)
    if rank and not found[0]["premise"]:
        found.append({"which": "premise"} | claims.bound(*few, *marks, rank))
    return found


# ---- pictures
def points(sight: NetworkFeatures, where: EvaluationSet) -> np.ndarray:
    """Embeddings of the shown images, (n, D); wider ones as their WIDE principal components."""
    f = sight.embedding[where.shown.numpy()]
    if f.shape[1] <= WIDE:
        return f
    f = f - f.mean(0)
    axes = np.linalg.svd(f, full_matrices=False)[2][:WIDE]  # (WIDE, D)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])  # (WIDE,)  an axis has no sign of its own
    return f @ (axes * signs[:, None]).T


def compact(value: np.ndarray) -> np.ndarray:
    """Half precision for what is measured, 16 bits for labels."""
    if value.dtype.kind == "i":
        return value.astype(np.int16)
    return value.clip(-65_504, 65_504).astype(np.float16)


# ---- LP
def costs(pair: Pair, where: EvaluationSet) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """LP beside the regressors: counts of every case; milliseconds of the pair's own and of the grid's diagonal."""
    size = tuple(where.eval_split.x.shape[1:3])
    own, other = (models.shape(name, where.classes, size) for name in (pair.student, pair.teacher.student))
    known = loss_cost.cases(own, other, pair.runs[0].recipe.batch)
    timed = [case for case in known if case["name"] == loss_cost.OWN or case["widths"] == (case["batch"],) * 2]
    counted = [case | {"counts": loss_cost.count(case)} for case in known]
    return counted, [case | {"ms": loss_cost.clock(case, where.here.device)} for case in timed]
