"""Score distillation sampling, in the x0 form (a pull toward the predicted x0) or the original epsilon form."""

from __future__ import annotations

from typing import Literal

from torch import Generator, Tensor

from sds3d.distillation.detached import detached
from sds3d.distillation.diffusion import as_image, draw_noise, guide, noise_level, predict
from sds3d.interfaces import Condition, Prior


@detached
def sds(
    prior: Prior,
    latents: Tensor,  # [C, Z, h, w]
    timesteps: Tensor,  # [C] long, equal within an orbit
    condition: Condition,
    generator: Generator,
    *,
    form: Literal["x0", "epsilon"],
    guidance_scale: float,
    rescale: float,
) -> Tensor:
    """Gradient w(t) (guided(x_t) - noise); [C, Z, h, w]. Form x0: w = sigma / alpha, form epsilon: w = sigma^2.

    SDS (DreamFusion, arXiv:2209.14988, eq. 3). With w = sigma / alpha it is latents - x0, where x0 is the prior's
    clean prediction, and so the gradient of 0.5 |latents - sg(x0)|^2 (MVDream, arXiv:2308.16512, section 3.4).
    `rescale`: arXiv:2305.08891, eq. 15-16, over all views of an orbit; applies to form x0 only.
    """
    alpha, sigma = noise_level(prior, timesteps)
    noise = draw_noise(latents, generator)
    noisy = alpha * latents + sigma * noise
    text, negative = predict(prior, noisy, timesteps, condition, condition.prompts.positive, condition.prompts.negative)
    guided = guide(text, negative, guidance_scale)
    if form == "epsilon":
        target = latents - sigma.square() * (guided - noise)
    else:
        target = (noisy - sigma * guided) / alpha
        if rescale:
            target = rescale_guidance(target, (noisy - sigma * text) / alpha, prior.num_views, rescale)
    return latents - as_image(prior, target)


def rescale_guidance(guided: Tensor, conditional: Tensor, num_views: int, amount: float) -> Tensor:
    """`guided` [C, Z, h, w] scaled by `amount` toward the standard deviation of `conditional`, one factor per orbit."""
    orbits = guided.reshape(-1, num_views, *guided.shape[1:])
    spread = conditional.reshape(orbits.shape).std((1, 2, 3, 4), keepdim=True) / (
        orbits.std((1, 2, 3, 4), keepdim=True) + 1e-8
    )
    return (orbits * (amount * spread + 1 - amount)).reshape(guided.shape)
