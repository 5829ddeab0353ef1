"""The pocket network: a text-conditioned U-Net (Rombach et al., arXiv:2112.10752) whose views attend to each other.

It equals the UNet2DConditionModel of diffusers with MVDream's attention (arXiv:2308.16512), and its tensors have the
same names, so each can load the weights of the other; tests/priors/test_networks.py checks this. It does not use
diffusers, since importing it and building its model takes longer than everything else before the first step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEADS = 8
CONDITION = 19  # numbers that describe a view, see model.condition_vectors


class UNet(nn.Module):
    """A U-Net with attention from the second level on; levels have `layers` residual blocks, one more on the way up."""

    def __init__(self, pixel_channels: int, channels: Sequence[int], layers: int, context: int, num_views: int) -> None:
        """Input and output have `pixel_channels`, the levels `channels`; `context` is the width of the text tokens."""
        super().__init__()
        self.channels, self.layers = tuple(channels), layers
        self.groups = 32 if channels[0] % 32 == 0 else channels[0] // 2
        embedding, last = 4 * channels[0], len(channels) - 1

        def level(sizes: list[tuple[int, int]], attentions: int) -> Level:
            return Level(sizes, self.groups, embedding, [num_views, context], attentions)

        self.conv_in = nn.Conv2d(pixel_channels, channels[0], 3, padding=1)
        self.time_embedding = Embedding(channels[0], embedding)
        self.class_embedding = Embedding(CONDITION, embedding)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        width, skips = channels[0], [channels[0]]
        for index, size in enumerate(channels):
            block = level([(size if k else width, size) for k in range(layers)], layers if index else 0)
            block.downsamplers = nn.ModuleList([Downsample(size)] if index < last else [])
            self.down_blocks.append(block)
            skips += [size] * (layers + len(block.downsamplers))
            width = size
        self.mid_block = level([(width, width)] * 2, attentions=1)
        for index, size in reversed(list(enumerate(channels))):
            sizes = [((size if k else width) + skips.pop(), size) for k in range(layers + 1)]
            block = level(sizes, layers + 1 if index else 0)
            block.upsamplers = nn.ModuleList([Upsample(size)] if index else [])
            self.up_blocks.append(block)
            width = size
        self.conv_norm_out = GroupNorm(self.groups, width, eps=1e-5)
        self.conv_out = nn.Conv2d(width, pixel_channels, 3, padding=1)

    def forward(self, images: Tensor, timesteps: Tensor, context: Tensor, camera: Tensor) -> Tensor:
        """The prediction, shaped like `images` [B, Z, H, W]; timesteps [B], context [B, L, D], camera [B, CONDITION].

        The views of an object are adjacent in the batch.
        """
        embedding = self.time_embedding(sinusoids(timesteps, self.channels[0]).to(images.dtype))
        embedding = embedding + self.class_embedding(camera)
        states = self.conv_in(images)
        skips = [states]
        for block in self.down_blocks:
            assert isinstance(block, Level)
            for index in range(len(block.resnets)):
                states = block(index, states, embedding, context)
                skips.append(states)
            for downsample in block.downsamplers:
                states = downsample(states)
                skips.append(states)
        for index in range(len(self.mid_block.resnets)):
            states = self.mid_block(index, states, embedding, context)
        for block in self.up_blocks:
            assert isinstance(block, Level)
            for index in range(len(block.resnets)):
                states = block(index, torch.cat([states, skips.pop()], 1), embedding, context)
            for upsample in block.upsamplers:
                states = upsample(states)
        return self.conv_out(F.silu(self.conv_norm_out(states)))


def sinusoids(timesteps: Tensor, width: int) -> Tensor:
    """[B, width] float32: cosines, then sines, of `timesteps` [B] at `width` / 2 frequencies, 1 to 1 / 10,000."""
    exponents = -math.log(10000) * torch.arange(width // 2, dtype=torch.float32, device=timesteps.device)
    angles = timesteps[:, None].float() * torch.exp(exponents / (width // 2))
    return torch.cat([angles.cos(), angles.sin()], -1)


class GroupNorm(nn.GroupNorm):
    """The group norm of torch, except under torch.compile, where it keeps images in channels-last layout.

    On a GPU, torch's kernel converts them to the other layout.
    """

    def forward(self, images: Tensor) -> Tensor:
        return self.channels_last(images) if torch.compiler.is_compiling() else super().forward(images)

    def channels_last(self, images: Tensor) -> Tensor:
        """The same function of images [B, C, H, W], in float32, from operations that keep the layout."""
        groups = images.float().unflatten(1, (self.num_groups, -1))
        variance, mean = torch.var_mean(groups, (2, 3, 4), correction=0, keepdim=True)
        normalized = ((groups - mean) * torch.rsqrt(variance + self.eps)).flatten(1, 2)
        return normalized * self.weight[:, None, None] + self.bias[:, None, None]


class Embedding(nn.Module):
    """Maps numbers [B, width] about a view to the width of the blocks' embedding."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, embedding)
        self.linear_2 = nn.Linear(embedding, embedding)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(numbers)))


class Level(nn.Module):
    """The residual blocks of one resolution; the first `attentions` of them are followed by attention."""

    downsamplers: nn.ModuleList  # on the way down
    upsamplers: nn.ModuleList  # on the way up

    def __init__(
        self, sizes: list[tuple[int, int]], groups: int, embedding: int, seen: list[int], attentions: int
    ) -> None:
        """`sizes` are the input and output channels of each block, `seen` the number of views and the text width."""
        super().__init__()
        self.attentions, self.resnets = nn.ModuleList(), nn.ModuleList()
        for index, (before, after) in enumerate(sizes):
            self.resnets.append(ResidualBlock(before, after, embedding, groups))
            if index < attentions:
                self.attentions.append(Transformer(after, groups, *seen))

    def forward(self, index: int, states: Tensor, embedding: Tensor, context: Tensor) -> Tensor:
        """`states` after block number `index`."""
        states = self.resnets[index](states, embedding)
        return self.attentions[index](states, context) if index < len(self.attentions) else states


class ResidualBlock(nn.Module):
    """Two convolutions, with the embedding added between them."""

    def __init__(self, before: int, after: int, embedding: int, groups: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, before, eps=1e-5)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedding, after)
        self.norm2 = GroupNorm(groups, after, eps=1e-5)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, states: Tensor, embedding: Tensor) -> Tensor:
        inner = self.conv1(F.silu(self.norm1(states)))
        inner = inner + self.time_emb_proj(F.silu(embedding))[:, :, None, None]
        inner = self.conv2(F.silu(self.norm2(inner)))
        return self.conv_shortcut(states) + inner


class Downsample(nn.Module):
    """Halves both sides of the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, states: Tensor) -> Tensor:
        return self.conv(states)


class Upsample(nn.Module):
    """Doubles both sides of the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, states: Tensor) -> Tensor:
        return self.conv(F.interpolate(states, scale_factor=2.0, mode="nearest"))


class Transformer(nn.Module):
    """One transformer block over the pixels of an image as tokens."""

    def __init__(self, width: int, groups: int, num_views: int, context: int) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, num_views, context)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, states: Tensor, context: Tensor) -> Tensor:
        tokens = self.proj_in(self.norm(states)).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        return self.proj_out(tokens.transpose(1, 2).reshape(states.shape)) + states


class TransformerBlock(nn.Module):
    """Attention over all views of the object, attention over the text, a feed-forward layer."""

    def __init__(self, width: int, num_views: int, context: int) -> None:
        super().__init__()
        self.num_views = num_views
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, context)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        joined = self.norm1(tokens).reshape(len(tokens) // self.num_views, -1, tokens.shape[2])
        tokens = self.attn1(joined, joined).reshape(tokens.shape) + tokens
        tokens = self.attn2(self.norm2(tokens), context) + tokens
        return self.ff(self.norm3(tokens)) + tokens


class Attention(nn.Module):
    """Multi-head attention of tokens [B, N, width] to `seen` tokens [B, M, context]."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        projected = self.to_q(tokens), self.to_k(seen), self.to_v(seen)
        heads = (x.unflatten(2, (HEADS, -1)).transpose(1, 2) for x in projected)
        return self.to_out[0](F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with a GELU gate between them (GEGLU: Shazeer, arXiv:2002.05202)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([Gate(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, tokens: Tensor) -> Tensor:
        return self.net[2](self.net[0](tokens))


class Gate(nn.Module):
    """One half of a linear layer's outputs times the GELU of the other."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, tokens: Tensor) -> Tensor:
        value, gate = self.proj(tokens).chunk(2, -1)
        return value * F.gelu(gate)
