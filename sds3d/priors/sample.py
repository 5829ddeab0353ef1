"""What a prior draws by itself: DDIM sampling of all its views (Song et al., arXiv:2010.02502)."""

from __future__ import annotations

import torch
from torch import Tensor

from sds3d.cameras import Cameras
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

    Of a prior that draws normals too, the colours.
    """
    texts = [prior.encode_prompt(prompt), prior.encode_prompt(negative_prompt, negative=True)]
    alphas_cumprod = prior.alphas_cumprod
    shape = (len(cameras), 6 if prior.normals else 3, prior.resolution, prior.resolution)
    blank = prior.encode_images(torch.zeros(shape, device=alphas_cumprod.device))
    latents = torch.randn(blank.shape, generator=generator).to(blank)
    levels = torch.linspace(len(alphas_cumprod) - 1, 0, steps + 1).round().long().tolist()
    for t, t_next in zip(levels[:-1], levels[1:], strict=True):
        timesteps = torch.full((len(cameras),), t, device=latents.device)
        text, negative = prior.predict_noise(latents, timesteps, texts, cameras, backgrounds)
        noise = negative + guidance_scale * (text - negative)
        abar, abar_next = alphas_cumprod[t], alphas_cumprod[t_next]
        x0 = (latents - (1 - abar).sqrt() * noise) / abar.sqrt().clamp_min(1e-4)
        x0 = x0.clamp(-1.1, 1.1) if prior.pixel_latents else x0
        noise = (latents - abar.sqrt() * x0) / (1 - abar).sqrt()
        latents = abar_next.sqrt() * x0 + (1 - abar_next).sqrt() * noise if t_next else x0
    return prior.decode_latents(latents)[:, :3]
