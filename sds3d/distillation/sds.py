"""Score distillation in its x0-target form."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

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
    (MVDream, arXiv:2308.16512, section 3.4), for latents - x0 = (sigma / alpha) (eps_hat - noise). Guidance:
    arXiv:2207.12598, as uncond + s (cond - uncond). Rescale: arXiv:2305.08891, eq. 15-16, over all views of an orbit.
    Clipping is Imagen's static thresholding (arXiv:2205.11487, section 2.3).
    """
    alphas_cumprod = prior.alphas_cumprod.to(latents.device)[timesteps][:, None, None, None]
    alpha, sigma = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    noise = torch.randn(latents.shape, generator=generator).to(latents)  # drawn on the CPU: equal on every device
    noisy = alpha * latents + sigma * noise
    texts = [condition.text, condition.negative_text]
    text, negative = prior.predict_noise(noisy, timesteps, texts, condition.cameras, condition.backgrounds)
    guided = negative + guidance_scale * (text - negative)
    x0 = (noisy - sigma * guided) / alpha
    if rescale:
        x0 = rescale_guidance(x0, (noisy - sigma * text) / alpha, prior.num_views, rescale)
    if clip:
        x0 = prior.encode_images(prior.decode_latents(x0))
    return latents - x0


def rescale_guidance(guided: Tensor, conditional: Tensor, num_views: int, amount: float) -> Tensor:
    """`guided` [C, Z, h, w] moved by `amount` towards the spread of `conditional`, one factor for each orbit."""
    orbits = guided.reshape(-1, num_views, *guided.shape[1:])
    spread = conditional.reshape(orbits.shape).std((1, 2, 3, 4), keepdim=True) / (
        orbits.std((1, 2, 3, 4), keepdim=True) + 1e-8
    )
    return (orbits * (amount * spread + 1 - amount)).reshape(guided.shape)
