"""Integrity checks of weights by the sha256 of their files, and ids of weights."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from sds3d.errors import UserError
from sds3d.files import file_sha256, read_json

MANIFEST = "sha256.json"
# Files that a prior reads; other folders of a pipeline, such as a safety checker's, are ignored.
PARTS = ("unet/*", "transformer/*", "vae/*", "text_encoder*/*", "tokenizer*/*", "scheduler/*", "model_index.json")
SAMPLE = 1 << 20  # bytes at the start, in the middle and at the end of a file that tell it from others
POCKET = Path(__file__).parent / "pocket" / "weights"


@dataclass(frozen=True)
class Found:
    """Weights on this machine."""

    path: Path  # a folder or a file
    id: str  # 16 hex digits that change with the weights, wherever they are


def verify(folder: Path, remedy: str = "") -> None:
    """Raises UserError unless every file that `folder`/sha256.json names exists and is unchanged.

    `remedy` says what to do about it where the files are no prior's.
    """
    remedy = remedy or _remedy(folder)
    for name, expected in read_manifest(folder, remedy).items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: missing, {MANIFEST} beside it lists it; {remedy}")
        got = file_sha256(path)
        if got != expected:
            raise UserError(f"{path}: damaged: expected sha256 {expected}, got {got}; {remedy}")


def read_manifest(folder: Path, remedy: str = "") -> dict[str, str]:
    """File name to hex sha256; `remedy` as for `verify`."""
    path, remedy = folder / MANIFEST, remedy or _remedy(folder)
    try:
        manifest = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {remedy}") from error
    if not manifest:
        raise UserError(f"{path}: expected file names and their sha256; {remedy}")
    for name, digest in manifest.items():
        inside = (folder / name).resolve().is_relative_to(folder.resolve())
        if not inside or not isinstance(digest, str) or len(digest) != 64:
            raise UserError(f"{path}: the entry {name!r} is no file in that folder with its sha256; {remedy}")
    return manifest


def content_id(path: Path) -> str:
    """16 hex digits that change with the weights in a file or folder, wherever it is. Quick also for gigabytes."""
    try:
        return hashlib.sha256(_content(path)).hexdigest()[:16]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its files and their permissions") from error


def weight_files(folder: Path) -> list[Path]:
    """The files of a folder in the layout of diffusers that a prior reads, sorted."""
    return sorted(path for part in PARTS for path in folder.glob(part) if path.is_file())


def known_digests(path: Path) -> dict[Path, str]:
    """Hex sha256 that files of the prior at `path` should have, as far as something says so.

    Its sha256.json, or the names that the cache of Hugging Face gives to large files, which are their sha256.
    """
    if (path / MANIFEST).is_file():
        return {path / name: digest for name, digest in read_manifest(path).items()}
    names = {file: file.resolve().name for file in ([path] if path.is_file() else weight_files(path))}
    return {file: name for file, name in names.items() if re.fullmatch("[0-9a-f]{64}", name)}


def damages(digests: dict[Path, str]) -> list[str]:
    """A message for each file that is missing or does not match `digests`."""
    found = {file: file_sha256(file) if file.is_file() else None for file in digests}
    return [
        f"{file}: missing" if got is None else f"{file}: damaged: expected sha256 {digests[file]}, got {got}"
        for file, got in found.items()
        if got != digests[file]
    ]


def _content(path: Path) -> bytes:
    """Bytes that identify the weights at `path`."""
    if (path / MANIFEST).is_file():
        return (path / MANIFEST).read_bytes()
    if path.is_file():
        return _fingerprint(path)
    return b"".join(
        file.relative_to(path).as_posix().encode("utf-8", "surrogateescape") + b"\0" + _fingerprint(file)
        for file in weight_files(path)
    )


def _fingerprint(path: Path) -> bytes:
    """The size of a file and the sha256 of three samples."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for start in (0, (size - SAMPLE) // 2, size - SAMPLE):
            file.seek(max(start, 0))
            digest.update(file.read(SAMPLE))
    return size.to_bytes(8) + digest.digest()


def _remedy(folder: Path) -> str:
    if folder.resolve() == POCKET.resolve():
        return "install sds3d again (in a checkout: git checkout -- sds3d/priors/pocket/weights)"
    return "make it again with `sds3d prior train` or `sds3d prior convert`, or choose another prior.path"
