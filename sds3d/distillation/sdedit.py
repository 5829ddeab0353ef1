"""SDEdit: the target is an image that the prior samples from the noised render in several DDIM steps."""

from __future__ import annotations

from itertools import pairwise

from torch import Generator, Tensor

from sds3d.distillation.detached import detached
from sds3d.distillation.diffusion import as_image, ddim_step, draw_noise, noise_level, predict_guided
from sds3d.interfaces import Condition, Prior


@detached
def sdedit(
    prior: Prior,
    latents: Tensor,  # [C, Z, h, w]
    timesteps: Tensor,  # [C] long, equal within an orbit
    condition: Condition,
    generator: Generator,
    *,
    guidance_scale: float,
    steps: int,
) -> Tensor:
    """Gradient latents - x0, where `steps` equal DDIM steps lead from the noised latents to x0; [C, Z, h, w].

    SDEdit (arXiv:2108.01073) as DreamGaussian uses it for textures (arXiv:2309.16653, eq. 4), here for the whole
    scene. With one step, x0 is the mean of all images consistent with the noisy one; with more it becomes one of them.
    """
    alpha, sigma = noise_level(prior, timesteps)
    noisy = alpha * latents + sigma * draw_noise(latents, generator)
    for now, after in pairwise(timesteps * k // steps for k in range(steps, -1, -1)):
        alpha, sigma = noise_level(prior, now)
        x0 = (noisy - sigma * predict_guided(prior, noisy, now, condition, guidance_scale)) / alpha
        x0 = as_image(prior, x0)
        noisy = ddim_step(prior, noisy, (noisy - alpha * x0) / sigma, now, after)  # with the noise that x0 implies
    return latents - x0
