"""Stable Diffusion 1, 2, XL and 3 as single-view priors, from folders in diffusers layout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_never

import torch
from torch import Tensor, nn

from sds3d.config.schema import StableDiffusionConfig
from sds3d.errors import UserError
from sds3d.files import cache_folder
from sds3d.priors.model_config import check_autoencoder, flag, whole
from sds3d.priors.pretrained import choose_dtype, load_model, read_json
from sds3d.priors.schedule import Schedule, read_schedule
from sds3d.priors.text_encoders import load_sd3_encoder, load_sd_encoder, load_sdxl_encoder, split_pooled
from sds3d.priors.texts import Encode, PromptCache
from sds3d.priors.vae import Vae
from sds3d.priors.views import SingleViewPrior
from sds3d.priors.weights import MANIFEST, Found, verify

if TYPE_CHECKING:
    from diffusers import SD3Transformer2DModel, UNet2DConditionModel

Family = Literal["sd", "sdxl", "sd3"]
SUPPORTED = "supported are Stable Diffusion 1, 2, XL (base) and 3 in the layout of diffusers"
PIECES: dict[Family, tuple[str, ...]] = {
    "sd": ("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
    "sdxl": ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"),
    "sd3": ("transformer", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"),
}

# The half precision that each family was trained in.
HALF: dict[Family, torch.dtype] = {"sd": torch.float16, "sdxl": torch.float16, "sd3": torch.bfloat16}


def load_stable_diffusion(cfg: StableDiffusionConfig, found: Found, device: torch.device) -> SingleViewPrior:
    """The prior in the folder `found`, frozen, on `device`."""
    folder = found.path
    family = find_family(folder)
    missing = [name for name in PIECES[family] if not (folder / name).is_dir()]
    if missing:
        raise UserError(f"{folder}: misses {', '.join(missing)}; download the whole model again")
    if (folder / MANIFEST).is_file():
        verify(folder)
    dtype = choose_dtype(cfg.dtype, device.type, HALF[family])
    schedule = load_schedule(folder, family)
    vae = load_vae(folder / "vae", dtype, device, cfg.vae_batch)
    network, resolution, load_encoder = load_family(folder, family, vae, dtype, device)
    cache = cache_folder() / "prompts" / f"{found.id}-{str(dtype).removeprefix('torch.')}"
    return SingleViewPrior(
        network,
        vae,
        schedule,
        PromptCache(load_encoder, cache, device, dtype),
        view_texts=cfg.view_texts,
        perp_neg=cfg.perp_neg,
        resolution=resolution,
        compiles=cfg.compile,
        device=device,
    )


def find_family(folder: Path) -> Family:
    """The model family in `folder`, from its configs; UserError for any other model."""
    if not folder.is_dir():
        raise UserError(f"prior.path: {folder} is a file, expected a folder; {SUPPORTED}")
    if (folder / "transformer").is_dir():
        name = read_json(folder / "transformer" / "config.json").get("_class_name")
        if name == "SD3Transformer2DModel":
            return "sd3"
        raise UserError(f"{folder}: its transformer is of class {name}, expected SD3Transformer2DModel; {SUPPORTED}")
    if not (folder / "unet").is_dir():
        raise UserError(f"{folder}: holds neither a unet nor a transformer folder; {SUPPORTED}")
    config = read_json(folder / "unet" / "config.json")
    if config.get("class_embed_type"):
        raise UserError(
            f"{folder}: its U-Net has class_embed_type {config['class_embed_type']!r}, which single-view models lack; "
            "a multi-view one is read with prior.kind=mvdream"
        )
    match config.get("addition_embed_type"):
        case None if config.get("cross_attention_dim"):
            return "sd"
        case "text_time":
            return "sdxl"
    raise UserError(
        f"{folder}: its U-Net has cross_attention_dim {config.get('cross_attention_dim')!r} and addition_embed_type "
        f"{config.get('addition_embed_type')!r}; {SUPPORTED}"
    )


def load_schedule(folder: Path, family: Family) -> Schedule:
    """The schedule in `folder`; UserError unless its prediction type fits the family."""
    schedule = read_schedule(folder)
    if (schedule.prediction == "flow") != (family == "sd3"):
        expected = "a shift (flow matching)" if family == "sd3" else "no shift"
        raise UserError(f"{folder / 'scheduler'}: is of another model, expected {expected}; download it again")
    return schedule


def load_vae(folder: Path, dtype: torch.dtype, device: torch.device, batch: int) -> Vae:
    """The autoencoder in `folder`; in bfloat16 if its config says that it overflows float16."""
    from diffusers import AutoencoderKL

    config = read_json(folder / "config.json")
    check_autoencoder(config, folder / "config.json")
    if dtype == torch.float16 and config.get("force_upcast"):
        dtype = torch.bfloat16
    return Vae(to_device(load_model(AutoencoderKL, folder, dtype), device), batch)


def load_family(
    folder: Path, family: Family, vae: Vae, dtype: torch.dtype, device: torch.device
) -> tuple[nn.Module, int, Callable[[], Encode]]:
    """The network, its image resolution in pixels, and a function that loads its text encoders."""
    from diffusers import SD3Transformer2DModel, UNet2DConditionModel

    piece, cls = ("transformer", SD3Transformer2DModel) if family == "sd3" else ("unet", UNet2DConditionModel)
    model = to_device(load_model(cls, folder / piece, dtype), device).requires_grad_(False)
    config = model.config
    if config.in_channels != vae.model.config.latent_channels:
        raise UserError(
            f"{folder / piece}: takes {config.in_channels} channels, expected the {vae.model.config.latent_channels} "
            "of the VAE; models for inpainting, upscaling or editing are not supported"
        )
    resolution = whole(config, "sample_size", folder / piece / "config.json", 1, 1024) * vae.factor
    match family:
        case "sd":
            return UNet(model), resolution, partial(load_sd_encoder, folder, dtype, device)
        case "sdxl":
            index = folder / "model_index.json"
            options = read_json(index) if index.is_file() else {}
            zero_empty = flag(options, "force_zeros_for_empty_prompt", index, True)
            network = UNetXL(model, resolution).to(device)
            return network, resolution, partial(load_sdxl_encoder, folder, dtype, device, zero_empty)
        case "sd3":
            width = config.joint_attention_dim
            return Transformer(model), resolution, partial(load_sd3_encoder, folder, dtype, device, width)
        case _:
            assert_never(family)


def to_device(model: Any, device: torch.device) -> Any:
    """`model` on `device`; channels-last on a GPU, the fastest layout for its convolutions."""
    return model.to(device, memory_format=torch.channels_last) if device.type == "cuda" else model


class UNet(nn.Module):
    """The U-Net of Stable Diffusion 1 and 2 with LatentPrior's signature; it ignores cameras."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, batch: Tensor, timesteps: Tensor, texts: Tensor, cameras: Tensor) -> Tensor:
        return self.unet(batch.to(texts.dtype), timesteps, texts, return_dict=False)[0].float()


class UNetXL(nn.Module):
    """The U-Net of Stable Diffusion XL; it also takes the pooled prompt and the sizes of an uncropped image."""

    def __init__(self, unet: UNet2DConditionModel, resolution: int) -> None:
        super().__init__()
        self.unet = unet
        config = unet.config
        self.pooled_size = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        sizes = [resolution, resolution, 0, 0, resolution, resolution]  # original size, crop corner, target size
        self.sizes: Tensor
        self.register_buffer("sizes", torch.tensor([sizes], dtype=torch.float32))

    def forward(self, batch: Tensor, timesteps: Tensor, texts: Tensor, cameras: Tensor) -> Tensor:
        tokens, pooled = split_pooled(texts, self.pooled_size)
        added = {"text_embeds": pooled, "time_ids": self.sizes.expand(len(batch), -1)}
        batch = batch.to(texts.dtype)
        return self.unet(batch, timesteps, tokens, added_cond_kwargs=added, return_dict=False)[0].float()


class Transformer(nn.Module):
    """The transformer of Stable Diffusion 3; it ignores cameras."""

    def __init__(self, transformer: SD3Transformer2DModel) -> None:
        super().__init__()
        self.transformer = transformer
        self.pooled_size = transformer.config.pooled_projection_dim

    def forward(self, batch: Tensor, timesteps: Tensor, texts: Tensor, cameras: Tensor) -> Tensor:
        tokens, pooled = split_pooled(texts, self.pooled_size)
        return self.transformer(batch.to(texts.dtype), tokens, pooled, timesteps, return_dict=False)[0].float()
