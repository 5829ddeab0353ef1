"""Single-view priors with view-dependent prompts, and Perp-Neg, which steers away from the other views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sds3d.cameras import Cameras
from sds3d.priors.latent import LatentPrior

VIEWS = (", front view", ", side view", ", back view", ", overhead view")  # suffixes of a prompt
FRONT, SIDE, BACK, OVERHEAD = range(4)
OVERHEAD_ELEVATION = math.radians(60)


class SingleViewPrior(LatentPrior):
    """A latent diffusion model of single images that gets a view-dependent prompt for each camera."""

    def __init__(self, *args: Any, view_texts: bool, perp_neg: bool, **kwargs: Any) -> None:
        super().__init__(*args, num_views=1, **kwargs)
        self.view_texts, self.perp_neg = view_texts, perp_neg

    def encode_prompt(self, prompt: str, negative: bool = False) -> Tensor:
        """[4, L, D] of a prompt with each of VIEWS; [1, L, D] if it is negative or empty, or without view_texts."""
        if self.perp_neg:
            self.texts("")  # now, while the text encoder is loaded; predict_noise may need it
        if negative or not prompt or not self.view_texts:
            return self.texts(prompt)[None]
        return torch.stack([self.texts(prompt, view) for view in VIEWS])

    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, texts: Sequence[Tensor], cameras: Cameras, backgrounds: Tensor
    ) -> list[Tensor]:
        """Predicted noise [C, Z, h, w] for each text: [1, L, D] for all cameras, [4, L, D] for the side of each.

        With Perp-Neg the latter takes three rows of the batch, and is measured from the prediction under the first text
        for all cameras, or under the empty prompt if there is none.
        """
        groups = [self._rows(text, cameras) for text in texts]
        if all(len(group) > 1 for group in groups):
            groups.append(self._rows(self.texts("")[None], cameras))
        self.texts.release()
        rows = [row for group in groups for row in group]
        predictions = iter(self._predict_rows(noisy, timesteps, torch.cat(rows), cameras, len(rows)))
        predicted = [[next(predictions) for _ in group] for group in groups]
        bases = [group[0] for group in predicted if len(group) == 1]
        weights = perp_neg_weights(cameras)
        return [
            group[0] if len(group) == 1 else keep_away(bases[0], group[0], group[1], group[2], weights)
            for group in predicted[: len(texts)]
        ]

    def adapt(self, rank: int) -> tuple[LatentPrior, list[nn.Parameter]]:
        """A copy to train, without Perp-Neg: it learns what the renders look like."""
        twin, parameters = super().adapt(rank)
        assert isinstance(twin, SingleViewPrior)
        twin.perp_neg = False
        return twin, parameters

    def _rows(self, text: Tensor, cameras: Cameras) -> list[Tensor]:
        """The network's inputs for `text`, [C, L, D] each: one, or with Perp-Neg positive, front and side."""
        if len(text) == 1:
            return [text.expand(len(cameras), -1, -1)]
        if not self.perp_neg:
            return [text[seen_sides(cameras)]]
        positive = torch.einsum("cv,vld->cld", side_mixture(cameras), text.float()).to(text.dtype)
        return [positive, *(text[side].expand(len(cameras), -1, -1) for side in (FRONT, SIDE))]


def seen_sides(cameras: Cameras) -> Tensor:
    """The index in VIEWS of each camera, [C] long."""
    azimuths, overhead = _directions(cameras)
    sides = (azimuths >= math.pi / 4).long() + (azimuths > 3 * math.pi / 4).long()
    return sides.masked_fill(overhead, OVERHEAD)


def side_mixture(cameras: Cameras) -> Tensor:
    """Weights [C, 4] of the texts of VIEWS in the positive text of each camera, linear in azimuth between the sides."""
    azimuths, overhead = _directions(cameras)
    quarters = azimuths / (math.pi / 2)
    front, back = (1 - quarters).clamp_min(0), (quarters - 1).clamp_min(0)
    around = torch.stack([front, 1 - front - back, back, torch.zeros_like(front)], -1)
    above = torch.stack([torch.zeros_like(front)] * OVERHEAD + [torch.ones_like(front)], -1)
    return torch.where(overhead[:, None], above, around)


def perp_neg_weights(cameras: Cameras) -> Tensor:
    """Weights [2, C], at most 0, of the front and the side prompt; 0 from overhead.

    With -(a exp(-b r) + c) of the position r between two sides; the constants are those of common use.
    """
    azimuths, overhead = _directions(cameras)
    quarters = azimuths / (math.pi / 2)
    before, behind = 1 - quarters, 2 - quarters  # 1 at the front and at the side, 0 at the side and at the back
    front = torch.where(quarters < 1, _decay(4, 0.5, -2.426, before), _decay(1, 0.5, 0.967, behind))
    side = torch.where(quarters < 1, _decay(4, 0.5, -2.426, quarters), _decay(1, 0.5, -0.606, behind))
    return -torch.stack([front, side]).masked_fill(overhead, 0)


def keep_away(base: Tensor, positive: Tensor, front: Tensor, side: Tensor, weights: Tensor) -> Tensor:
    """The positive prediction [C, Z, h, w], plus `weights` [2, C] times the perpendicular parts of `front`, `side`.

    Perp-Neg (arXiv:2304.04968): base + e_pos + sum_i w_i (e_i - (<e_i, e_pos> / |e_pos|^2) e_pos), with e = prediction
    - base; the component that a negative text shares with the positive one is kept.
    """
    towards = positive - base
    length = towards.square().sum((1, 2, 3), keepdim=True).clamp_min(torch.finfo(towards.dtype).tiny)
    for negative, weight in zip((front, side), weights, strict=True):
        away = negative - base
        shared = (away * towards).sum((1, 2, 3), keepdim=True) / length
        positive = positive + weight[:, None, None, None] * (away - shared * towards)
    return positive


def _directions(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """How far each camera is from the front around z, [C] in [0, pi], and whether it looks from overhead, [C] bool."""
    x, y, z = cameras.positions.unbind(-1)
    return torch.atan2(y, x).abs(), torch.atan2(z, torch.hypot(x, y)) > OVERHEAD_ELEVATION


def _decay(a: float, b: float, c: float, position: Tensor) -> Tensor:
    return a * (-b * position).exp() + c
