"""The judge's two networks, which embed pictures and texts on one sphere (Radford et al., arXiv:2103.00020)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sds3d.evaluation.letters import BUCKETS, MAX_WORDS

RESOLUTION = 64  # pixels
WIDTH = 256  # of the embedding
HEADS = 4
FIRST_SCALE = 1 / 0.07  # of the cosines, as in CLIP
MAX_SCALE = 100.0


class Towers(nn.Module):
    """An image tower, a text tower and the scale of their cosines, which is learned with them."""

    def __init__(self, channels: Sequence[int] = (64, 128, 256), text_width: int = 192, text_layers: int = 2) -> None:
        super().__init__()
        self.images = ImageTower(channels)
        self.texts = TextTower(text_width, text_layers)
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    def scale(self) -> Tensor:
        """The factor of the cosines in the softmax."""
        return self.log_scale.exp().clamp(max=MAX_SCALE)


class ImageTower(nn.Module):
    """Two residual blocks per level, each level at half the resolution; then the mean and the maximum over pixels.

    The mean mostly describes the background, the maximum the object.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in channels:
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), Block(width), Block(width)]
            before = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.LayerNorm(2 * before), nn.Linear(2 * before, WIDTH))

    def forward(self, images: Tensor) -> Tensor:
        """Unit vectors [N, WIDTH] of images [N, 3, RESOLUTION, RESOLUTION] in [0, 1]."""
        features = self.layers(2 * images - 1)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        return F.normalize(self.head(pooled).float(), dim=-1)


class Block(nn.Module):
    """Two normalized convolutions with a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # not batch norm, since judged pictures differ from those of training
        self.layers = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features)


class TextTower(nn.Module):
    """Words as sums of their pieces, then a transformer, whose extra first token becomes the embedding of the text."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.table = nn.Embedding(BUCKETS, width, padding_idx=0)
        self.start = nn.Parameter(torch.randn(1, width) / math.sqrt(width))
        self.places = nn.Parameter(torch.randn(MAX_WORDS, width) / math.sqrt(width))
        layer = nn.TransformerEncoderLayer(
            width, HEADS, 4 * width, dropout=0.0, activation=F.gelu, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, WIDTH))

    def forward(self, ids: Tensor) -> Tensor:
        """Unit vectors [B, WIDTH] of texts encoded by `letters.pieces`."""
        present = ids != 0
        counts = present.sum(-1, keepdim=True)
        words = self.table(ids).sum(-2) / counts.clamp(min=1).sqrt() + self.places
        states = torch.cat([self.start.expand(len(ids), 1, -1), words], 1)
        empty = F.pad(counts[..., 0] == 0, (1, 0), value=False)
        states = self.layers(states, src_key_padding_mask=empty)
        return F.normalize(self.head(states[:, 0]).float(), dim=-1)
