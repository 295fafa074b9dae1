"""Tensor pieces that more than one method needs.

N images in a batch · K classes · T temperature
"""

import torch.nn.functional as F
from torch import Tensor


def soft_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) of softened classes, mean over the batch; not multiplied by T².

    student, teacher: logits (N, K); returns a scalar in nats.
    """
    log_s = F.log_softmax(student / temperature, dim=1)  # (N, K)
    log_t = F.log_softmax(teacher / temperature, dim=1)  # (N, K)
    return F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)
