"""Image resizing with gradients that are equal bit for bit in every run."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


def resize(images: Tensor, size: int) -> Tensor:
    """Square `images` [..., R, R] at [..., size, size]: bilinear, antialiased.

    It consists of two matrix products, because the gradient of F.interpolate has no fixed order of sums on CUDA.
    """
    if images.shape[-1] == size:
        return images
    matrix = _resizing(images.shape[-1], size, images.device)
    return matrix @ images @ matrix.T


@cache
def _resizing(before: int, after: int, device: torch.device) -> Tensor:
    """The resampling matrix from `before` to `after` pixels, [after, before]."""
    columns = torch.eye(before, device=device)[None, None]
    return F.interpolate(columns, size=(after, before), mode="bilinear", align_corners=False, antialias=True)[0, 0]
