"""The pocket network: sizes, noise schedule, conditioning and storage."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sds3d.cameras import STANDARD_DISTANCE, STANDARD_FOV_DEG, Cameras, pose_vectors
from sds3d.files import read_json
from sds3d.priors.pocket.text import WIDTH
from sds3d.priors.pocket.unet import CONDITION, HEADS, UNet
from sds3d.priors.quantize import load_int8, save_int8
from sds3d.procedural.views import NUM_VIEWS, RESOLUTION

NUM_TIMESTEPS = 1000
STANDARD_HALF_WIDTH = STANDARD_DISTANCE * math.tan(math.radians(STANDARD_FOV_DEG) / 2)  # of the picture at the origin
PATCH = 2  # pixels that pixel_unshuffle folds into channels


def build_unet(channels: Sequence[int] = (96, 192, 256), layers: int = 1, normals: bool = False) -> UNet:
    """An untrained network; attention starts one level below the top, where it is affordable on a CPU.

    With `normals` its images have six channels, see `procedural.views.compose`.
    """
    return UNet(latent_channels(normals), channels, layers, WIDTH, NUM_VIEWS)


def latent_channels(normals: bool) -> int:
    """Channels Z of the latents: 12 of colors, or 24 of colors and normals."""
    return (6 if normals else 3) * PATCH**2


def widened(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network of colors and normals, from those of a network of colors.

    The added weights are zero, so colors are predicted as before for any normals.
    """
    added = latent_channels(normals=True) - latent_channels(normals=False)
    first = state["conv_in.weight"]
    columns = torch.cat([first, first.new_zeros(len(first), added, *first.shape[2:])], 1)
    last = {name: state[name] for name in ("conv_out.weight", "conv_out.bias")}
    rows = {name: torch.cat([x, x.new_zeros(added, *x.shape[1:])]) for name, x in last.items()}
    return state | rows | {"conv_in.weight": columns}


def cumulative_alphas() -> Tensor:
    """The share of signal in the variance at each timestep, [NUM_TIMESTEPS] float32, decreasing.

    Cosine noise levels (Nichol and Dhariwal, arXiv:2102.09672, equation 17), with at most 0.999 of noise in each step.
    """
    levels = [math.cos((k / NUM_TIMESTEPS + 0.008) / 1.008 * math.pi / 2) ** 2 for k in range(NUM_TIMESTEPS + 1)]
    betas = [min(1 - after / before, 0.999) for before, after in zip(levels[:-1], levels[1:], strict=True)]
    return torch.cumprod(1 - torch.tensor(betas), 0)


def condition_vectors(cameras: Cameras, backgrounds: Tensor) -> Tensor:
    """The conditioning [C, 19] on a view: the pose as in MVDream, the width of the view, and the background.

    The pose's translation, of unit length in MVDream, has the length of the picture's width at the origin relative to
    the standard view. With `backgrounds` [C, 3] in [0, 1] the network need not guess which pixels are empty.
    """
    poses = pose_vectors(cameras).unflatten(1, (4, 4))
    half_widths = cameras.positions.norm(dim=-1) * (cameras.width / 2) / cameras.Ks[:, 0, 0]
    poses[:, :3, 3] *= (half_widths / STANDARD_HALF_WIDTH)[:, None]
    return torch.cat([poses.flatten(1), 2 * backgrounds.to(poses) - 1], 1)


def images_to_latents(images: Tensor) -> Tensor:
    """[C, I, H, W] in [0, 1] -> [C, 4 I, H / 2, W / 2] in [-1, 1]; linear and lossless."""
    return torch.nn.functional.pixel_unshuffle(2 * images - 1, PATCH)


def latents_to_images(latents: Tensor) -> Tensor:
    """The inverse of `images_to_latents`, clamped to [0, 1]."""
    return (torch.nn.functional.pixel_shuffle(latents, PATCH) / 2 + 0.5).clamp(0, 1)


def save_unet(unet: UNet, folder: Path) -> None:
    """Write `folder`/unet and `folder`/scheduler in the diffusers layout, weights in eight bits."""
    attending = len(unet.channels) - 1
    network = {
        "_class_name": "UNet2DConditionModel",
        "sample_size": RESOLUTION // PATCH,
        "in_channels": unet.conv_in.in_channels,
        "out_channels": unet.conv_out.out_channels,
        "block_out_channels": unet.channels,
        "layers_per_block": unet.layers,
        "down_block_types": ["DownBlock2D"] + ["CrossAttnDownBlock2D"] * attending,
        "up_block_types": ["CrossAttnUpBlock2D"] * attending + ["UpBlock2D"],
        "cross_attention_dim": WIDTH,
        "attention_head_dim": HEADS,  # diffusers reads it as the number of heads
        "norm_num_groups": unet.groups,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": CONDITION,
    }
    # v-prediction: Salimans and Ho, arXiv:2202.00512
    scheduler = {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": NUM_TIMESTEPS,
        "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "v_prediction",
        "clip_sample": False,
        "set_alpha_to_one": True,
        "timestep_spacing": "trailing",
    }
    for name, config in {"unet/config.json": network, "scheduler/scheduler_config.json": scheduler}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_int8(unet.state_dict(), folder / "unet" / "weights.int8.safetensors")


def load_unet(folder: Path) -> UNet:
    """The network stored by `save_unet`, float32, in eval mode."""
    with torch.device("meta"):  # allocates no memory and draws no random numbers for weights that are replaced
        unet = build_unet(**network_shape(folder))
    unet.load_state_dict(load_int8(folder / "unet" / "weights.int8.safetensors"), assign=True)
    return unet.requires_grad_(False).eval()


def network_shape(folder: Path) -> dict[str, Any]:
    """The arguments of `build_unet` that make the network stored by `save_unet`."""
    return shape_of(read_json(folder / "unet" / "config.json"))


def shape_of(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `build_unet` from the content of unet/config.json."""
    return {
        "channels": config["block_out_channels"],
        "layers": config["layers_per_block"],
        "normals": config["in_channels"] == latent_channels(normals=True),
    }
