"""Pictures of the user's meshes, kept for the next training."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sds3d import cameras
from sds3d.errors import UserError
from sds3d.files import atomic_write, read_regular
from sds3d.imaging import srgb
from sds3d.mesh import raster, render
from sds3d.mesh.importers.solid import Solid
from sds3d.procedural import render_solid, views

DIGEST = 32  # bytes of a SHA-256


class PictureCache:
    """One file for each key, written in one step; one that is damaged counts as missing.

    Without room to write, drawing goes on and `report` gets one line.
    """

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        self.folder, self.report, self.writable = folder, report, True

    def load(self, key: str, shape: tuple[int, ...]) -> Tensor | None:
        """The uint8 tensor of `shape` kept under `key`, or None."""
        size = int(np.prod(shape))
        try:
            data = read_regular(self._path(key), 2 * size + DIGEST)
            if hashlib.sha256(data[DIGEST:]).digest() != data[:DIGEST]:
                return None
            pixels = zlib.decompressobj().decompress(data[DIGEST:], size)
            return torch.from_numpy(np.frombuffer(pixels, np.uint8).reshape(shape).copy())
        except (OSError, ValueError, zlib.error):
            return None

    def save(self, key: str, pictures: Tensor) -> None:
        """Keeps a uint8 tensor under `key`."""
        if not self.writable:
            return
        data = zlib.compress(pictures.contiguous().numpy().tobytes(), 1)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic_write(self._path(key), hashlib.sha256(data).digest() + data)
        except (OSError, UserError) as error:
            self.writable = False
            cause = error if isinstance(error, OSError) else error.__cause__
            reason = getattr(cause, "strerror", None) or error
            self.report(f"pictures are not kept for the next training: {self.folder} cannot be written ({reason})")

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.pictures"


def picture_key(solid: Solid, *settings: object) -> str:
    """A hex digest of a mesh, of the `settings` that it is drawn with, and of the code that draws it."""
    digest = hashlib.sha256(repr((_drawn_by(), views.RESOLUTION, settings)).encode())
    columns = (solid.vertices, solid.faces, solid.normals, solid.colors, solid.uvs, solid.materials)
    for tensor in (*columns, *solid.textures):
        digest.update(repr(tuple(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


@cache
def _drawn_by() -> str:
    """A digest of the code that pictures depend on."""
    digest = hashlib.sha256(torch.__version__.encode())
    for module in (cameras, srgb, raster, render, render_solid, views):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()
