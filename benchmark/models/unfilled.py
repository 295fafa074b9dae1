"""Networks and methods of which only shapes are wanted, built and run without what costs most of the time.

That is random values for new parameters and, on the meta device, batch normalisation: for both torch first loads its
compiler there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

FILLING = {  # in place, with random values
    *(Tensor.normal_, Tensor.uniform_),
    *(init.normal_, init.uniform_, init.kaiming_normal_, init.kaiming_uniform_),
}
NORMALISING = {F.batch_norm, torch.batch_norm}  # the result has the shape of the first argument


class Unfilled(TorchFunctionMode):
    """In its context random filling does nothing: new parameters hold what was in memory.

    Batch normalisation of a tensor on the meta device gives another one of its shape, without a history for gradients.
    """

    def __torch_function__(self, func, types, args=(), kwargs: Mapping[str, Any] | None = None):
        if func in FILLING:
            return args[0] if args else kwargs["tensor"]
        if func in NORMALISING and args and args[0].is_meta:
            return torch.empty_like(args[0])
        return func(*args, **(kwargs or {}))
