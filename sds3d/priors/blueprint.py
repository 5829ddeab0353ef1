"""Priors without weights: the real networks on torch's meta device, to measure the memory of a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sds3d.config.schema import DType
from sds3d.errors import UserError
from sds3d.priors.checkpoints import build_empty
from sds3d.priors.known import find_known, locate
from sds3d.priors.model_config import check_network, whole
from sds3d.priors.pretrained import choose_dtype, read_json

META = torch.device("meta")
CAMERA = 16  # numbers per camera of MVDream
TOKENS = {"sd": 77, "sd3": 77 + 256}  # tokens per prompt; the latter includes those of T5
SD15 = {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64}
SD21 = {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}
CAMERAS = {"class_embed_type": "projection", "projection_class_embeddings_input_dim": CAMERA, "sample_size": 32}
SDXL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
}
SD35_MEDIUM = {
    "_class_name": "SD3Transformer2DModel",
    "sample_size": 128,
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 384,
    "dual_attention_layers": tuple(range(13)),
    "qk_norm": "rms_norm",
}
# Configs of known models that are not installed.
NETWORKS: dict[str, dict[str, Any]] = {
    "mvdream-sd2.1": SD21 | CAMERAS,
    "mvdream-sd1.5": SD15 | CAMERAS,
    "sd-1.5": SD15,
    "sd-2.1-base": SD21 | {"sample_size": 64},
    "sd-2.1": SD21 | {"sample_size": 96},
    "sdxl-base-1.0": SDXL,
    "sd3.5-medium": SD35_MEDIUM,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
VAE_SD3 = VAE | {"latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.0609}
# Parameters of the text encoders by the width of their tokens: CLIP ViT-L, OpenCLIP ViT-H, ViT-L and ViT-bigG.
TEXT_ENCODERS = {768: 123e6, 1024: 340e6, 2048: 818e6, 4096: 818e6}
T5_XXL = 4762e6


@dataclass(frozen=True)
class Blueprint:
    """The shapes of a prior: its modules on the meta device, in the prior's precision."""

    network: nn.Module
    autoencoder: nn.Module | None  # None where latents are pixels
    predict: Callable[[Tensor], Tensor]  # the network: noisy [B, Z, h, w] -> [B, Z, h, w]
    encode: Callable[[Tensor], Tensor]  # images [C, 3, R, R] -> latents [C, Z, h, w]
    latents: tuple[int, int, int]  # Z, h, w
    num_views: int
    resolution: int  # R, pixels
    text_bytes: int  # of the text encoders, which are freed once the prompts are encoded


def bytes_of(module: nn.Module | None) -> int:
    """The size of the parameters and buffers of `module` in bytes."""
    if module is None:
        return 0
    return sum(x.numel() * x.element_size() for x in (*module.parameters(), *module.buffers()))


def pocket_blueprint(folder: Path) -> Blueprint:
    """The blueprint of the pocket prior in `folder`, the same on every device."""
    from sds3d.priors.pocket import model
    from sds3d.priors.pocket.text import WIDTH
    from sds3d.priors.pocket.unet import CONDITION

    shape = model.shape_of(read_json(folder / "unet" / "config.json"))
    with META:
        unet = model.build_unet(**shape)
        unet.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs

    def predict(noisy: Tensor) -> Tensor:
        count = len(noisy)
        with META:
            timesteps, texts, views = torch.empty(count), torch.empty(count, 32, WIDTH), torch.empty(count, CONDITION)
        return unet(noisy, timesteps, texts, views)

    side = model.RESOLUTION // model.PATCH
    text = 4 * (folder / "text_encoder" / "weights.int8.safetensors").stat().st_size  # int8 to float32
    latents = (model.latent_channels(shape["normals"]), side, side)
    return Blueprint(unet, None, predict, model.images_to_latents, latents, model.NUM_VIEWS, model.RESOLUTION, text)


def latent_blueprint(
    path: str, dtype: DType, vae_batch: int, device_type: str, *, num_views: int, float32_text: bool
) -> Blueprint:
    """The blueprint of the latent prior at `path` on a "cuda" or "cpu" device; a known model need not be installed."""
    from diffusers import AutoencoderKL, SD3Transformer2DModel, UNet2DConditionModel

    from sds3d.priors.multiview import attend_across_views
    from sds3d.priors.vae import Vae

    folder = _folder(path)
    config = _network_config(folder, path)
    is_sd3 = config.get("_class_name") == "SD3Transformer2DModel"
    precision = choose_dtype(dtype, device_type, torch.bfloat16 if is_sd3 else torch.float16)
    vae_config = _config_or(folder, "vae", VAE_SD3 if is_sd3 else VAE)
    cls = SD3Transformer2DModel if is_sd3 else UNet2DConditionModel
    for part, part_config in ((cls, config), (AutoencoderKL, vae_config)):
        check_network(part, part_config, Path(path))
    network = build_empty(cls.from_config, config, path)
    autoencoder = build_empty(AutoencoderKL.from_config, vae_config, path)
    for module in (network, autoencoder):
        module.requires_grad_(False)
        # diffusers' own `to` warns; torch's stubs omit memory_format
        nn.Module.to(module, precision, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if num_views > 1:
        attend_across_views(network, num_views)
    vae = Vae(autoencoder, vae_batch)
    side = whole(network.config, "sample_size", Path(path), 1, 1024)
    width = network.config.joint_attention_dim if is_sd3 else network.config.cross_attention_dim
    has_t5 = folder is not None and (folder / "text_encoder_3").is_dir()
    parameters = TEXT_ENCODERS.get(width, 0) + T5_XXL * has_t5
    return Blueprint(
        network,
        autoencoder,
        partial(_predict_sd3 if is_sd3 else _predict_unet, network, precision),
        vae.encode,
        (network.config.in_channels, side, side),
        num_views,
        side * vae.factor,
        round(parameters * (4 if float32_text else precision.itemsize)),
    )


def _predict_unet(unet: Any, dtype: torch.dtype, noisy: Tensor) -> Tensor:
    config, count = unet.config, len(noisy)
    timesteps = torch.empty(count, device=META)
    texts = torch.empty(count, TOKENS["sd"], config.cross_attention_dim, dtype=dtype, device=META)
    views = added = None
    if config.class_embed_type == "projection":
        views = torch.empty(count, config.projection_class_embeddings_input_dim, dtype=dtype, device=META)
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        added = {
            "text_embeds": torch.empty(count, pooled, dtype=dtype, device=META),
            "time_ids": torch.empty(count, 6, device=META),
        }
    output = unet(noisy.to(dtype), timesteps, texts, class_labels=views, added_cond_kwargs=added, return_dict=False)[0]
    return output.float()


def _predict_sd3(transformer: Any, dtype: torch.dtype, noisy: Tensor) -> Tensor:
    config, count = transformer.config, len(noisy)
    texts = torch.empty(count, TOKENS["sd3"], config.joint_attention_dim, dtype=dtype, device=META)
    pooled = torch.empty(count, config.pooled_projection_dim, dtype=dtype, device=META)
    return transformer(noisy.to(dtype), texts, pooled, torch.empty(count, device=META), return_dict=False)[0].float()


def _folder(path: str) -> Path | None:
    """The location of the prior; None for a known model that is not installed."""
    try:
        return locate(path)
    except UserError:
        if find_known(path) is None:
            raise
        return None


def _network_config(folder: Path | None, path: str) -> dict[str, Any]:
    """The diffusers config of the network.

    MVDream's own files have none: the width of their text identifies the model. A single-file checkpoint without a
    known name is taken for the larger of the two.
    """
    if path in NETWORKS:
        return NETWORKS[path]
    if folder is None or folder.is_file():
        return NETWORKS["mvdream-sd2.1"]
    if (folder / "transformer").is_dir():
        return read_json(folder / "transformer" / "config.json")
    config = read_json(folder / "unet" / "config.json")
    if "camera_dim" in config:  # in the format of MVDream's own code
        network = NETWORKS["mvdream-sd1.5" if config.get("context_dim") == 768 else "mvdream-sd2.1"]
        return network | {"sample_size": config.get("image_size", network["sample_size"])}
    return config


def _config_or(folder: Path | None, part: str, otherwise: dict[str, Any]) -> dict[str, Any]:
    path = folder / part / "config.json" if folder is not None else None
    return read_json(path) if path is not None and path.is_file() else otherwise
