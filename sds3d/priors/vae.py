"""The autoencoder of a latent diffusion model: images to latents and back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sds3d.priors.vae_cuda import CudaEncoder, can_encode

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


class Vae:
    """A frozen AutoencoderKL; latents are scaled to about unit variance, as the diffusion model expects."""

    def __init__(self, model: AutoencoderKL, batch: int = 0) -> None:
        """`batch` images are encoded at once, 0 means all; parts need less memory and are encoded twice."""
        self.model = model.requires_grad_(False).eval()
        self.batch = batch
        self.scale = float(model.config.scaling_factor)
        self.shift = float(model.config.shift_factor or 0.0)
        self.moments = CudaEncoder(model) if can_encode(model) else partial(plain_moments, model)

    @property
    def factor(self) -> int:
        """The number of pixels per latent along one side."""
        return 2 ** (len(self.model.config.block_out_channels) - 1)

    def encode(self, images: Tensor) -> Tensor:
        """Latents [C, Z, h, w] float32 of images [C, 3, H, W] in [0, 1], differentiable.

        They are the mean of the posterior, so an image has one latent. MVDream and threestudio sample the posterior,
        whose standard deviation is far below any noise level.
        """
        if not self.batch or len(images) <= self.batch:
            return self._latents(images)
        parts = images.split(self.batch)
        # activations are recomputed in the backward pass, for one part at a time
        return torch.cat([checkpoint(self._latents, x, use_reentrant=False, preserve_rng_state=False) for x in parts])

    def decode(self, latents: Tensor) -> Tensor:
        """Images [C, 3, H, W] float32 in [0, 1] of latents [C, Z, h, w]."""
        scaled = (latents / self.scale + self.shift).to(self.model.dtype)
        images = [self.model.decode(x).sample.float() for x in scaled.split(self.batch or len(scaled))]
        return (torch.cat(images) / 2 + 0.5).clamp(0, 1)

    def _latents(self, images: Tensor) -> Tensor:
        inputs = (2 * images - 1).to(self.model.dtype).contiguous(memory_format=torch.channels_last)
        mean = self.moments(inputs).chunk(2, 1)[0]
        return (mean.float() - self.shift) * self.scale


def plain_moments(model: AutoencoderKL, inputs: Tensor) -> Tensor:
    """Mean and log variance [C, 2 Z, h, w] of the posterior of `inputs` [C, 3, H, W] in [-1, 1]."""
    encoded = model.encoder(inputs)
    return encoded if model.quant_conv is None else model.quant_conv(encoded)
