"""What networks show, as methods receive it: in float32, feature maps cast when they are read.

N images in a batch · C, H, W of a feature map
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.contract import Outputs

TOLERANCE = 1e-5  # folding batch norm may change a teacher's outputs by this much, relative to their size


class Float32Maps(Sequence):
    """Feature maps in float32, each cast when it is asked for: methods read few of them.

    Nothing is kept: lanes that share a teacher's maps run side by side, and none may wait for another's cast.
    """

    def __init__(self, maps: Sequence[Tensor]):
        self._maps = tuple(maps)

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, place: int | slice) -> Tensor | tuple[Tensor, ...]:
        if isinstance(place, slice):
            return tuple(self[i] for i in range(*place.indices(len(self))))
        return self._maps[place].float()

    def raw(self) -> tuple[Tensor, ...]:
        """The maps as they were computed."""
        return self._maps


def raw(maps: Sequence[Tensor]) -> Sequence[Tensor]:
    """Maps as they were computed."""
    return maps.raw() if isinstance(maps, Float32Maps) else maps


def to_float32(outputs: Outputs) -> Outputs:
    """Outputs in float32."""
    return Outputs(
        Float32Maps(outputs.maps),
        outputs.embedding.float(),
        outputs.logits.float(),
        Float32Maps(outputs.preactivations),
    )


def detach_outputs(outputs: Outputs) -> Outputs:
    """Outputs cut off from the graph that made them."""
    return of_tensors([tensor.detach() for tensor in output_tensors(outputs)], len(outputs.maps))


def slice_outputs(outputs: Outputs, start: int, end: int) -> Outputs:
    """What was shown for the images from start up to end; nothing is copied."""
    return of_tensors([tensor[start:end] for tensor in output_tensors(outputs)], len(outputs.maps))


def output_tensors(outputs: Outputs) -> list[Tensor]:
    """Embedding, logits, then all maps as they were computed."""
    return [outputs.embedding, outputs.logits, *raw(outputs.maps), *raw(outputs.preactivations)]


def of_tensors(tensors: Sequence[Tensor], maps: int) -> Outputs:
    """The outputs whose `output_tensors` these are; maps: how many of them there are, those before a ReLU aside."""
    embedding, logits, *rest = tensors
    return Outputs(Float32Maps(rest[:maps]), embedding, logits, Float32Maps(rest[maps:]))


def clone_outputs(outputs: Outputs) -> Outputs:
    """A copy of the outputs in memory of its own."""
    return of_tensors(list(map(torch.clone, output_tensors(outputs))), len(outputs.maps))


def outputs_close(a: Outputs, b: Outputs) -> bool:
    """Whether two outputs agree to TOLERANCE, relative to the size of each tensor; maps before a ReLU do not count."""
    pairs = zip([*a.maps, a.embedding, a.logits], [*b.maps, b.embedding, b.logits], strict=True)
    return all(bool((p - q).abs().max() <= TOLERANCE * q.abs().max().clamp_min(1)) for p, q in pairs)
