"""Score distillation in its x0-target form."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sds3d.distillation.diffusion import as_image, draw_noise, guide, noise_level, predict
from sds3d.interfaces import Condition, Prior


@torch.no_grad()
def sds(
    prior: Prior,
    latents: Tensor,  # [C, Z, h, w]
    timesteps: Tensor,  # [C] long, equal within an orbit
    condition: Condition,
    generator: Generator,
    *,
    guidance_scale: float,
    rescale: float,
    clip: bool,
) -> Tensor:
    """Gradient latents - x0, where x0 is what the prior makes of the noised latents; [C, Z, h, w].

    SDS (DreamFusion, arXiv:2209.14988, eq. 3) with w(t) = sigma / alpha is the gradient of 0.5 |latents - sg(x0)|^2
    (MVDream, arXiv:2308.16512, section 3.4), for latents - x0 = (sigma / alpha) (eps_hat - noise). Rescale:
    arXiv:2305.08891, eq. 15-16, over all views of an orbit.
    """
    alpha, sigma = noise_level(prior, timesteps)
    noisy = alpha * latents + sigma * draw_noise(latents, generator)
    text, negative = predict(prior, noisy, timesteps, condition, condition.text, condition.negative_text)
    x0 = (noisy - sigma * guide(text, negative, guidance_scale)) / alpha
    if rescale:
        x0 = rescale_guidance(x0, (noisy - sigma * text) / alpha, prior.num_views, rescale)
    return latents - (as_image(prior, x0) if clip else x0)


def rescale_guidance(guided: Tensor, conditional: Tensor, num_views: int, amount: float) -> Tensor:
    """`guided` [C, Z, h, w] moved by `amount` towards the spread of `conditional`, one factor for each orbit."""
    orbits = guided.reshape(-1, num_views, *guided.shape[1:])
    spread = conditional.reshape(orbits.shape).std((1, 2, 3, 4), keepdim=True) / (
        orbits.std((1, 2, 3, 4), keepdim=True) + 1e-8
    )
    return (orbits * (amount * spread + 1 - amount)).reshape(guided.shape)
