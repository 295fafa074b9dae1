"""Two-dimensional t-SNE maps of features.  Van der Maaten & Hinton, JMLR 2008.

They are computed once and stored, not when a report is drawn: gradient descent amplifies rounding, which differs
between processors, and the same features could give another picture.

n images · D width
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

PERPLEXITY = 12
STEPS = {"teacher": 500, "student": 300}  # at least 300, so that both phases of scikit-learn's descent run
MIN_IMAGES = 12  # for a map


def layouts(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """t-SNE maps: name -> (n, 2), centred.

    features: name -> (n, D), with "teacher" among the names.  The teacher's map starts from its principal components,
    the others start from the teacher's map.  Features that are constant or not finite are left out; without the
    teacher's, or with fewer than MIN_IMAGES images, the result is empty.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    valid = {name: f for name, f in features.items() if np.isfinite(f).all() and f.std(0).any()}
    if "teacher" not in valid or len(valid["teacher"]) < MIN_IMAGES:
        return {}
    count = len(valid["teacher"])
    shared = {"perplexity": min(PERPLEXITY, (count - 1) / 3), "random_state": 0}
    with threadpool_limits(1), np.errstate(all="ignore"):  # with several threads the order of sums varies
        teacher = TSNE(init="pca", max_iter=STEPS["teacher"], **shared).fit_transform(valid["teacher"])
        shared |= {"init": teacher, "early_exaggeration": 1, "max_iter": STEPS["student"]}
        students = {name: TSNE(**shared).fit_transform(f) for name, f in valid.items() if name != "teacher"}
    return {name: points - points.mean(0) for name, points in ({"teacher": teacher} | students).items()}
