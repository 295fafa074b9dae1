"""What the papers claim about features, as pure functions of arrays in double precision.

    hashing    P(same side of a random plane) = 1 - θ / π            behind LSHFM, arXiv:2011.01424, at zero bias
    kernels    ‖K_S - K_T‖_F / ‖K_T‖_F,  K = F Fᵀ                    KDA, arXiv:2009.14416, Fig. 3
    landmarks  K ≈ C W⁺ Cᵀ,  C = F Lᵀ,  W = L Lᵀ                     Nyström, L: the landmarks
    bound      ‖K_S - K_T‖_F ≤ 2ε + 2c² ‖C_S W_S^½ - C_T W_T^½‖_F    as second-hand sources print KDA's corollary 1
               ‖K_S - K_T‖_F ≤ 2ε + 2c ‖C_S W_S^-½ - C_T W_T^-½‖_F   as it follows from K ≈ (C W^-½)(C W^-½)ᵀ

N images · D, D_S, D_T widths · J planes · L landmarks · r rank
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray as Array

CHUNK = 256  # planes that are held at once
STEP = 10  # degrees in a bin of angles
FEW = 10  # images without which a bin says nothing


# ---- direction and length
def angles(f_s: Array, f_t: Array) -> Array:
    """Degrees between the rows of two (N, D), (N,); a row of zeros stands at 90."""
    lengths = np.linalg.norm(f_s, axis=1) * np.linalg.norm(f_t, axis=1)  # (N,)
    cosine = (f_s * f_t).sum(1) / np.maximum(lengths, np.finfo(float).tiny)  # (N,)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def ratios(f_s: Array, f_t: Array) -> Array:
    """Length of each row of f_s (N, D) over that of f_t's, (N,); a teacher's row of zeros gives infinity."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.linalg.norm(f_s, axis=1) / np.linalg.norm(f_t, axis=1)


# ---- hashing
def agreement(f_s: Array, f_t: Array, planes: Array, median: bool = False) -> Array:
    """For each image the share of planes (J, D) that have both its features on one side, (N,).

    median: every plane is moved to the median of f_t, as LSHFM does; else all pass through the origin.
    """
    same = np.zeros(len(f_t))  # (N,)
    for start in range(0, len(planes), CHUNK):
        part = planes[start : start + CHUNK].T  # (D, chunk)
        h_s, h_t = f_s @ part, f_t @ part  # (N, chunk) each
        middle = np.median(h_t, axis=0) if median else 0.0  # (chunk,)
        same += ((h_s > middle) == (h_t > middle)).sum(1)
    return same / len(planes)


def by_angle(theta: Array, same: Array) -> list[dict[str, float]]:
    """Bins of STEP degrees: images, mean angle, measured agreement and 1 - θ/π; theta in degrees (N,), same (N,)."""
    place, found = (theta // STEP).astype(int), []
    for bin_ in np.unique(place):
        own = place == bin_
        found.append(
            {
                "from": int(bin_) * STEP,
                "images": int(own.sum()),
                "angle": theta[own].mean(),
                "agreement": same[own].mean(),
                "formula": (1 - theta[own] / 180).mean(),
            }
        )
    return found


def paired_claim(difference: Array, sign: int) -> dict[str, Any]:
    """Whether the mean of paired differences (N,) has the claimed sign, beyond two standard errors over images."""
    mean, error = difference.mean(), difference.std(ddof=1) / np.sqrt(len(difference))
    verdict = "cannot be told" if abs(mean) <= 2 * error else "holds" if mean * sign > 0 else "does not hold"
    return {"difference": mean, "error": error, "verdict": verdict}


# ---- kernels
def gap(k_s: Array, k_t: Array) -> float:
    """‖K_S - K_T‖_F / ‖K_T‖_F of two (N, N)."""
    return np.linalg.norm(k_s - k_t) / np.linalg.norm(k_t)


def centred(k: Array) -> Array:
    """The linear kernel (N, N) of the same features with their mean taken away."""
    return k - k.mean(0) - k.mean(1)[:, None] + k.mean()


def scaled_gap(k_s: Array, k_t: Array) -> tuple[float, float]:
    """min over c of ‖c K_S - K_T‖_F / ‖K_T‖_F, and that c: what is left when the scale of features is set aside."""
    c = float((k_s * k_t).sum() / max((k_s * k_s).sum(), np.finfo(float).tiny))
    return gap(c * k_s, k_t), c


# ---- landmarks
def class_means(f: Array, y: Array) -> Array:
    """The mean feature of each class that is there, in order of label: f (N, D), y (N,) -> (L, D)."""
    return np.stack([f[y == label].mean(0) for label in np.unique(y)])


def spectrum(w: Array) -> tuple[Array, Array]:
    """Eigenvalues above rounding, largest first (r,), and their vectors (L, r), of a positive (L, L)."""
    values, vectors = np.linalg.eigh(w)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > max(values[0], 0) * len(w) * np.finfo(float).eps
    return values[kept], vectors[:, kept]


def power(w: Array, exponent: float, rank: int | None = None) -> Array:
    """W^exponent over the `rank` largest eigenvalues, the others' share left out: a pseudo-inverse's root at -½."""
    values, vectors = spectrum(w)
    values, vectors = values[:rank], vectors[:, :rank]
    return (vectors * values**exponent) @ vectors.T  # (L, L)


def nystrom(c: Array, w: Array, rank: int | None = None) -> Array:
    """C W⁺ Cᵀ, (N, N), of C (N, L) and W (L, L)."""
    half = c @ power(w, -0.5, rank)  # (N, L)
    return half @ half.T


def above_one(*landmarks: Array) -> int:
    """The largest rank at which every kept eigenvalue of each net's W exceeds 1; landmarks (L, D)."""
    return min(int((spectrum(marks @ marks.T)[0] > 1).sum()) for marks in landmarks)


def bound(f_s: Array, f_t: Array, marks_s: Array, marks_t: Array, rank: int | None = None) -> dict[str, Any]:
    """Both readings of the bound on one pair of features, ε measured and not estimated.

    f_s (N, D_S), f_t (N, D_T), landmarks (L, D_S), (L, D_T).  c: the larger ‖C‖_F, so that this premise holds; ε:
    the larger of both nets' ‖K - C W⁺ Cᵀ‖_F.  premise: all kept eigenvalues of both W exceed 1.  trivial: ‖K_S‖_F +
    ‖K_T‖_F, which bounds the left side without any landmark: a larger bound says nothing.
    """
    kernels, roots, inverse, eps, sizes, kept = [], [], [], [], [], []
    for f, marks in ((f_s, marks_s), (f_t, marks_t)):
        k, c, w = f @ f.T, f @ marks.T, marks @ marks.T  # (N, N), (N, L), (L, L)
        kernels.append(k)
        roots.append(c @ power(w, 0.5, rank))  # (N, L)
        inverse.append(c @ power(w, -0.5, rank))  # (N, L)
        eps.append(float(np.linalg.norm(k - nystrom(c, w, rank))))
        sizes.append(float(np.linalg.norm(c)))
        kept.append(spectrum(w)[0][:rank])
    left, c = float(np.linalg.norm(kernels[0] - kernels[1])), max(sizes)
    printed = 2 * max(eps) + 2 * c**2 * float(np.linalg.norm(roots[0] - roots[1]))
    corrected = 2 * max(eps) + 2 * c * float(np.linalg.norm(inverse[0] - inverse[1]))
    return {
        "rank": [len(values) for values in kept],
        "smallest": [float(values[-1]) if len(values) else 0.0 for values in kept],
        "premise": all(len(values) and values[-1] > 1 for values in kept),
        "c": c,
        "eps": eps,
        "left": left,
        "printed": printed,
        "corrected": corrected,
        "trivial": float(sum(np.linalg.norm(k) for k in kernels)),
        "printed_holds": left <= printed,
        "corrected_holds": left <= corrected,
    }
