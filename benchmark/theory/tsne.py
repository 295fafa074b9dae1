"""Feature spaces laid out in the plane by t-SNE.  Van der Maaten & Hinton, JMLR 2008.

Done here once and kept, not when a report is drawn: descent amplifies the rounding of each processor.

n images · D width
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

PERPLEXITY = 12
STEPS = {"teacher": 500, "student": 300}  # below 300 the two phases of scikit-learn's descent do not both happen
FEWEST = 12  # images without which there is nothing to see


def layouts(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name -> (n, 2), centred; the teacher's from its principal components, the others' from the teacher's places.

    features: name -> (n, D), "teacher" among them.  Empty for too few images; who shows all alike is left out.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    sound = {name: f for name, f in features.items() if np.isfinite(f).all() and f.std(0).any()}
    if "teacher" not in sound or len(sound["teacher"]) < FEWEST:
        return {}
    count = len(sound["teacher"])
    shared = {"perplexity": min(PERPLEXITY, (count - 1) / 3), "random_state": 0}
    with threadpool_limits(1), np.errstate(all="ignore"):  # sums of several threads come in any order
        first = TSNE(init="pca", max_iter=STEPS["teacher"], **shared).fit_transform(sound["teacher"])
        shared |= {"init": first, "early_exaggeration": 1, "max_iter": STEPS["student"]}
        rest = {name: TSNE(**shared).fit_transform(f) for name, f in sound.items() if name != "teacher"}
    return {name: place - place.mean(0) for name, place in ({"teacher": first} | rest).items()}
