"""Score distillation via inversion: SDS with noise from the DDIM inversion of the render, not random noise."""

from __future__ import annotations

import math

from torch import Generator, Tensor

from sds3d.distillation.calls import Calls
from sds3d.distillation.detached import detached
from sds3d.distillation.diffusion import (
    as_image,
    ddim_step,
    draw_noise,
    inversion_levels,
    noise_level,
    predict_guided,
)
from sds3d.interfaces import Condition, Prior


@detached
def sdi(
    prior: Prior,
    latents: Tensor,  # [C, Z, h, w]
    timesteps: Tensor,  # [C] long, equal within an orbit
    condition: Condition,
    generator: Generator,
    *,
    guidance_scale: float,
    inversion_guidance_scale: float,
    inversion_steps: int,
    eta: float,
) -> Tensor:
    """Gradient latents - x0, where x0 is the prior's clean prediction from the inverted latents; [C, Z, h, w].

    SDI (arXiv:2405.15891): SDS, (sigma / alpha) (guided - noise), with noise = (x_t - alpha latents) / sigma from x_t,
    the DDIM inversion of the render with negative guidance. `inversion_steps` is the number of steps up to T; fewer
    reach t. Each step adds `eta` times the noise that the reverse DDIM step would add (arXiv:2010.02502, eq. 16), as in
    the authors' code. The render is taken as the sample at timestep 0.
    """
    noisy = latents
    for now, after in inversion_levels(timesteps, math.ceil(len(prior.alphas_cumprod) / inversion_steps)):
        noise = predict_guided(prior, noisy, now, condition, inversion_guidance_scale)
        noisy = ddim_step(prior, noisy, noise, now, after)
        noisy = noisy + eta * ddim_spread(prior, now, after) * draw_noise(latents, generator)
    alpha, sigma = noise_level(prior, timesteps)
    x0 = (noisy - sigma * predict_guided(prior, noisy, timesteps, condition, guidance_scale)) / alpha
    return latents - as_image(prior, x0)


def ddim_spread(prior: Prior, timesteps: Tensor, noisier_timesteps: Tensor) -> Tensor:
    """Standard deviation [C, 1, 1, 1] of the noise in a DDIM step to `timesteps` at eta 1; 0 if both are equal."""
    alpha, sigma = noise_level(prior, timesteps)
    noisier_alpha, noisier_sigma = noise_level(prior, noisier_timesteps)
    return sigma / noisier_sigma * (1 - (noisier_alpha / alpha).square()).sqrt()


def sdi_calls(inversion_steps: int, timestep: int, num_timesteps: int) -> Calls:
    """The network calls of `sdi`; `timestep`, of `num_timesteps`, is that of the noisiest orbit in the batch."""
    inversion = math.ceil(timestep / math.ceil(num_timesteps / inversion_steps))
    return Calls(inversion + 1, texts=2)
