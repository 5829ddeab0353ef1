"""MVDream (arXiv:2308.16512): four views at once, from stock diffusers networks with cross-view attention."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from sds3d.config.schema import MVDreamConfig
from sds3d.files import cache_folder
from sds3d.priors.checkpoints import build
from sds3d.priors.clip_text import load_text_encoder
from sds3d.priors.latent import LatentPrior
from sds3d.priors.multiview import attend_across_views
from sds3d.priors.mvdream.files import open_mvdream
from sds3d.priors.pretrained import choose_dtype
from sds3d.priors.schedule import make_schedule
from sds3d.priors.texts import PromptCache
from sds3d.priors.vae import Vae
from sds3d.priors.weights import Found

NUM_VIEWS = 4


class MultiViewUNet(nn.Module):
    """A diffusers U-Net that takes cameras as its class labels."""

    def __init__(self, unet: nn.Module, dtype: torch.dtype, num_views: int = NUM_VIEWS) -> None:
        super().__init__()
        attend_across_views(unet, num_views)
        self.unet, self.dtype = unet, dtype

    def forward(self, batch: Tensor, timesteps: Tensor, texts: Tensor, cameras: Tensor) -> Tensor:
        """Predicted noise [B, Z, h, w] float32; the views of an orbit are adjacent in the batch."""
        batch, texts, cameras = (x.to(self.dtype) for x in (batch, texts, cameras))
        return self.unet(batch, timesteps, texts, class_labels=cameras, return_dict=False)[0].float()


def load_mvdream(cfg: MVDreamConfig, found: Found, device: torch.device) -> LatentPrior:
    """The multi-view prior in `found`, which may have any of the supported layouts."""
    files = open_mvdream(found.path)
    dtype = choose_dtype(cfg.dtype, device.type)
    vae = Vae(build(files.vae, device, dtype), cfg.vae_batch)
    texts = PromptCache(
        partial(load_text_encoder, files.text, files.tokenizer, device),
        cache_folder() / "prompts" / found.id,
        device,
        dtype,
    )
    return LatentPrior(
        MultiViewUNet(build(files.unet, device, dtype), dtype),
        vae,
        make_schedule(files.scheduler),
        texts,
        num_views=NUM_VIEWS,
        resolution=vae.factor * files.sample_size,
        compiles=cfg.compile,
        device=device,
    )
