"""The pocket prior."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from sds3d.cameras import Cameras
from sds3d.native.graphs import CapturedCall
from sds3d.priors.lora import with_lora
from sds3d.priors.pocket import model
from sds3d.priors.pocket.text import TextEncoder
from sds3d.priors.schedule import Schedule
from sds3d.priors.weights import verify


def load_pocket(folder: Path, device: torch.device) -> PocketPrior:
    """The pocket prior in `folder`, its files checked."""
    verify(folder)
    return PocketPrior(folder, device)


class PocketPrior:
    """Four views of 64 x 64 pixels; its latents are the pixels themselves, folded two by two into Z = 4 I channels.

    Images have I = 3 channels, or 6 if it was trained with normals.
    """

    num_views = model.NUM_VIEWS
    resolution = model.RESOLUTION
    pixel_latents = True

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Load the folder that `sds3d prior train` wrote, or the shipped one."""
        self.device = device
        self.normals: bool = model.network_shape(folder)["normals"]
        unet = model.load_unet(folder)
        self.unet = unet.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
        self.encoder = TextEncoder(folder / "text_encoder").to(device)
        alphas_cumprod = model.cumulative_alphas()
        levels = torch.arange(len(alphas_cumprod)).float()
        self.schedule = Schedule(alphas_cumprod, "v_prediction", levels).to(device)
        self.texts: dict[str, Tensor] = {}
        # On a GPU, kernel launches dominate the time; a CUDA graph replaces them by one launch.
        self.predict_v = CapturedCall(self._predict_v) if device.type == "cuda" else self._predict_v

    @property
    def alphas_cumprod(self) -> Tensor:
        """[T] float32."""
        return self.schedule.alphas_cumprod

    @torch.no_grad()
    def encode_prompt(self, prompt: str, negative: bool = False) -> Tensor:
        """Context tokens [L, D], negative or not; `words.unread_end` is not read."""
        if prompt not in self.texts:
            self.texts[prompt] = self.encoder(self.encoder.tokenize([prompt]).to(self.device))[0]
        return self.texts[prompt]

    def encode_images(self, images: Tensor) -> Tensor:
        """Latents [C, Z, 32, 32] in [-1, 1] of images [C, I, 64, 64] in [0, 1]."""
        return model.images_to_latents(images)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Images [C, I, 64, 64] in [0, 1] of latents [C, Z, 32, 32]."""
        return model.latents_to_images(latents)

    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, texts: Sequence[Tensor], cameras: Cameras, backgrounds: Tensor
    ) -> list[Tensor]:
        """Predicted noise [C, Z, 32, 32] for each text, in one batch."""
        repeats, views = len(texts), len(noisy)
        context = torch.cat([text.expand(views, -1, -1) for text in texts])
        condition = model.condition_vectors(cameras, backgrounds).repeat(repeats, 1)
        batch, levels = self.schedule.network_input(noisy, timesteps)
        batch = batch.repeat(repeats, 1, 1, 1).contiguous(memory_format=torch.channels_last)
        v = self.predict_v(batch, levels.repeat(repeats), context, condition)
        assert isinstance(v, Tensor)
        return [self.schedule.noise(v_text, noisy, timesteps) for v_text in v.chunk(repeats)]

    def adapt(self, rank: int) -> tuple[PocketPrior, list[nn.Parameter]]:
        """A copy that shares all weights and adds LoRA corrections, initially zero, and their parameters to train."""
        twin = copy(self)
        twin.unet, parameters = with_lora(self.unet, rank)
        twin.predict_v = twin._predict_v  # not recorded as a CUDA graph, which has no gradient
        return twin, parameters

    def _predict_v(self, batch: Tensor, levels: Tensor, context: Tensor, condition: Tensor) -> Tensor:
        """The network's v prediction [B, Z, 32, 32] float32; computed in bfloat16 on a GPU."""
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        with torch.autocast(self.device.type, dtype, enabled=self.device.type == "cuda"):
            return self.unet(batch, levels, context, condition).float()
