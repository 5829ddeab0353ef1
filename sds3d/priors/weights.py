"""Integrity checks of weights by the sha256 of their files, and ids of weights."""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sds3d.errors import UserError
from sds3d.files import cache_folder, file_sha256, read_cached, read_json, write_cached
from sds3d.priors.clip_tokenizer import TOKENIZER_FILES

MANIFEST = "sha256.json"
# Files that a prior reads; other folders of a pipeline, such as a safety checker's, are ignored.
PARTS = ("unet/*", "transformer/*", "vae/*", "text_encoder*/*", "tokenizer*/*", "scheduler/*", "model_index.json")
LARGE = 1 << 26  # bytes from which on the sha256 of a file is cached; a smaller one takes less than 0.1 s
SETTLED = 2.0  # seconds after the last change of a file from which on its sha256 is cached
POCKET = Path(__file__).parent / "pocket" / "weights"


@dataclass(frozen=True)
class Found:
    """Weights on this machine."""

    path: Path  # a folder or a file
    id: str  # 16 hex digits, a hash of the weights that does not depend on their path


def verify(folder: Path, remedy: str = "") -> None:
    """Raises UserError unless every file that `folder`/sha256.json names exists and is unchanged.

    `remedy` is the next step in messages; it defaults to that for a prior.
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


def content_id(path: Path, tokenizer: Path | None = None) -> str:
    """16 hex digits that change with the weights in a file or folder, wherever it is.

    `tokenizer` is the folder of a tokenizer that lies outside `path`; then they change with its files, too. The first
    call reads all files; later ones read those that changed.
    """
    try:
        content = _content(path)
        files = [tokenizer / name for name in TOKENIZER_FILES] if tokenizer else []
        content += b"".join(_digest(file) if file.is_file() else b"\0" for file in files)
        return hashlib.sha256(content).hexdigest()[:16]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its files and their permissions") from error


def weight_files(folder: Path) -> list[Path]:
    """The files of a folder in the layout of diffusers that a prior reads, sorted."""
    return sorted(path for part in PARTS for path in folder.glob(part) if path.is_file())


def known_digests(path: Path) -> dict[Path, str]:
    """Hex sha256 that files of the prior at `path` should have, where they are known.

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
        return _digest(path)
    return b"".join(
        file.relative_to(path).as_posix().encode("utf-8", "surrogateescape") + b"\0" + _digest(file)
        for file in weight_files(path)
    )


def _digest(path: Path) -> bytes:
    """The size and the sha256 of a file; the sha256 of a large file is cached for as long as its status is the same.

    The cache is keyed by path, inode, size, and the times of the last write and of the last change of status.
    """
    status = _status(path)
    size = status[1].to_bytes(8)
    if status[1] < LARGE:
        return size + bytes.fromhex(file_sha256(path))
    key = hashlib.sha256(repr((str(path.absolute()), status)).encode("utf-8", "surrogateescape")).hexdigest()
    cached = cache_folder() / "digests" / key
    with suppress(OSError):
        return size + read_cached(cached)
    digest = bytes.fromhex(file_sha256(path))
    # a file that was written just now can change again without another time of its last write
    if time.time() - max(status[2:]) / 1e9 > SETTLED and _status(path) == status:
        with suppress(OSError):  # the cache only saves time
            write_cached(cached, digest)
    return size + digest


def _status(path: Path) -> tuple[int, int, int, int]:
    """What changes when a file is written or replaced: inode, size, and two times in nanoseconds."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _remedy(folder: Path) -> str:
    if folder.resolve() == POCKET.resolve():
        return "install sds3d again (in a checkout: git checkout -- sds3d/priors/pocket/weights)"
    return "make it again with `sds3d prior train` or `sds3d prior convert`, or choose another prior.path"
