"""Interval score matching: compares two noise levels on the DDIM inversion of the render; adds no random noise."""

from __future__ import annotations

import math

from torch import Generator, Tensor

from sds3d.distillation.calls import Calls
from sds3d.distillation.detached import detached
from sds3d.distillation.diffusion import (
    as_image_gradient,
    ddim_step,
    inversion_levels,
    noise_level,
    predict,
    predict_guided,
)
from sds3d.interfaces import Condition, Prior


@detached
def ism(
    prior: Prior,
    latents: Tensor,  # [C, Z, h, w]
    timesteps: Tensor,  # [C] long, equal within an orbit
    condition: Condition,
    generator: Generator,  # unused: ISM is deterministic
    *,
    guidance_scale: float,
    delta_s: float,
    delta_t: float,
) -> Tensor:
    """Gradient w(t) (guided(x_t) - eps(x_s, negative)), s = t - delta_t, w(t) = sigma / alpha; [C, Z, h, w].

    ISM (LucidDreamer, arXiv:2311.11284, algorithm 1): x_s is the DDIM inversion of the render under the negative text
    in steps of `delta_s`; x_t is one more step of `delta_t`. Both steps are fractions of T. The render is taken as the
    sample at timestep 0. w(t) follows the authors' code.
    """
    count = len(prior.alphas_cumprod)
    previous = (timesteps - max(1, round(delta_t * count))).clamp_min(0)
    noisy = latents
    for now, after in inversion_levels(previous, max(1, round(delta_s * count))):
        (noise,) = predict(prior, noisy, now, condition, condition.prompts.negative)
        noisy = ddim_step(prior, noisy, noise, now, after)
    (noise,) = predict(prior, noisy, previous, condition, condition.prompts.negative)
    noisy = ddim_step(prior, noisy, noise, previous, timesteps)
    guided = predict_guided(prior, noisy, timesteps, condition, guidance_scale)
    alpha, sigma = noise_level(prior, timesteps)
    gradient = sigma / alpha * (guided - noise)
    return as_image_gradient(prior, latents, gradient)


def ism_calls(delta_s: float, delta_t: float, timestep: int, num_timesteps: int) -> Calls:
    """The network calls of `ism`; `timestep`, of `num_timesteps`, is that of the noisiest orbit in the batch."""
    previous = max(0, timestep - max(1, round(delta_t * num_timesteps)))
    inversion = math.ceil(previous / max(1, round(delta_s * num_timesteps)))
    return Calls(inversion + 2, texts=2)  # plus one call at each end of the interval
