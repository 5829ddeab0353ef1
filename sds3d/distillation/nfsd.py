"""Noise-free score distillation: SDS without the part of the prediction that only reproduces the added noise."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sds3d.distillation.detached import detached
from sds3d.distillation.diffusion import as_image_gradient, draw_noise, noise_level, predict
from sds3d.interfaces import Condition, Prior


@detached
def nfsd(
    prior: Prior,
    latents: Tensor,  # [C, Z, h, w]
    timesteps: Tensor,  # [C] long, equal within an orbit
    condition: Condition,
    generator: Generator,
    *,
    guidance_scale: float,
    t_switch: float,
) -> Tensor:
    """Gradient w(t) (domain + s (eps(text) - eps(null))), with w(t) = sigma / alpha as in `sds`; [C, Z, h, w].

    NFSD (arXiv:2310.17590): the domain term points toward natural images. Below the fraction `t_switch` of T it is
    eps(null). Above it is eps(null) - eps(negative), since eps(null) alone would be mostly noise. "null" is the empty
    prompt, "negative" a description of bad images.
    """
    alpha, sigma = noise_level(prior, timesteps)
    noisy = alpha * latents + sigma * draw_noise(latents, generator)
    texts = (condition.prompts.positive, condition.prompts.null, condition.prompts.negative)
    text, null, negative = predict(prior, noisy, timesteps, condition, *texts)
    little_noise = (timesteps < t_switch * len(prior.alphas_cumprod))[:, None, None, None]
    domain = torch.where(little_noise, null, null - negative)
    gradient = sigma / alpha * (domain + guidance_scale * (text - null))
    return as_image_gradient(prior, latents, gradient)
