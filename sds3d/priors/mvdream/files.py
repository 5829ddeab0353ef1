"""Opens MVDream in any of its file layouts, which are recognized by their content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sds3d.config.checks import show
from sds3d.errors import UserError
from sds3d.priors import known, ldm
from sds3d.priors.checkpoints import Network, Piece, Section, find_tensors, read_tensors
from sds3d.priors.clip_tokenizer import check_tokenizer, has_tokenizer
from sds3d.priors.model_config import check_autoencoder, check_network, check_text_encoder, whole
from sds3d.priors.pretrained import read_json
from sds3d.priors.schedule import make_schedule
from sds3d.priors.weights import MANIFEST, verify

SAMPLE_SIZE = 32  # latents along a side in training, which an original checkpoint does not record
CAMERA = 16  # numbers per camera


@dataclass(frozen=True)
class MVDreamFiles:
    """The parts of a multi-view model; only names, shapes and configs have been read so far."""

    unet: Network
    vae: Network
    text: Network
    tokenizer: Path  # folder
    scheduler: dict[str, Any]  # a diffusers config
    sample_size: int  # latents along a side


def open_mvdream(path: Path) -> MVDreamFiles:
    """The model in an original checkpoint or a diffusers folder, whose U-Net may have its original tensor names."""
    files = _open_folder(path) if path.is_dir() else _open_original(path)
    if files.unet.config.get("class_embed_type") != "projection":
        raise _single_view(path)
    numbers = files.unet.config.get("projection_class_embeddings_input_dim")
    if numbers != CAMERA:
        raise UserError(f"{path}: expected a U-Net with cameras of {CAMERA} numbers (a matrix), got {show(numbers)}")
    _check_widths(path, files)
    return files


def find_tokenizer(checkpoint: Path) -> Path:
    """The tokenizer folder for a checkpoint file: next to it, or in a local cache."""
    beside = checkpoint.parent / "tokenizer"
    return beside if has_tokenizer(beside) else known.locate_tokenizer()


def _check_widths(path: Path, files: MVDreamFiles) -> None:
    """Raises UserError unless the U-Net takes what the autoencoder and the text encoder make."""
    # where a config omits a field, the default of the class
    channels, latents = files.unet.config.get("in_channels", 4), files.vae.config.get("latent_channels", 4)
    texts, width = files.unet.config.get("cross_attention_dim", 1280), files.text.config.get("hidden_size", 512)
    if (channels, texts) != (latents, width):
        raise UserError(
            f"{path}: expected a U-Net for the {show(latents)} channels of its autoencoder and texts of width "
            f"{show(width)}, got one for {show(channels)} and {show(texts)}; the parts belong to different models"
        )


def _open_original(path: Path) -> MVDreamFiles:
    tensors = read_tensors(path)
    is_openclip = any(name.startswith(ldm.OPENCLIP) for name in tensors)
    prefixes = (ldm.UNET, ldm.VAE, ldm.OPENCLIP if is_openclip else ldm.CLIP)
    extra = sorted(name for name in tensors if not name.startswith(prefixes) and name not in ldm.BESIDE)
    if extra:
        raise UserError(
            f"{path}: expected tensors named {', '.join(f'{prefix}*' for prefix in prefixes)}, got {len(extra)} others "
            f"({', '.join(extra[:3])}{', ...' * (len(extra) > 3)}); the file is another model"
        )
    ldm.check_schedule(Section(tensors, "", path))
    unet, vae, text = (_section(tensors, prefix, path) for prefix in prefixes)
    if not unet.holds("camera_embed."):
        raise _single_view(path)
    return MVDreamFiles(
        ldm.unet(unet),
        ldm.vae(vae),
        ldm.openclip(text) if is_openclip else ldm.clip(text),
        find_tokenizer(path),
        ldm.SCHEDULE,
        SAMPLE_SIZE,
    )


def _open_folder(folder: Path) -> MVDreamFiles:
    if not (folder / "unet" / "config.json").is_file():
        raise UserError(
            f"{folder}: expected a checkpoint file, or a folder with unet/config.json, vae, text_encoder and tokenizer"
        )
    if (folder / MANIFEST).is_file():
        verify(folder)
    check_tokenizer(folder / "tokenizer")
    scheduler = folder / "scheduler" / "scheduler_config.json"
    unet, sample_size = _open_unet(folder / "unet")
    return MVDreamFiles(
        unet,
        _open_vae(folder / "vae"),
        _open_text_encoder(folder / "text_encoder"),
        folder / "tokenizer",
        _read_scheduler(scheduler) if scheduler.is_file() else ldm.SCHEDULE,
        sample_size,
    )


def _open_unet(folder: Path) -> tuple[Network, int]:
    """The U-Net, with original or diffusers tensor names, and its number of latents along a side."""
    from diffusers import UNet2DConditionModel

    path, config = find_tensors(folder), read_json(folder / "config.json")
    tensors = read_tensors(path)
    prefix = "unet." if all(name.startswith("unet.") for name in tensors) else ""
    section = Section(tensors, prefix, path)
    if section.holds("input_blocks."):
        if not section.holds("camera_embed."):
            raise _single_view(path)
        network, name = ldm.unet(section), "image_size"
    else:
        check_network(UNet2DConditionModel, config, folder / "config.json")
        network = Network(UNet2DConditionModel.from_config, config, section, Piece)
        name = "sample_size"
    return network, whole(config, name, folder / "config.json", 1, 1024, SAMPLE_SIZE)


def _open_vae(folder: Path) -> Network:
    """The autoencoder; older diffusers files name the tensors of its attention differently."""
    from diffusers import AutoencoderKL

    path = find_tensors(folder)
    section = Section(read_tensors(path), "", path)
    renamed = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    if not section.has("encoder.mid_block.attentions.0.query.weight"):
        renamed = {}

    def source(name: str) -> Piece:
        for new, old in renamed.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
        return Piece(name)

    config = read_json(folder / "config.json")
    check_autoencoder(config, folder / "config.json")
    check_network(AutoencoderKL, config, folder / "config.json")
    return Network(AutoencoderKL.from_config, config, section, source)


def _open_text_encoder(folder: Path) -> Network:
    path, config = find_tensors(folder), read_json(folder / "config.json")
    check_text_encoder(config, folder / "config.json")
    return ldm.clip(Section(read_tensors(path), "", path), config)


def _read_scheduler(path: Path) -> dict[str, Any]:
    config = read_json(path)
    if make_schedule(config, path).prediction == "flow":
        raise UserError(f"{path}: shift: expected none, since MVDream is no flow; the file is of another model")
    return config


def _section(tensors: Mapping[str, Tensor], prefix: str, path: Path) -> Section:
    return Section({name: x for name, x in tensors.items() if name.startswith(prefix)}, prefix, path)


def _single_view(path: Path) -> UserError:
    return UserError(
        f"{path}: expected a U-Net that takes cameras, got a single-view one; "
        "choose another prior.path, or prior.kind=stable-diffusion"
    )
