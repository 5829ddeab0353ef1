"""What the estimators share: noise levels, noise, guidance, DDIM steps, the limits of an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Generator, Tensor

from sds3d.interfaces import Condition, Prior


class NoiseLevels(Protocol):
    """What has noise levels: a prior, or the schedule of one."""

    @property
    def alphas_cumprod(self) -> Tensor:
        """[T], alpha^2, falling."""
        ...


def noise_level(prior: NoiseLevels, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma [C, 1, 1, 1] of `timesteps` [C]: noisy = alpha x0 + sigma noise."""
    alphas_cumprod = prior.alphas_cumprod.to(timesteps.device)[timesteps][:, None, None, None]
    return alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()


def draw_noise(latents: Tensor, generator: Generator) -> Tensor:
    """Standard normal noise like `latents`, drawn on the generator's device."""
    return torch.randn(latents.shape, generator=generator, device=generator.device).to(latents)


def predict(prior: Prior, noisy: Tensor, timesteps: Tensor, condition: Condition, *texts: Tensor) -> list[Tensor]:
    """Predicted noise [C, Z, h, w] for each of `texts`, from one call of the prior."""
    return prior.predict_noise(noisy, timesteps, texts, condition.cameras, condition.backgrounds)


def guide(text: Tensor, negative: Tensor, guidance_scale: float) -> Tensor:
    """The prediction `negative` + s (`text` - `negative`); classifier-free guidance, arXiv:2207.12598."""
    return negative + guidance_scale * (text - negative)


def predict_guided(
    prior: Prior, noisy: Tensor, timesteps: Tensor, condition: Condition, guidance_scale: float
) -> Tensor:
    """Predicted noise [C, Z, h, w] under the text, away from the negative text."""
    text, negative = predict(prior, noisy, timesteps, condition, condition.prompts.positive, condition.prompts.negative)
    return guide(text, negative, guidance_scale)


def as_image(prior: Prior, latents: Tensor) -> Tensor:
    """`latents` clipped to the range of an image if they are pixels, else unchanged.

    Static thresholding (Imagen, arXiv:2205.11487, section 2.3).
    """
    return prior.encode_images(prior.decode_latents(latents)) if prior.pixel_latents else latents


def as_image_gradient(prior: Prior, latents: Tensor, gradient: Tensor) -> Tensor:
    """`gradient` [C, Z, h, w], shortened if latents are pixels so that `latents - gradient` stays an image."""
    return latents - as_image(prior, latents - gradient) if prior.pixel_latents else gradient


def inversion_levels(timesteps: Tensor, stride: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs (now, next) of timesteps [C] from 0 up to `timesteps`, `stride` apart; who has arrived stays there."""
    for begin in range(0, int(timesteps.max()), stride):
        yield timesteps.clamp(max=begin), timesteps.clamp(max=begin + stride)


def ddim_step(prior: Prior, noisy: Tensor, noise: Tensor, timesteps: Tensor, next_timesteps: Tensor) -> Tensor:
    """`noisy` [C, Z, h, w] moved along its predicted `noise` to `next_timesteps`, without new noise.

    DDIM (arXiv:2010.02502), eq. 12 with sigma_t = 0; towards more noise it is DDIM inversion.
    """
    alpha, sigma = noise_level(prior, timesteps)
    next_alpha, next_sigma = noise_level(prior, next_timesteps)
    return next_alpha * (noisy - sigma * noise) / alpha + next_sigma * noise
