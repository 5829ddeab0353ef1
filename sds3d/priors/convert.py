"""sds3d prior convert: writes MVDream in any layout as one diffusers folder with a checksum for each file."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from sds3d.errors import UserError
from sds3d.files import fsync, refused, user_path
from sds3d.priors import known
from sds3d.priors.checkpoints import build
from sds3d.priors.clip_tokenizer import END, START, TOKENIZER_FILES, read_tokenizer
from sds3d.priors.mvdream.files import MVDreamFiles, open_mvdream
from sds3d.priors.weights import MANIFEST, file_sha256

CPU = torch.device("cpu")


def main(argv: list[str]) -> int:
    """Converts a checkpoint and prints the folder; returns the exit code."""
    parser = argparse.ArgumentParser("sds3d prior convert", description="write a multi-view model as one folder")
    parser.add_argument("source", metavar="SOURCE", help="a checkpoint file, a folder, or a known model's name")
    parser.add_argument("target", metavar="FOLDER", type=user_path, help="the folder to write; must not exist")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16", help="default: float16")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    args = parser.parse_args(argv)
    convert(known.locate(args.source), args.target, getattr(torch, args.dtype))
    print(args.target)
    return 0


def convert(source: Path, target: Path, dtype: torch.dtype) -> None:
    """Writes the model at `source` to the new folder `target`, atomically."""
    if target.exists() or target.is_symlink():
        raise UserError(f"{target}: exists already; choose another folder or remove it first")
    files = open_mvdream(source)
    partial = target.with_name(f".{target.name}.tmp-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        _write(files, partial, dtype)
        os.rename(partial, target)
        fsync(target.parent)
    except OSError as error:
        raise refused(error, target) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # no longer there after success


def _write(files: MVDreamFiles, folder: Path, dtype: torch.dtype) -> None:
    """Writes the diffusers layout; holds one network in memory at a time."""
    for name, network in (("unet", files.unet), ("vae", files.vae), ("text_encoder", files.text)):
        model = build(network, CPU, dtype)
        (folder / name).mkdir()
        if name == "unet":
            model.register_to_config(sample_size=files.sample_size)
        if name == "text_encoder":
            _write_text_encoder(model, folder / name)
        else:
            model.save_config(folder / name)
            _write_weights(dict(model.state_dict()), folder / name / "diffusion_pytorch_model.safetensors")
    _write_tokenizer(files, folder / "tokenizer")
    _write_json(_scheduler_config(files.scheduler), folder / "scheduler" / "scheduler_config.json")
    _write_json(_index(), folder / "model_index.json")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    _write_json({path.relative_to(folder).as_posix(): file_sha256(path) for path in paths}, folder / MANIFEST)
    for path in folder.rglob("*"):
        fsync(path)
    fsync(folder)


def _write_text_encoder(model: Any, folder: Path) -> None:
    """Writes the text encoder under names that all versions of transformers read."""
    model.config.architectures = ["CLIPTextModel"]
    model.config.to_json_file(folder / "config.json", use_diff=False)
    tensors = {f"text_model.{name.removeprefix('text_model.')}": x for name, x in model.state_dict().items()}
    _write_weights(tensors, folder / "model.safetensors")


def _write_weights(tensors: dict[str, torch.Tensor], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: x.contiguous() for name, x in tensors.items()}, path, metadata={"format": "pt"})
    except SafetensorError as error:  # raised instead of an OSError
        raise UserError(f"cannot write {path}: {error}; make room there or choose another folder") from error


def _write_tokenizer(files: MVDreamFiles, folder: Path) -> None:
    """Writes the tokenizer's files and a config with the settings that transformers would otherwise guess."""
    tokenizer = read_tokenizer(files.tokenizer)
    folder.mkdir()
    for name in TOKENIZER_FILES:
        if (files.tokenizer / name).is_file():
            shutil.copyfile(files.tokenizer / name, folder / name)
    padding = tokenizer.id_to_token(0) if files.text.config.get("hidden_act") == "gelu" else END
    config: dict[str, Any] = {"tokenizer_class": "CLIPTokenizer"}
    config |= {"bos_token": START, "eos_token": END, "unk_token": END}
    config |= {"pad_token": padding, "model_max_length": files.text.config.get("max_position_embeddings", 77)}
    _write_json(config, folder / "tokenizer_config.json")


def _scheduler_config(config: dict[str, Any]) -> dict[str, Any]:
    """A DDIM config; by default one step of offset and no clipping, as in Stable Diffusion's own config."""
    sampling = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    return sampling | config | {"_class_name": "DDIMScheduler"}


def _index() -> dict[str, Any]:
    return {
        "_class_name": "MVDreamPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }


def _write_json(content: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
