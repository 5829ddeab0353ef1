"""Fake models: meaningless small files with the names of a known model, and configs of tiny networks."""

import hashlib
import json
import os
from pathlib import Path

from sds3d.priors.known import Source
from sds3d.priors.weights import file_sha256

TINY_UNET = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 16,
    "block_out_channels": [32, 64],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": 8,
    "cross_attention_dim": 32,
}
TINY_VAE = {
    "block_out_channels": [32, 32, 32, 32],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}


def write_source(source: Source, folder: Path, choice: int = 0) -> Path:
    """Writes a small file for each required file of `source`, with its accepted name number `choice` if possible."""
    for names in source.files:
        name = names[min(choice, len(names) - 1)]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def write_snapshot(source: Source, hub: Path, repo: int = 0, revision: str = "abc", choice: int = 0) -> Path:
    """Writes a snapshot as huggingface_hub does: links to blobs, which are named by their sha256 for weights."""
    place = hub / f"models--{source.repos[repo].replace('/', '--')}"
    snapshot = write_source(source, place / "snapshots" / revision, choice)
    (place / "blobs").mkdir(exist_ok=True)
    for file in [path for path in snapshot.rglob("*") if path.is_file()]:
        large = file.suffix in (".safetensors", ".bin", ".pt")
        name = file_sha256(file) if large else hashlib.sha1(file.read_bytes()).hexdigest()
        (place / "blobs" / name).write_bytes(file.read_bytes())
        file.unlink()
        file.symlink_to(os.path.relpath(place / "blobs" / name, file.parent))
    return snapshot


def write_configs(folder: Path, unet: dict = TINY_UNET, vae: dict = TINY_VAE) -> str:
    """Writes the files of a diffusers folder that an estimate reads; returns its path."""
    for name, config in {"unet": unet, "vae": vae}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(config))
    return str(folder)
