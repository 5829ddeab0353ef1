"""Classifier score distillation: only the guidance term of SDS."""

from __future__ import annotations

from torch import Generator, Tensor

from sds3d.distillation.detached import detached
from sds3d.distillation.diffusion import as_image_gradient, draw_noise, noise_level, predict
from sds3d.interfaces import Condition, Prior


@detached
def csd(
    prior: Prior,
    latents: Tensor,  # [C, Z, h, w]
    timesteps: Tensor,  # [C] long, equal within an orbit
    condition: Condition,
    generator: Generator,
    *,
    guidance_scale: float,
) -> Tensor:
    """Gradient w(t) s (eps(text) - eps(negative)), with w(t) = sigma / alpha as in `sds`; [C, Z, h, w].

    CSD (arXiv:2310.19415): SDS is w(t) [(eps(negative) - noise) + s (eps(text) - eps(negative))]. CSD keeps only the
    second term, the score of the implicit classifier p(text | noisy). With a negative text this is the paper's form
    for negative prompts at equal weights.
    """
    alpha, sigma = noise_level(prior, timesteps)
    noisy = alpha * latents + sigma * draw_noise(latents, generator)
    text, negative = predict(prior, noisy, timesteps, condition, condition.prompts.positive, condition.prompts.negative)
    gradient = sigma / alpha * guidance_scale * (text - negative)
    return as_image_gradient(prior, latents, gradient)
