"""Loads models of diffusers and transformers from folders: no downloads, no remote code, no random weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from sds3d import files
from sds3d.config.schema import DType
from sds3d.errors import UserError, lacking_memory
from sds3d.priors.model_config import check_network, check_text_encoder

STEMS = {"safetensors": ("diffusion_pytorch_model", "model"), "bin": ("diffusion_pytorch_model", "pytorch_model")}
MAX_JSON = 32 << 20  # bytes; the index of a model in many parts has some hundred thousand
VARIANTS = (None, "fp16")  # the file name suffix of weights in half precision


def read_json(path: Path, remedy: str = "download it again") -> dict[str, Any]:
    """The object in a JSON file; a UserError that ends with `remedy` if it cannot be read."""
    try:
        return files.read_json(path, MAX_JSON)
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; download the model again, or choose another prior.path") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}; {remedy}") from error


def choose_dtype(wanted: DType, device_type: str, half: torch.dtype = torch.float16) -> torch.dtype:
    """The dtype of a network's weights; "auto" is `half` on a GPU and float32 on a CPU."""
    if wanted != "auto":
        return getattr(torch, wanted)
    return half if device_type == "cuda" else torch.float32


def load_model(cls: Any, folder: Path, dtype: torch.dtype) -> Any:
    """The model in `folder`, of the class `cls` of diffusers or transformers, on the CPU in `dtype`.

    UserError unless the files hold all of its weights and no others.

    Safetensors are preferred; a .bin is read by torch with weights_only, which runs none of its code.
    """
    config = read_json(folder / "config.json")  # the libraries' messages are less clear
    if cls.__module__.startswith("diffusers."):
        check_network(cls, config, folder / "config.json")
    else:
        check_text_encoder(config, folder / "config.json")
    kind, variant = find_weights(folder)
    _hide_progress_bars()
    options: dict[str, Any] = {"variant": variant, "use_safetensors": kind == "safetensors", "local_files_only": True}
    if cls.__module__.startswith("diffusers."):
        options |= {"torch_dtype": dtype, "low_cpu_mem_usage": False}  # otherwise it requires accelerate
    else:
        options |= {"dtype": dtype}
    try:
        model, info = cls.from_pretrained(str(folder), output_loading_info=True, **options)
    except Exception as error:  # the libraries can raise anything for a damaged file
        if lacking_memory(error):  # to download it again would not help
            raise
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{folder}: cannot be loaded as {cls.__name__} ({reason}); download it again") from error
    _refuse_tensors(folder, cls, "misses", info["missing_keys"])
    leftovers = [
        name for name in info["unexpected_keys"] if not name.endswith("position_ids")
    ]  # a constant that older versions saved
    _refuse_tensors(folder, cls, "has", leftovers)
    return model


def find_weights(folder: Path) -> tuple[str, str | None]:
    """Kind ("safetensors" or "bin") and variant of the weights in `folder`, which may be in several files."""
    for kind, stems in STEMS.items():
        for variant in VARIANTS:
            dotted = f".{variant}" if variant else ""
            for stem in stems:
                index = folder / f"{stem}.{kind}.index{dotted}.json"
                if index.is_file():
                    _check_parts(index)
                    return kind, variant
                if (folder / f"{stem}{dotted}.{kind}").is_file():
                    return kind, variant
    raise UserError(
        f"{folder}: no weights; expected {' or '.join(f'{stem}.safetensors' for stem in STEMS['safetensors'])} (or "
        ".fp16.safetensors, or .bin) beside config.json; download the model again"
    )


def _hide_progress_bars() -> None:
    """Disables the libraries' progress bars, since commands have their own."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _check_parts(index: Path) -> None:
    """Raises UserError unless all files that `index` names are in its folder."""
    parts = read_json(index).get("weight_map")
    if not isinstance(parts, dict) or not all(isinstance(name, str) for name in parts.values()):
        raise UserError(f"{index}: expected the key weight_map with the file of each tensor; download it again")
    for name in sorted(set(parts.values())):
        if Path(name).name != name:
            raise UserError(f"{index}: names {name!r}, which is no file of that folder; do not use this model")
        if not (index.parent / name).is_file():
            raise UserError(f"{index.parent / name}: missing, {index.name} lists it; download the model again")


def _refuse_tensors(folder: Path, cls: type, verb: str, names: Iterable[str]) -> None:
    names = sorted(names)
    if names:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        surplus = "" if verb == "misses" else f" that {cls.__name__} does not have"
        raise UserError(
            f"{folder}: the file of weights {verb} {len(names)} tensors{surplus}: {shown}; config.json and weights "
            "belong to different models, or one is damaged: download both again"
        )
