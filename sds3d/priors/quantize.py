"""Eight-bit storage of weights, four-bit storage of word tables: each row of a matrix or filter bank has one scale.

The last layer of a network keeps sixteen bits: rounding would shift each output by a constant, and over the hundreds of
network calls of a run these shifts would add up to a color cast.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

SCALE = "::scale"
NIBBLES = ("word_embeddings.weight",)  # name endings of large tables, of which a prompt needs a few rows
LAST = ("conv_out.weight",)  # name endings


def quantize(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """int8 rows and float16 scales of tensors with two or more dimensions, float16 for the rest and those in LAST.

    Tensors named in NIBBLES, of an even number of columns, become uint8 rows of half as many: two values a byte.
    """
    packed = {}
    for name, value in state.items():
        value = value.detach().cpu().float()
        if value.dim() < 2 or name.endswith(LAST):
            packed[name] = value.half().contiguous()  # filters may be stored channels-last
            continue
        rows = value.reshape(len(value), -1)
        in_nibbles = name.endswith(NIBBLES)
        most = 7 if in_nibbles else 127
        scales = (rows.abs().amax(1) / most).clamp_min(1e-7).half()
        codes = (rows / scales.float()[:, None]).round().clamp(-most, most).to(torch.int8)
        packed[name] = pack_nibbles(codes) if in_nibbles else codes.reshape(value.shape)
        packed[name + SCALE] = scales
    return packed


def dequantize(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The float32 state that `quantize` packed, accurate to half a step of each row's scale."""
    state = {}
    for name, value in packed.items():
        if name.endswith(SCALE):
            continue
        scales = packed.get(name + SCALE)
        value = (unpack_nibbles(value) if name.endswith(NIBBLES) else value).float()
        state[name] = value if scales is None else value * scales.float().reshape(-1, *[1] * (value.dim() - 1))
    return state


def pack_nibbles(codes: Tensor) -> Tensor:
    """uint8 [R, C / 2] of int8 [R, C] in -8 to 7; a byte holds column 2 k low and column 2 k + 1 high."""
    halves = (codes + 8).to(torch.uint8)
    return halves[:, ::2] | (halves[:, 1::2] << 4)


def unpack_nibbles(packed: Tensor) -> Tensor:
    """The inverse of `pack_nibbles`."""
    return torch.stack([packed & 15, packed >> 4], -1).flatten(1).to(torch.int8) - 8


def save_int8(state: dict[str, Tensor], path: Path) -> None:
    """Write `state` quantized to one safetensors file."""
    save_file(quantize(state), path)


def load_int8(path: Path) -> dict[str, Tensor]:
    """Read a float32 state from a file of `save_int8`."""
    return dequantize(load_file(path))
