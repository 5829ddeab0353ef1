"""Whether a folder of weights is whole: the sha256 of each file, as its sha256.json lists them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import assert_never

from sds3d.config import PocketConfig, PriorConfig
from sds3d.errors import UserError

MANIFEST = "sha256.json"
POCKET = Path(__file__).parent / "pocket" / "weights"


def verify(folder: Path) -> None:
    """Raises UserError unless every file that `folder`/sha256.json names is there and as it was made."""
    for name, expected in read_manifest(folder).items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: missing, {MANIFEST} beside it lists it; {_remedy(folder)}")
        got = file_sha256(path)
        if got != expected:
            raise UserError(f"{path}: damaged: expected sha256 {expected}, got {got}; {_remedy(folder)}")


def read_manifest(folder: Path) -> dict[str, str]:
    """File name to hex sha256."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {_remedy(folder)}") from error
    if not isinstance(manifest, dict) or not manifest:
        raise UserError(f"{path}: expected file names and their sha256; {_remedy(folder)}")
    for name, digest in manifest.items():
        inside = (folder / name).resolve().is_relative_to(folder.resolve())
        if not inside or not isinstance(digest, str) or len(digest) != 64:
            raise UserError(f"{path}: the entry {name!r} is no file in that folder with its sha256; {_remedy(folder)}")
    return manifest


def prior_id(cfg: PriorConfig) -> str:
    """16 hex digits that change with the weights of the prior that `cfg` names."""
    match cfg:
        case PocketConfig():
            manifest = (Path(cfg.path) if cfg.path else POCKET) / MANIFEST
            content = manifest.read_bytes() if manifest.is_file() else b""
        case _:
            assert_never(cfg)
    return hashlib.sha256(content).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remedy(folder: Path) -> str:
    if folder.resolve() == POCKET.resolve():
        return "install sds3d again (in a checkout: git checkout -- sds3d/priors/pocket/weights)"
    return "make it again with `sds3d prior train`, or choose another prior.path"
