"""A prior whose score is known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor, nn


class GaussianPrior:
    """Data ~ N(text, variance): the optimal epsilon is sigma (x_t - alpha text) / (alpha^2 variance + sigma^2).

    A twin can learn to shift the mean by `shift`.
    """

    num_views, resolution, normals = 4, 8, False
    alphas_cumprod = torch.linspace(0.999, 0.001, 1000)

    def __init__(self, variance: float, dtype: torch.dtype = torch.float32, pixel_latents: bool = False) -> None:
        self.variance, self.pixel_latents = variance, pixel_latents
        self.alphas_cumprod = self.alphas_cumprod.to(dtype)
        self.shift: Tensor | float = 0.0
        self.calls: list[int] = []  # the number of texts of each call

    def encode_prompt(self, prompt: str, negative: bool = False) -> Tensor:
        return torch.tensor(0.1)

    def encode_images(self, images: Tensor) -> Tensor:
        return 2 * images - 1

    def decode_latents(self, latents: Tensor) -> Tensor:
        return (latents / 2 + 0.5).clamp(0, 1)

    def adapt(self, rank: int) -> tuple[GaussianPrior, list[nn.Parameter]]:
        twin = copy(self)
        twin.calls, twin.shift = [], nn.Parameter(torch.zeros((), dtype=self.alphas_cumprod.dtype))
        return twin, [twin.shift]

    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, texts: Sequence[Tensor], cameras: object, backgrounds: object
    ) -> list[Tensor]:
        self.calls.append(len(texts))
        abar = self.alphas_cumprod[timesteps][:, None, None, None]
        spread = abar * self.variance + 1 - abar
        return [(1 - abar).sqrt() * (noisy - abar.sqrt() * (text + self.shift)) / spread for text in texts]
