"""Group normalization of channels-last images by our CUDA kernels, with the sum before it and the SiLU after it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sds3d.native import cuda as cuda_kernels
from sds3d.native.abi import Struct, fields

THREADS = 256  # of a block, THREADS of cuda_ext/norm/norm.cu
MAX_GROUPS = 64
BLOCKS = 3  # that fit on a multiprocessor at once, given their registers
PIXELS = 4  # per thread, at least


class NormParams(Struct):
    """NormParams of cuda_ext/norm/norm.cu"""

    _fields_ = [
        *fields(ctypes.c_void_p, "images", "residual", "offset", "weight", "bias", "sum"),
        *fields(ctypes.c_void_p, "partial", "stats", "out", "v_out", "v_sum", "v_images"),
        *fields(ctypes.c_int, "pixels", "width", "channels", "groups", "splits", "padded", "bfloat", "silu"),
        *fields(ctypes.c_float, "eps"),
    ]


@dataclass(frozen=True)
class Norm:
    """A group normalization with float32 parameters, as the kernels expect."""

    weight: Tensor  # [C]
    bias: Tensor  # [C]
    groups: int
    eps: float

    @classmethod
    def of(cls, layer: nn.GroupNorm) -> Norm:
        """The weights and settings of `layer`, in float32."""
        return cls(layer.weight.detach().float(), layer.bias.detach().float(), layer.num_groups, layer.eps)


def can_normalize(layer: nn.GroupNorm) -> bool:
    """Whether the kernels support the number of channels of `layer`."""
    lanes = layer.num_channels / 8
    return lanes in (1, 2, 4, 8, 16, 32, 64, 128) and layer.num_groups <= MAX_GROUPS


def normalize(images: Tensor, offset: Tensor, norm: Norm, silu: bool = True) -> Tensor:
    """silu(norm(images + offset)), without `silu` norm(images + offset); [B, C, H, W] channels-last.

    Differentiable in `images`, which are float16 or bfloat16. `offset` [C] float32 is the bias of the convolution that
    made them: added here, it costs no pass of its own.
    """
    return _Normalize.apply(images, offset, norm, silu)


def sum_and_normalize(
    images: Tensor, residual: Tensor | None, offset: Tensor, norm: Norm, silu: bool = True
) -> tuple[Tensor, Tensor]:
    """images + residual + offset, and its normalization as by `normalize`; differentiable in the first two."""
    return _SumAndNormalize.apply(images, residual, offset, norm, silu)


def add_and_pad(images: Tensor, residual: Tensor | None, offset: Tensor) -> Tensor:
    """images + residual + offset, with a row and a column of zeros at the end, [B, C, H + 1, W + 1].

    In one pass; differentiable in the first two.
    """
    return _AddAndPad.apply(images, residual, offset)


class _Launch:
    """The fields that all kernels of one normalization share, and the memory that they point to."""

    def __init__(self, images: Tensor, norm: Norm | None, silu: bool) -> None:
        self.images = images.contiguous(memory_format=torch.channels_last)
        count, channels, height, width = images.shape
        pixels = height * width
        blocks = BLOCKS * torch.cuda.get_device_properties(images.device).multi_processor_count
        splits = max(1, min(blocks // count, pixels * channels // (8 * THREADS * PIXELS)))
        self.grid = (splits, count, 1)
        groups = norm.groups if norm else 1
        bfloat = images.dtype == torch.bfloat16
        self.params = NormParams(
            pixels=pixels, width=width, channels=channels, groups=groups, splits=splits, bfloat=bfloat, silu=silu,
            eps=norm.eps if norm else 0.0,
        )  # fmt: skip
        self.kept: list[Tensor] = []
        self.set(images=self.images)
        if norm:
            self.set(weight=norm.weight, bias=norm.bias)
            self.set(partial=images.new_empty(count, splits, groups, 2, dtype=torch.float32))

    def set(self, **tensors: Tensor | None) -> None:
        """Point fields to tensors, which stay alive as long as this does."""
        self.params.point(**tensors)
        self.kept += [tensor for tensor in tensors.values() if tensor is not None]

    def __call__(self, kernel: str) -> None:
        cuda_kernels.load("norm", self.images.device)[kernel](self.grid, THREADS, self.params)


def _forward(
    ctx: Any, images: Tensor, residual: Tensor | None, offset: Tensor, norm: Norm, silu: bool, keep: bool
) -> tuple[Tensor | None, Tensor]:
    launch = _Launch(images, norm, silu)
    total = torch.empty_like(launch.images) if keep else None
    out = torch.empty_like(launch.images)
    stats = images.new_empty(len(images), norm.groups, 2, dtype=torch.float32)
    if residual is not None:
        residual = residual.contiguous(memory_format=torch.channels_last)
    launch.set(residual=residual, offset=offset, sum=total, stats=stats, out=out)
    launch("norm_sum")
    seen = launch.images
    if total is not None:
        launch.params.offset = None  # it is in the sum
        launch.set(images=total)
        seen = total
    launch("norm_apply")
    ctx.norm, ctx.silu, ctx.keep = norm, silu, keep
    ctx.save_for_backward(seen, stats, offset)
    return total, out


def _backward(ctx: Any, v_sum: Tensor | None, v_out: Tensor) -> Tensor:
    seen, stats, offset = ctx.saved_tensors
    launch = _Launch(seen, ctx.norm, ctx.silu)
    v_images = torch.empty_like(seen)
    if v_sum is not None:
        v_sum = v_sum.contiguous(memory_format=torch.channels_last)
    launch.set(
        offset=None if ctx.keep else offset, stats=stats, v_images=v_images, v_sum=v_sum,
        v_out=v_out.contiguous(memory_format=torch.channels_last),
    )  # fmt: skip
    launch("norm_backward_sum")
    launch("norm_backward")
    return v_images


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, offset: Tensor, norm: Norm, silu: bool) -> Tensor:
        return _forward(ctx, images, None, offset, norm, silu, keep=False)[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_out: Tensor) -> tuple[Tensor | None, ...]:
        return _backward(ctx, None, v_out), None, None, None


class _SumAndNormalize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, residual: Tensor | None, offset: Tensor, norm: Norm, silu: bool
    ) -> tuple[Tensor | None, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.has_residual = residual is not None
        return _forward(ctx, images, residual, offset, norm, silu, keep=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_sum: Tensor | None, v_out: Tensor) -> tuple[Tensor | None, ...]:
        v_images = _backward(ctx, v_sum, v_out)
        return v_images, v_images if ctx.has_residual else None, None, None, None


class _AddAndPad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, residual: Tensor | None, offset: Tensor) -> Tensor:
        ctx.has_residual = residual is not None
        launch = _Launch(images, None, silu=False)
        count, channels, height, width = images.shape
        shape = (count, channels, height + 1, width + 1)
        total = torch.empty(shape, dtype=images.dtype, device=images.device, memory_format=torch.channels_last)
        total[:, :, -1].zero_()
        total[:, :, :, -1].zero_()
        if residual is not None:
            residual = residual.contiguous(memory_format=torch.channels_last)
        launch.params.padded = 1
        launch.set(residual=residual, offset=offset, sum=total)
        launch("norm_sum")
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_total: Tensor) -> tuple[Tensor | None, ...]:
        v_images = v_total[:, :, :-1, :-1].contiguous(memory_format=torch.channels_last)  # once, for all its readers
        return v_images, v_images if ctx.has_residual else None, None
