"""Eight-bit storage of weights: each row of a matrix or filter bank keeps one scale."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

SCALE = "::scale"


def quantize(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """int8 rows and float16 scales for tensors of two or more dimensions, float16 for the rest."""
    packed = {}
    for name, value in state.items():
        value = value.detach().cpu().float()
        if value.dim() < 2:
            packed[name] = value.half()
            continue
        rows = value.reshape(len(value), -1)
        scales = (rows.abs().amax(1) / 127).clamp_min(1e-7).half()
        packed[name] = (rows / scales.float()[:, None]).round().clamp(-127, 127).to(torch.int8).reshape(value.shape)
        packed[name + SCALE] = scales
    return packed


def dequantize(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The float32 state that `quantize` packed, each weight within half a step of its row's scale."""
    state = {}
    for name, value in packed.items():
        if name.endswith(SCALE):
            continue
        scales = packed.get(name + SCALE)
        value = value.float()
        state[name] = value if scales is None else value * scales.float().reshape(-1, *[1] * (value.dim() - 1))
    return state


def save_int8(state: dict[str, Tensor], path: Path) -> None:
    """Write `state` quantised as one safetensors file."""
    save_file(quantize(state), path)


def load_int8(path: Path) -> dict[str, Tensor]:
    """Read a float32 state from a file of `save_int8`."""
    return dequantize(load_file(path))
