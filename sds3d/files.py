"""Atomic writes, reads of untrusted files, the files of the user's cache, and error messages for disk errors."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from sds3d.errors import UserError

DIGEST = b"\nsha256:"  # stands between the content of a cached file and its digest
TRAILER = len(DIGEST) + 32  # bytes
MAX_JSON = 1 << 20  # bytes; a report or a state has a few thousand


def atomic_write(path: Path, content: bytes | str | Callable[[Path], object]) -> None:
    """Puts `content` at `path` in one step: a reader sees the old file or the whole new one, also after a crash.

    A callable writes the file itself, to a temporary path (same folder, same suffix) that it receives. A link at `path`
    is a UserError: it may be meant to stay, and what it points to is not ours.
    """
    if path.is_symlink():
        raise UserError(f"{path} is a link, which would be replaced by a file; remove it or choose another path")
    try:
        _put(path, content)
    except OSError as error:
        raise refused(error, path, None if callable(content) else len(content)) from error


def write_cached(path: Path, content: bytes) -> None:
    """Puts `content` and its sha256 at `path`, atomically, for `read_cached`; OSError if the disk refuses it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _put(path, content + DIGEST + hashlib.sha256(content).digest())


def read_cached(path: Path) -> bytes:
    """The `content` that `write_cached` put at `path`; OSError if it is not there, or not all of it.

    A file system may lose the end of a file when the machine loses its power, and so may whoever copies a cache.
    """
    data = path.read_bytes()
    content, mark, digest = data[:-TRAILER], data[-TRAILER:-32], data[-32:]
    if mark != DIGEST or hashlib.sha256(content).digest() != digest:
        raise OSError(f"{path} is damaged: its {len(data)} bytes do not end with their sha256")
    return content


def _put(path: Path, content: bytes | str | Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.stem}.tmp-{os.getpid()}{path.suffix}")
    try:
        partial.unlink(missing_ok=True)  # of a killed process with the same id, or a link, which is never followed
        if callable(content):
            content(partial)
        else:
            with partial.open("xb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
        fsync(partial)
        os.replace(partial, path)
        fsync(path.parent)
    finally:
        with suppress(OSError):  # the file or its folder does not exist
            partial.unlink()


def fsync(path: Path) -> None:
    """Waits until a file, or the entries of a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refused(error: OSError, path: Path, needed: int | None = None) -> UserError:
    """A UserError for `error` while writing `path`: the reason, the free space and the next step."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        why = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}.get(
            error.errno, "the file size limit is reached"
        )
        room = f"{megabytes(needed)} needed, " if needed is not None else ""
        return UserError(
            f"cannot write {path}: {why} ({room}{megabytes(free_bytes(path))} free on that disk); "
            "make room or choose another folder with out=FOLDER, then run the same command again"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(
            f"cannot write {path}: {os.strerror(error.errno)}; choose a folder of yours with out=FOLDER, "
            "or change its permissions"
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return UserError(f"cannot write {path}: {reason}; choose another folder with out=FOLDER")


def open_regular(path: Path) -> BufferedReader:
    """A regular file, open for reading; OSError if it cannot be opened, ValueError for a FIFO, a device or a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # else to open a FIFO would wait for a writer
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("is not a regular file")
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; errors as for `open_regular`, ValueError if larger."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ValueError(f"expected at most {limit:,} bytes, got {size:,}")
        data = file.read(size + 1) or b""
    if len(data) != size:  # it changes, or is one of /proc, whose sizes are 0
        raise ValueError(f"expected {size:,} bytes, as the file system says, got others")
    return data


def read_json(path: Path, limit: int = MAX_JSON) -> dict[str, Any]:
    """The object in a JSON file, which may be hostile: of any size, depth and type.

    OSError if it cannot be read; ValueError, with a reason that does not name the file, for all else.
    """
    data = read_regular(path, limit)
    try:
        content = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object, got a {type(content).__name__}")
    return content


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file; errors as for `open_regular`."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def user_path(text: str) -> Path:
    """The path that a user wrote in a config or on the command line; as in a shell, a leading ~ is a home folder."""
    return Path(os.path.expanduser(text))


def free_bytes(path: Path) -> int:
    """Free bytes for this user on the disk that holds `path`, which need not exist yet."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def megabytes(count: int) -> str:
    """A human-readable byte count."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def cache_folder() -> Path:
    """The user's cache of compiled code, prompt embeddings and model weights."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sds3d"
