"""--prior PATH_OR_NAME: what kind of prior that is, and how to say so in a config."""

from __future__ import annotations

import json
from pathlib import Path

HELP = "a known model (`sds3d prior list`), a checkpoint, a folder, or pocket, which ships with sds3d"


def prior_overrides(given: str | None) -> list[str]:
    """The key=value that make `given` the prior of a run; none for None."""
    if given is None:
        return []
    if given == "pocket":
        return ["prior.kind=pocket", "prior.path="]
    from sds3d.priors.known import existing_path, find_known, unknown_model

    existing, model = existing_path(given), find_known(given)
    if existing is not None:
        return [f"prior.kind={_kind(existing)}", f"prior.path={existing.absolute()}"]
    if model is None:
        raise unknown_model(given, "--prior")
    return [f"prior.kind={model.kind}", f"prior.path={given}"]


def preset_for(overrides: list[str]) -> Path | None:
    """The preset that suits a prior, where there is one and the user names none."""
    from sds3d.config.load import PRESETS

    kinds = {"prior.kind=mvdream": "mvdream-gaussians", "prior.kind=stable-diffusion": "stable-diffusion"}
    path = PRESETS / f"{kinds.get(overrides[0])}.yaml" if overrides else None
    return path if path is not None and path.is_file() else None


def _kind(path: Path) -> str:
    """The kind of the prior in a file or folder, by what is in it."""
    if path.is_file():
        return "mvdream"  # the only one that is read from one file
    if (path / "unet" / "weights.int8.safetensors").is_file():
        return "pocket"
    try:
        config = json.loads((path / "unet" / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        config = None  # what loads it says what is wrong
    is_multi_view = isinstance(config, dict) and (
        config.get("class_embed_type") == "projection" or "camera_dim" in config
    )
    return "mvdream" if is_multi_view else "stable-diffusion"
