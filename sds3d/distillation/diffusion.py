"""The diffusion algebra that all estimators share: noise levels, noise, guidance, DDIM steps, clipping to an image.

| variable           | symbol                          | meaning                                                      |
|--------------------|---------------------------------|--------------------------------------------------------------|
| `latents`          | x_0                             | encoded renders [C, Z, h, w]                                 |
| `timesteps`        | t                               | noise level of each view, an index into `alphas_cumprod`     |
| `alphas_cumprod`   | alpha_t^2                       | variance of the signal; bar-alpha_t in DDPM, alpha_t in DDIM |
| `alpha`, `sigma`   | alpha_t, sigma_t                | alpha_t^2 + sigma_t^2 = 1                                    |
| `noise`            | eps                             | standard normal noise                                        |
| `noisy`            | x_t = alpha_t x_0 + sigma_t eps | noised latents                                               |
| `text`, `negative` | eps(x_t, y), eps(x_t, y-)       | noise predicted under the prompt, the negative one           |
| `guided`           | eps(y-) + s (eps(y) - eps(y-))  | classifier-free guidance of scale s                          |
| `x0`               | (x_t - sigma_t eps) / alpha_t   | predicted clean latents                                      |
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Generator, Tensor

from sds3d.interfaces import Condition, Prior


class NoiseLevels(Protocol):
    """An object with noise levels: a prior or its schedule."""

    @property
    def alphas_cumprod(self) -> Tensor:
        """alpha^2 of each timestep, [T], decreasing."""
        ...


def noise_level(prior: NoiseLevels, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma, [C, 1, 1, 1] each, at `timesteps` [C]: noisy = alpha x0 + sigma noise."""
    alphas_cumprod = prior.alphas_cumprod.to(timesteps.device)[timesteps][:, None, None, None]
    return alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()


def draw_noise(latents: Tensor, generator: Generator) -> Tensor:
    """Standard normal noise with the shape, dtype and device of `latents`, sampled on the generator's device."""
    return torch.randn(latents.shape, generator=generator, device=generator.device).to(latents)


def predict(prior: Prior, noisy: Tensor, timesteps: Tensor, condition: Condition, *texts: Tensor) -> list[Tensor]:
    """Predicted noise [C, Z, h, w] for each of `texts`, from one call of the prior.

    Infinities become nan, since clipping to the range of an image would turn them into valid targets.
    """
    predictions = prior.predict_noise(noisy, timesteps, texts, condition.cameras, condition.backgrounds)
    return [prediction.masked_fill(prediction.isinf(), torch.nan) for prediction in predictions]


def guide(text: Tensor, negative: Tensor, guidance_scale: float) -> Tensor:
    """Classifier-free guidance (arXiv:2207.12598): `negative` + s (`text` - `negative`), [C, Z, h, w]."""
    return negative + guidance_scale * (text - negative)


def predict_guided(
    prior: Prior, noisy: Tensor, timesteps: Tensor, condition: Condition, guidance_scale: float
) -> Tensor:
    """Predicted noise [C, Z, h, w] with classifier-free guidance from the negative prompt to the prompt."""
    text, negative = predict(prior, noisy, timesteps, condition, condition.prompts.positive, condition.prompts.negative)
    return guide(text, negative, guidance_scale)


def as_image(prior: Prior, latents: Tensor) -> Tensor:
    """`latents` [C, Z, h, w], clipped to the range of an image if the latents are pixels.

    Static thresholding (Imagen, arXiv:2205.11487, section 2.3).
    """
    return prior.encode_images(prior.decode_latents(latents)) if prior.pixel_latents else latents


def as_image_gradient(prior: Prior, latents: Tensor, gradient: Tensor) -> Tensor:
    """`gradient` [C, Z, h, w]; if the latents are pixels, clipped so that `latents - gradient` is a valid image."""
    return latents - as_image(prior, latents - gradient) if prior.pixel_latents else gradient


def inversion_levels(timesteps: Tensor, stride: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs (current, next) of timesteps [C] from 0 to `timesteps` in steps of `stride`; each view stops at its own."""
    for begin in range(0, int(timesteps.max()), stride):
        yield timesteps.clamp(max=begin), timesteps.clamp(max=begin + stride)


def ddim_step(prior: Prior, noisy: Tensor, noise: Tensor, timesteps: Tensor, next_timesteps: Tensor) -> Tensor:
    """`noisy` [C, Z, h, w] moved along its predicted `noise` to `next_timesteps`, without new noise.

    DDIM (arXiv:2010.02502), eq. 12 with sigma_t = 0. A step toward more noise is DDIM inversion.
    """
    alpha, sigma = noise_level(prior, timesteps)
    next_alpha, next_sigma = noise_level(prior, next_timesteps)
    return next_alpha * (noisy - sigma * noise) / alpha + next_sigma * noise
