"""A faster encoder of AutoencoderKL on a GPU in half precision; it computes what diffusers does.

PyTorch normalizes in another layout than it convolves, and adds biases and residuals in separate passes. Here one
kernel does all work between two convolutions (norm_cuda.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sds3d.priors.norm_cuda import Norm, add_and_pad, can_normalize, normalize, sum_and_normalize

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from diffusers.models.attention_processor import Attention
    from diffusers.models.resnet import ResnetBlock2D


def can_encode(model: AutoencoderKL) -> bool:
    """Whether `CudaEncoder` supports this model on its device and in its dtype."""
    norms = [module for module in model.encoder.modules() if isinstance(module, nn.GroupNorm)]
    plain = set(model.config.down_block_types) == {"DownEncoderBlock2D"} and model.config.act_fn == "silu"
    half = model.dtype in (torch.float16, torch.bfloat16)
    return model.device.type == "cuda" and half and plain and all(map(can_normalize, norms))


@dataclass(frozen=True)
class Sum:
    """A sum that is not computed yet: a layer's output without its bias, the residual, and the bias."""

    images: Tensor  # [C, Z, h, w]
    residual: Tensor | None  # the same shape
    offset: Tensor  # [Z] float32


class CudaEncoder:
    """A frozen encoder that uses the weights of `model` without copying them."""

    def __init__(self, model: AutoencoderKL) -> None:
        self.model = model
        layers = list(model.encoder.modules())
        self.norms = {layer: Norm.of(layer) for layer in layers if isinstance(layer, nn.GroupNorm)}
        biased = (layer for layer in layers if isinstance(layer, nn.Conv2d | nn.Linear))
        self.offsets = {layer: layer.bias.detach().float() for layer in biased if layer.bias is not None}

    def __call__(self, images: Tensor) -> Tensor:
        """Mean and log variance [C, 2 Z, h, w] of the posterior of `images` [C, 3, H, W] in [-1, 1], differentiable."""
        encoder = self.model.encoder
        state = self._convolve(encoder.conv_in, images)
        for block in encoder.down_blocks:
            for resnet in block.resnets:
                state = self._residual(resnet, state)
            for downsample in block.downsamplers or ():
                padded = add_and_pad(state.images, state.residual, state.offset)
                state = self._convolve(downsample.conv, padded)
        before, after = encoder.mid_block.resnets
        state = self._residual(before, state)
        for attention in encoder.mid_block.attentions:
            state = self._attend(attention, state)
        state = self._residual(after, state)
        moments = encoder.conv_out(self._normalized(encoder.conv_norm_out, state)[1])
        return moments if self.model.quant_conv is None else self.model.quant_conv(moments)

    def _residual(self, resnet: ResnetBlock2D, state: Sum) -> Sum:
        total, inner = self._normalized(resnet.norm1, state)
        first = self._convolve(resnet.conv1, inner)
        inner = normalize(first.images, first.offset, self.norms[resnet.norm2])
        last = self._convolve(resnet.conv2, inner)
        if resnet.conv_shortcut is None:
            return Sum(last.images, total, last.offset)
        shortcut = self._convolve(resnet.conv_shortcut, total)
        return Sum(last.images, shortcut.images, last.offset + shortcut.offset)

    def _attend(self, attention: Attention, state: Sum) -> Sum:
        """Attention with one head of all channels, for which PyTorch's fused kernel has a slow backward pass."""
        total, inner = self._normalized(attention.group_norm, state, silu=False)
        count, channels, height, width = inner.shape
        tokens = inner.permute(0, 2, 3, 1).reshape(count, height * width, channels)
        queries, keys, values = (layer(tokens) for layer in (attention.to_q, attention.to_k, attention.to_v))
        scores = (queries * channels**-0.5) @ keys.transpose(1, 2)
        tokens = F.linear(scores.softmax(-1) @ values, attention.to_out[0].weight)
        images = tokens.reshape(count, height, width, channels).permute(0, 3, 1, 2)
        return Sum(images, total, self.offsets[attention.to_out[0]])

    def _normalized(self, layer: nn.GroupNorm, state: Sum, silu: bool = True) -> tuple[Tensor, Tensor]:
        """The sum, and the sum normalized by `layer`."""
        return sum_and_normalize(state.images, state.residual, state.offset, self.norms[layer], silu)

    def _convolve(self, layer: nn.Conv2d, images: Tensor) -> Sum:
        return Sum(F.conv2d(images, layer.weight, None, layer.stride, layer.padding), None, self.offsets[layer])
