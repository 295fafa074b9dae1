"""The papers' claims about features, as pure functions of arrays in double precision.

    hashing    P(same side of a random plane) = 1 - θ / π            behind LSHFM, arXiv:2011.01424, at zero bias
    kernels    ‖K_S - K_T‖_F / ‖K_T‖_F,  K = F Fᵀ                    KDA, arXiv:2009.14416, Fig. 3
    landmarks  K ≈ C W⁺ Cᵀ,  C = F Lᵀ,  W = L Lᵀ                     Nyström, L: the landmarks
    bound      ‖K_S - K_T‖_F ≤ 2ε + 2c² ‖C_S W_S^½ - C_T W_T^½‖_F    KDA's corollary 1, as secondary sources print it
               ‖K_S - K_T‖_F ≤ 2ε + 2c ‖C_S W_S^-½ - C_T W_T^-½‖_F   corrected: it follows from K ≈ (C W^-½)(C W^-½)ᵀ

N images · D, D_S, D_T widths · J planes · L landmarks · r rank
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray as Array

CHUNK = 256  # planes that are processed at once, to limit memory
BIN_WIDTH = 10  # degrees in a bin of angles
MIN_IMAGES = 10  # in a bin for it to count in the largest deviation


# ---- direction and length
def angles(f_s: Array, f_t: Array) -> Array:
    """Angles in degrees between the rows of f_s and f_t, (N, D) each -> (N,); 90 for a row of zeros."""
    lengths = np.linalg.norm(f_s, axis=1) * np.linalg.norm(f_t, axis=1)  # (N,)
    cosine = (f_s * f_t).sum(1) / np.maximum(lengths, np.finfo(float).tiny)  # (N,)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def length_ratios(f_s: Array, f_t: Array) -> Array:
    """Length of each row of f_s divided by that of f_t, (N, D) each -> (N,); infinity if the row of f_t is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.linalg.norm(f_s, axis=1) / np.linalg.norm(f_t, axis=1)


# ---- hashing
def hash_agreement(f_s: Array, f_t: Array, planes: Array, median: bool = False) -> Array:
    """For each image the share of planes (J, D) that have both its features on the same side, (N,).

    median: each plane is shifted to the median of f_t along its normal, as LSHFM does; otherwise it passes through the
    origin.
    """
    same = np.zeros(len(f_t))  # (N,)
    for start in range(0, len(planes), CHUNK):
        part = planes[start : start + CHUNK].T  # (D, chunk)
        h_s, h_t = f_s @ part, f_t @ part  # (N, chunk) each
        threshold = np.median(h_t, axis=0) if median else 0.0  # (chunk,)
        same += ((h_s > threshold) == (h_t > threshold)).sum(1)
    return same / len(planes)


def angle_bins(theta: Array, same: Array) -> list[dict[str, float]]:
    """Bins of BIN_WIDTH degrees: number of images, mean angle, mean measured agreement, mean 1 - θ/π.

    theta: angles in degrees (N,); same: hash agreement (N,).  Empty bins are left out.
    """
    index, bins = (theta // BIN_WIDTH).astype(int), []
    for bin_ in np.unique(index):
        inside = index == bin_
        bins.append(
            {
                "from": int(bin_) * BIN_WIDTH,
                "images": int(inside.sum()),
                "angle": theta[inside].mean(),
                "agreement": same[inside].mean(),
                "formula": (1 - theta[inside] / 180).mean(),
            }
        )
    return bins


def paired_claim(difference: Array, sign: int) -> dict[str, Any]:
    """Whether the mean of paired differences (N,) has the claimed sign (-1 or 1) by more than two standard errors."""
    mean, error = difference.mean(), difference.std(ddof=1) / np.sqrt(len(difference))
    verdict = "cannot be told" if abs(mean) <= 2 * error else "holds" if mean * sign > 0 else "does not hold"
    return {"difference": mean, "error": error, "verdict": verdict}


# ---- kernels
def relative_error(k_s: Array, k_t: Array) -> float:
    """‖K_S - K_T‖_F / ‖K_T‖_F of two kernels (N, N)."""
    return np.linalg.norm(k_s - k_t) / np.linalg.norm(k_t)


def centred_kernel(k: Array) -> Array:
    """The linear kernel (N, N) of the same features after their mean is subtracted."""
    return k - k.mean(0) - k.mean(1)[:, None] + k.mean()


def scaled_error(k_s: Array, k_t: Array) -> tuple[float, float]:
    """min over c of ‖c K_S - K_T‖_F / ‖K_T‖_F, and that c: the error regardless of the features' scale."""
    c = float((k_s * k_t).sum() / max((k_s * k_s).sum(), np.finfo(float).tiny))
    return relative_error(c * k_s, k_t), c


# ---- landmarks
def class_means(f: Array, y: Array) -> Array:
    """The mean feature of each class that occurs in y, in order of label: f (N, D), y (N,) -> (L, D)."""
    return np.stack([f[y == label].mean(0) for label in np.unique(y)])


def spectrum(w: Array) -> tuple[Array, Array]:
    """Eigenvalues of W that exceed rounding error, in descending order (r,), and their eigenvectors (L, r).

    w: positive semi-definite, (L, L).
    """
    values, vectors = np.linalg.eigh(w)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > max(values[0], 0) * len(w) * np.finfo(float).eps
    return values[kept], vectors[:, kept]


def power(w: Array, exponent: float, rank: int | None = None) -> Array:
    """W^exponent, (L, L), from the `rank` largest eigenvalues of `spectrum` (None: all); the others count as zero.

    At -½ it is the square root of the pseudo-inverse.
    """
    values, vectors = spectrum(w)
    values, vectors = values[:rank], vectors[:, :rank]
    return (vectors * values**exponent) @ vectors.T  # (L, L)


def nystrom(c: Array, w: Array, rank: int | None = None) -> Array:
    """The Nyström approximation C W⁺ Cᵀ, (N, N), from C (N, L) and W (L, L); W⁺ of rank `rank`."""
    half = c @ power(w, -0.5, rank)  # (N, L)
    return half @ half.T


def rank_above_one(*landmarks: Array) -> int:
    """The largest rank at which every eigenvalue that is kept of each network's W exceeds 1; landmarks: (L, D) each."""
    return min(int((spectrum(each @ each.T)[0] > 1).sum()) for each in landmarks)


def bound(f_s: Array, f_t: Array, landmarks_s: Array, landmarks_t: Array, rank: int | None = None) -> dict[str, Any]:
    """Both versions of the bound, as printed and corrected, for one pair of features.

    f_s (N, D_S), f_t (N, D_T), landmarks (L, D_S) and (L, D_T).  c: the larger ‖C‖_F of both networks, so that this
    premise holds; ε: the larger of their measured errors ‖K - C W⁺ Cᵀ‖_F.  premise: all eigenvalues that are kept of
    both W exceed 1.  trivial: ‖K_S‖_F + ‖K_T‖_F, which bounds the left side without landmarks; a bound above it is of
    no use.
    """
    kernels, roots, inverse, eps, sizes, kept = [], [], [], [], [], []
    for f, landmarks in ((f_s, landmarks_s), (f_t, landmarks_t)):
        k, c, w = f @ f.T, f @ landmarks.T, landmarks @ landmarks.T  # (N, N), (N, L), (L, L)
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
