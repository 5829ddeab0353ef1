"""The pocket network: its sizes, its schedule, its conditioning, and how it is stored."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from sds3d.cameras import Cameras
from sds3d.priors.multiview import attend_across_views
from sds3d.priors.pocket.quantize import load_int8, save_int8
from sds3d.priors.pocket.text import WIDTH

NUM_VIEWS = 4
RESOLUTION = 64  # pixels
NUM_TIMESTEPS = 1000
PATCH = 2  # pixels that pixel_unshuffle folds into channels


def build_unet(channels: tuple[int, ...] = (96, 192, 256), layers: int = 1) -> UNet2DConditionModel:
    """An untrained network; attention starts one level below the top, where it is affordable on a CPU."""
    rest = ("CrossAttn",) * (len(channels) - 1)
    unet = UNet2DConditionModel(
        sample_size=RESOLUTION // PATCH,
        in_channels=3 * PATCH**2,
        out_channels=3 * PATCH**2,
        block_out_channels=channels,
        layers_per_block=layers,
        down_block_types=("DownBlock2D", *(f"{kind}DownBlock2D" for kind in rest)),
        up_block_types=(*(f"{kind}UpBlock2D" for kind in rest), "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
        norm_num_groups=32 if channels[0] % 32 == 0 else channels[0] // 2,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=19,
    )
    attend_across_views(unet, NUM_VIEWS)
    return unet


def build_scheduler() -> DDIMScheduler:
    """Cosine noise levels (Nichol and Dhariwal, arXiv:2102.09672), v-prediction (Salimans and Ho, arXiv:2202.00512)."""
    return DDIMScheduler(
        num_train_timesteps=NUM_TIMESTEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )


def condition_vectors(cameras: Cameras, backgrounds: Tensor) -> Tensor:
    """What the network knows of a view [C, 19]: camera-to-world (OpenGL axes, unit translation, row-major), background.

    The camera part is MVDream's (arXiv:2308.16512). `backgrounds` [C, 3] in [0, 1] are given so that the network need
    not guess which pixels are empty.
    """
    camtoworlds = cameras.camtoworlds.clone()
    camtoworlds[:, :3, 1:3] *= -1  # OpenCV to OpenGL axes
    camtoworlds[:, :3, 3] = torch.nn.functional.normalize(camtoworlds[:, :3, 3], dim=-1)
    return torch.cat([camtoworlds.flatten(1), 2 * backgrounds.to(camtoworlds) - 1], 1)


def images_to_latents(images: Tensor) -> Tensor:
    """[C, 3, H, W] in [0, 1] -> [C, 12, H / 2, W / 2] in [-1, 1]; linear and lossless."""
    return torch.nn.functional.pixel_unshuffle(2 * images - 1, PATCH)


def latents_to_images(latents: Tensor) -> Tensor:
    """The inverse of `images_to_latents`, clamped to [0, 1]."""
    return (torch.nn.functional.pixel_shuffle(latents, PATCH) / 2 + 0.5).clamp(0, 1)


def save_unet(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write `folder`/unet and `folder`/scheduler in the diffusers layout, weights in eight bits."""
    (folder / "unet").mkdir(parents=True, exist_ok=True)
    unet.save_config(folder / "unet")
    save_int8(unet.state_dict(), folder / "unet" / "weights.int8.safetensors")
    build_scheduler().save_pretrained(folder / "scheduler")


def load_unet(folder: Path) -> UNet2DConditionModel:
    """The network stored by `save_unet`, float32, in eval mode, attending across views."""
    config = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    unet = UNet2DConditionModel.from_config(config)
    unet.load_state_dict(load_int8(folder / "unet" / "weights.int8.safetensors"))
    attend_across_views(unet, NUM_VIEWS)
    return unet.requires_grad_(False).eval()
