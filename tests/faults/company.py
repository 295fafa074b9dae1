"""What the tests of methods that misbehave share: the method they are made of, and the files of a run."""

import torch.nn.functional as F

from methods.contract import Method


class Plain(Method):
    """The plain student, of which the methods that misbehave are made."""

    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y)}


def files_of(store, id):
    """The weights, predictions and logits of a run."""
    paths = {"weights": store.weights(id), "predictions": store.predictions(id), "logits": store.logits(id)}
    return {name: path.read_bytes() for name, path in paths.items()}
