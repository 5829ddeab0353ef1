"""Latent diffusion models as priors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from sds3d.cameras import Cameras, pose_vectors
from sds3d.native.graphs import CapturedCall
from sds3d.priors.compiled import compiled
from sds3d.priors.lora import with_lora
from sds3d.priors.schedule import Schedule
from sds3d.priors.texts import PromptCache
from sds3d.priors.vae import Vae


class LatentPrior:
    """A frozen denoising network with its autoencoder, noise schedule and prompt encoder.

    The network is a module (batch [B, Z, h, w] float32, timesteps [B] float32, texts [B, L, D], cameras [B, 16]
    float32) -> [B, Z, h, w] float32; networks without camera conditioning ignore the cameras. The views of an orbit
    are adjacent in the batch.
    """

    pixel_latents = False
    normals = False

    def __init__(
        self,
        network: nn.Module,
        vae: Vae,
        schedule: Schedule,
        texts: PromptCache,
        *,
        num_views: int,
        resolution: int,
        compiles: bool,
        device: torch.device,
    ) -> None:
        self.network, self.vae, self.texts = network, vae, texts
        self.schedule = schedule.to(device)
        self.num_views, self.resolution = num_views, resolution
        self.predict: Callable[..., Any] = network
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # shapes are fixed, so searching for the fastest algorithm pays off
            if compiles:
                self.predict = compiled(network)
            self.predict = CapturedCall(self.predict)

    @property
    def alphas_cumprod(self) -> Tensor:
        """alpha^2 of each timestep, [T] float32."""
        return self.schedule.alphas_cumprod

    def encode_prompt(self, prompt: str, negative: bool = False) -> Tensor:
        """The encoded prompt [1, L, D], for all views; `negative` makes no difference."""
        return self.texts(prompt)[None]

    def encode_images(self, images: Tensor) -> Tensor:
        """Latents [C, Z, h, w] of images [C, 3, R, R] in [0, 1]."""
        return self.vae.encode(images)

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Images [C, 3, R, R] in [0, 1] of latents [C, Z, h, w]."""
        return self.vae.decode(latents)

    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, texts: Sequence[Tensor], cameras: Cameras, backgrounds: Tensor
    ) -> list[Tensor]:
        """Predicted noise [C, Z, h, w] for each text, in one batch."""
        self.texts.release()
        repeats = len(texts)
        tokens = torch.cat([text.expand(len(noisy), -1, -1) for text in texts])
        return self._predict_rows(noisy, timesteps, tokens, cameras, repeats)

    def _predict_rows(
        self, noisy: Tensor, timesteps: Tensor, tokens: Tensor, cameras: Cameras, repeats: int
    ) -> list[Tensor]:
        """A list of `repeats` noise predictions [C, Z, h, w] under `tokens` [repeats * C, L, D]."""
        batch, network_timesteps = self.schedule.network_input(noisy, timesteps)
        vectors = pose_vectors(cameras).repeat(repeats, 1)
        output = self.predict(batch.repeat(repeats, 1, 1, 1), network_timesteps.repeat(repeats), tokens, vectors)
        return [self.schedule.noise(x, noisy, timesteps) for x in output.chunk(repeats)]

    def adapt(self, rank: int) -> tuple[LatentPrior, list[nn.Parameter]]:
        """A copy that shares all weights and adds LoRA corrections, initially zero, and their parameters to train."""
        twin = copy(self)
        twin.network, parameters = with_lora(self.network, rank)
        twin.predict = twin.network
        return twin, parameters
