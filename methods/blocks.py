"""Tensor pieces that more than one method needs.

N images in a batch · K classes · T temperature · C, H, W of a feature map
"""

import torch.nn.functional as F
from torch import Tensor, nn

from methods.contract import Unfit


def soft_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) of softened classes, mean over the batch; not multiplied by T².

    student, teacher: logits (N, K); returns a scalar in nats.
    """
    log_s = F.log_softmax(student / temperature, dim=1)  # (N, K)
    log_t = F.log_softmax(teacher / temperature, dim=1)  # (N, K)
    return F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)


def regressor(student: tuple[int, int, int], teacher: tuple[int, int, int]) -> nn.Module:
    """A trained map from a student's (C, H, W) to a teacher's: convolution, batch norm, ReLU.

    The CRD benchmark's rule (arXiv:1910.10699): 3 x 3 at stride 2 where the student's map is twice as large, 4 x 4
    transposed at stride 2 where it is half as large, else a convolution without padding over what it is larger by.
    Raises Unfit where the student's map is smaller otherwise.
    """
    (inward, height, width), (outward, high, wide) = student, teacher
    if (height, width) == (2 * high, 2 * wide):
        convolution = nn.Conv2d(inward, outward, 3, stride=2, padding=1)
    elif (2 * height, 2 * width) == (high, wide):
        convolution = nn.ConvTranspose2d(inward, outward, 4, stride=2, padding=1)
    elif height >= high and width >= wide:
        convolution = nn.Conv2d(inward, outward, (1 + height - high, 1 + width - wide))
    else:
        raise Unfit(f"no regressor leads from a map of {height} x {width} to one of {high} x {wide}")
    return nn.Sequential(convolution, nn.BatchNorm2d(outward), nn.ReLU())
