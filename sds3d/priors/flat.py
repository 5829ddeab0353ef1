"""All parameters of a network in one tensor, so that an operation on them is one kernel or one collective."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ALIGN = 64  # elements; compiled kernels read 16 bytes at a time


def flatten_parameters(network: nn.Module) -> Tensor:
    """The parameters of `network` in one tensor, whose grad holds their gradients; the parameters become views of it.

    Four-dimensional parameters are channels-last, the fastest layout for convolutions on a GPU.
    """
    parameters = list(network.parameters())
    offsets, total = [], 0
    for parameter in parameters:
        offsets.append(total)
        total += -(-parameter.numel() // ALIGN) * ALIGN
    flat = torch.zeros(total, device=parameters[0].device)
    flat.grad = torch.zeros_like(flat)
    with torch.no_grad():
        for parameter, offset in zip(parameters, offsets, strict=True):
            view = _view(flat, offset, parameter.shape)
            parameter.data = view.copy_(parameter)
            parameter.grad = _view(flat.grad, offset, parameter.shape)
    return flat


def _view(flat: Tensor, offset: int, shape: torch.Size) -> Tensor:
    piece = flat[offset : offset + shape.numel()]
    if len(shape) != 4:
        return piece.view(shape)
    out_channels, in_channels, height, width = shape
    return piece.view(out_channels, height, width, in_channels).permute(0, 3, 1, 2)
