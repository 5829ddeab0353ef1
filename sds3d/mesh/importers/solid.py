"""The triangles that an importer returns, and the checks that hold for every format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.imaging.srgb import to_linear

MAX_FACES = 500_000
MAX_PIXELS = 2**28  # of all its pictures; Pillow refuses a single one from 1.8e8 on
MAX_PICTURES = 1000  # each takes time in every view that shows it
TEXTURE_SIZE = 512  # larger ones are shrunk: more would only flicker in the small pictures that are made of them


@dataclass(frozen=True)
class Solid:
    """Triangles of any number of materials. The order of their corners need not say which side is the front."""

    vertices: Tensor  # [V, 3] float32, world axes, in the units of the file
    faces: Tensor  # [F, 3] int64
    normals: Tensor  # [V, 3], 0 where the file has none
    colors: Tensor  # [V, 3] linear, multiplied with the texture
    uvs: Tensor  # [V, 2], v up; the texture repeats
    materials: Tensor  # [F] int64, which of `textures`
    textures: tuple[Tensor, ...]  # each [H, W, 3] float32 linear, row 0 on top
    notes: tuple[str, ...] = ()  # what the file refers to but lacks, and what is used instead

    def to(self, device: torch.device | str) -> Solid:
        """The same triangles with their tensors on `device`."""
        moved: dict[str, Any] = {n: value.to(device) for n, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved, textures=tuple(x.to(device) for x in self.textures))


def make_solid(
    columns: dict[str, np.ndarray],
    faces: np.ndarray,
    materials: np.ndarray,
    pictures: Sequence[Any],
    notes: Sequence[str] = (),
) -> Solid:
    """A Solid of `columns` (vertices, normals, colors, uvs), its pictures (PIL images, None for white) loaded.

    Raises UserError where there is nothing to draw, and for values that are no numbers.
    """
    if not len(faces):
        raise UserError("has no triangles")
    if not 0 <= faces.min() <= faces.max() < len(columns["vertices"]):
        raise UserError("has triangles between vertices that are not there")
    tensors = {name: torch.from_numpy(np.ascontiguousarray(column)).float() for name, column in columns.items()}
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"its {name} hold NaN or infinity")
    used = tensors["vertices"][torch.from_numpy(faces.flatten()).long()]
    if not (used.amax(0) - used.amin(0)).max() > 0:
        raise UserError("has no extent: all its corners are in one place")
    tensors["colors"] = tensors["colors"].clamp(0, 1)
    return Solid(
        **tensors,
        faces=torch.from_numpy(faces).long(),
        materials=torch.from_numpy(materials).long(),
        textures=_textures(pictures),
        notes=tuple(notes),
    )


def check_faces(count: int) -> None:
    """Raises UserError for more triangles than MAX_FACES."""
    if count > MAX_FACES:
        raise UserError(f"expected at most {MAX_FACES:,} triangles, got {count:,}; simplify it")


def _textures(pictures: Sequence[Any]) -> tuple[Tensor, ...]:
    """Linear textures [H, W, 3] of at most TEXTURE_SIZE, one white texel for None."""
    from PIL import Image

    if len(pictures) > MAX_PICTURES:
        raise UserError(f"has {len(pictures):,} textures; expected at most {MAX_PICTURES:,}; join them in an atlas")
    if (pixels := sum(p.width * p.height for p in pictures if p is not None)) > MAX_PIXELS:
        raise UserError(f"its textures have {pixels:,} pixels; shrink them to at most {MAX_PIXELS:,}")
    textures = []
    for picture in pictures:
        try:
            picture = Image.new("RGB", (1, 1), "white") if picture is None else picture.convert("RGB")
        except Exception as error:  # Pillow's parsers raise any exception
            raise UserError(f"has a texture that cannot be read ({str(error)[:100]!r})") from error
        if max(picture.size) > TEXTURE_SIZE:
            picture.thumbnail((TEXTURE_SIZE, TEXTURE_SIZE), Image.Resampling.BOX)
        textures.append(torch.from_numpy(to_linear(np.asarray(picture) / 255)).float())
    return tuple(textures)
