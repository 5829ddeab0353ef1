"""DDIM sampling of all views of a prior (Song et al., arXiv:2010.02502)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from sds3d.cameras import Cameras
from sds3d.distillation.diffusion import guide, noise_level
from sds3d.interfaces import Prior


@torch.no_grad()
def sample_views(
    prior: Prior,
    prompt: str,
    negative_prompt: str,
    cameras: Cameras,
    backgrounds: Tensor,
    generator: torch.Generator,
    guidance_scale: float = 5.0,
    steps: int = 30,
) -> Tensor:
    """Images [C, 3, H, W] in [0, 1] of `prompt` seen by `cameras`, over `backgrounds` [C, 3]; eta is 0.

    For a prior with normals, returns the colors only.
    """
    texts = [prior.encode_prompt(prompt), prior.encode_prompt(negative_prompt, negative=True)]
    shape = (len(cameras), 6 if prior.normals else 3, prior.resolution, prior.resolution)
    blank = prior.encode_images(torch.zeros(shape, device=prior.alphas_cumprod.device))
    latents = torch.randn(blank.shape, generator=generator).to(blank)
    steps_down = torch.linspace(len(prior.alphas_cumprod) - 1, 0, steps + 1).round().long()
    for timestep, next_timestep in pairwise(steps_down.to(latents.device)):
        timesteps, next_timesteps = (t.expand(len(cameras)) for t in (timestep, next_timestep))
        alpha, sigma = noise_level(prior, timesteps)
        text, negative = prior.predict_noise(latents, timesteps, texts, cameras, backgrounds)
        x0 = (latents - sigma * guide(text, negative, guidance_scale)) / alpha.clamp_min(1e-4)
        x0 = x0.clamp(-1.1, 1.1) if prior.pixel_latents else x0
        noise = (latents - alpha * x0) / sigma  # the noise that x0 implies
        next_alpha, next_sigma = noise_level(prior, next_timesteps)
        latents = next_alpha * x0 + next_sigma * noise
    return prior.decode_latents(x0)[:, :3]
