"""Meshes that other programs wrote, GLB or OBJ, in world axes; the files are untrusted input."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.files import megabytes
from sds3d.imaging.srgb import to_linear
from sds3d.mesh.exporters.glb import WORLD_TO_GLTF
from sds3d.mesh.glb_header import check_glb

SUFFIXES = (".glb", ".obj")
MAX_BYTES = 256_000_000  # of one file, and of all that it refers to
MAX_FACES = 500_000
SHOWN = 5  # of what is wrong with the files that one refers to
MAX_PIXELS = 2**28  # of all its pictures; Pillow refuses a single one from 1.8e8 on
TEXTURE_SIZE = 512  # larger ones are shrunk: more would only flicker in the small pictures that are made of them


@dataclass(frozen=True)
class Solid:
    """Triangles of any number of materials; which of their sides is the front need not be right."""

    vertices: Tensor  # [V, 3] float32, world axes, in the units of the file
    faces: Tensor  # [F, 3] int64
    normals: Tensor  # [V, 3], 0 where the file has none
    colors: Tensor  # [V, 3] linear, multiplied with the texture
    uvs: Tensor  # [V, 2], v up; the texture repeats
    materials: Tensor  # [F] int64, which of `textures`
    textures: tuple[Tensor, ...]  # each [H, W, 3] float32 linear, row 0 on top

    def to(self, device: torch.device | str) -> Solid:
        """The same triangles with their tensors on `device`."""
        moved = {name: value.to(device) for name, value in vars(self).items() if name != "textures"}
        return Solid(**moved, textures=tuple(x.to(device) for x in self.textures))


def read_solid(name: str, files: Mapping[str, Path]) -> Solid:
    """The mesh `name` of `files`: all files, by their paths relative to a folder, that it may refer to.

    Raises UserError with the problem, without the name of the file.
    """
    suffix = posixpath.splitext(name)[1].lower()
    data = _read(files[name], MAX_BYTES)
    textured = 0
    if suffix == ".glb":
        textured = check_glb(data)
    elif (count := data.count(b"\nf ")) > MAX_FACES:
        raise _too_many(count)
    beside = _Beside(posixpath.dirname(name), files)
    try:
        solid = _load(data, suffix, beside, textured)
    except UserError:
        raise
    except Exception as error:  # the parsers of trimesh raise any exception on malformed files
        why = f"cannot be read ({type(error).__name__}: {str(error)[:200]!r})"
        raise UserError("; ".join(beside.problems[:SHOWN]) or why) from error
    if beside.problems:
        raise UserError("; ".join(beside.problems[:SHOWN]))
    return solid


def _load(data: bytes, suffix: str, beside: _Beside, textured: int) -> Solid:
    """The triangles of a file, of whose geometries `textured` have a base-color texture."""
    import trimesh

    resolver: Any = beside  # it has what trimesh calls of a Resolver
    scene = trimesh.load_scene(io.BytesIO(data), file_type=suffix[1:], resolver=resolver, process=False)
    meshes = {key: one for key, one in scene.geometry.items() if isinstance(one, trimesh.Trimesh)}
    materials = [getattr(geometry.visual, "material", None) for geometry in meshes.values()]
    if sum(getattr(material, "baseColorTexture", None) is not None for material in materials) < textured:
        raise UserError("has a texture that cannot be read; expected PNG or JPEG")
    nodes = [scene.graph[node] for node in scene.graph.nodes_geometry]
    placed = [(transform, meshes[key]) for transform, key in nodes if key in meshes]
    count = sum(max(len(geometry.faces), len(geometry.vertices) // 3) for _, geometry in placed)
    if count > MAX_FACES:
        raise _too_many(count)
    return _checked(_join([_piece(geometry, transform, suffix) for transform, geometry in placed]))


def _too_many(count: int) -> UserError:
    return UserError(f"expected at most {MAX_FACES:,} triangles, got {count:,}; simplify it")


def _read(path: Path, room: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > room:
            raise UserError(f"expected at most {megabytes(MAX_BYTES)} in all, got {megabytes(MAX_BYTES - room + size)}")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})") from error


class _Beside:
    """What trimesh asks for the files that a mesh names: looked up in a list, so that no name is ever opened as a path.

    It passes over files that it cannot have, and the mesh would lose its colors; `problems` remembers them.
    """

    def __init__(self, folder: str, files: Mapping[str, Path]) -> None:
        self.folder, self.files, self.room = folder, files, MAX_BYTES
        self.problems: list[str] = []

    def get(self, name: str) -> bytes:
        """The content of the file `name`, relative to the mesh."""
        try:
            wanted = posixpath.normpath(posixpath.join(self.folder, name.strip().replace("\\", "/")))
            if wanted not in self.files:
                raise UserError("no such file in that folder")
            data = _read(self.files[wanted], self.room)
            self.room -= len(data)
            if not wanted.lower().endswith((".mtl", ".bin")):
                _check_picture(data)
        except UserError as error:
            self.problems.append(f"refers to {name[:200]!r}: {error}")
            raise FileNotFoundError(name) from error
        return data

    __getitem__ = get


def _check_picture(data: bytes) -> None:
    from PIL import Image

    try:
        Image.open(io.BytesIO(data)).close()
    except Exception as error:  # Pillow's parsers too
        raise UserError("not a picture that can be read; expected PNG or JPEG") from error


def _piece(geometry: Any, transform: np.ndarray, suffix: str) -> dict[str, Any]:
    """The columns of a Solid that are one geometry's, in world axes, and its picture or None."""
    material, uvs = getattr(geometry.visual, "material", None), getattr(geometry.visual, "uv", None)
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    faces = np.asarray(geometry.faces)
    # The property makes up smooth ones, round the edges of a box too; its exporters ask the same.
    normals = geometry.vertex_normals if "vertex_normals" in geometry._cache else np.zeros((len(geometry.vertices), 3))
    return {
        "vertices": (geometry.vertices @ transform[:3, :3].T + transform[:3, 3]) @ WORLD_TO_GLTF,
        "normals": normals @ np.linalg.pinv(transform[:3, :3]) @ WORLD_TO_GLTF,
        "faces": faces[:, ::-1] if np.linalg.det(transform[:3, :3]) < 0 else faces,  # a mirror turns them round
        "colors": _colors(geometry, suffix),
        "uvs": np.zeros((len(geometry.vertices), 2)) if uvs is None else uvs,
        "picture": None if uvs is None else picture,
    }


def _colors(geometry: Any, suffix: str) -> np.ndarray:
    """Linear colors of the vertices, [V, 3]. They are linear in a GLB, and sRGB by custom in an OBJ.

    A picture replaces the Kd of an OBJ, which exporters leave at odd values, and multiplies the factor of a GLB.
    """
    visual, colors = geometry.visual, np.ones((len(geometry.vertices), 3))
    material = getattr(visual, "material", None)
    if visual.kind == "vertex":
        colors = colors * visual.vertex_colors[:, :3] / 255
    elif material is not None and suffix == ".obj":
        if getattr(material, "image", None) is None and "kd" in material.kwargs:
            colors = colors * material.diffuse[:3] / 255
    elif material is not None:
        vertex_colors = visual.vertex_attributes.get("color")
        if vertex_colors is not None:
            scale = 1 if vertex_colors.dtype.kind == "f" else np.iinfo(vertex_colors.dtype).max
            colors = colors * vertex_colors[:, :3] / scale
        if material.baseColorFactor is not None:
            colors = colors * material.baseColorFactor[:3] / 255
    return to_linear(colors) if suffix == ".obj" else colors


def _join(pieces: list[dict[str, Any]]) -> Solid:
    if not any(len(piece["faces"]) for piece in pieces):
        raise UserError("has no triangles")
    for piece in pieces:
        if len(piece["faces"]) and not 0 <= piece["faces"].min() <= piece["faces"].max() < len(piece["vertices"]):
            raise UserError("has triangles between vertices that are not there")
    starts = np.cumsum([0] + [len(piece["vertices"]) for piece in pieces[:-1]])
    pictures = {id(piece["picture"]): piece["picture"] for piece in pieces}  # many pieces can share one
    index = {key: number for number, key in enumerate(pictures)}

    def column(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([piece[name] for piece in pieces])).float()

    return Solid(
        column("vertices"),
        torch.cat([torch.from_numpy(p["faces"] + start).long() for p, start in zip(pieces, starts, strict=True)]),
        column("normals"),
        column("colors").clamp(0, 1),
        column("uvs"),
        torch.cat([torch.full((len(piece["faces"]),), index[id(piece["picture"])]) for piece in pieces]),
        _textures(list(pictures.values())),
    )


def _textures(pictures: list[Any]) -> tuple[Tensor, ...]:
    """Linear textures [H, W, 3] of at most TEXTURE_SIZE, one white texel for None."""
    from PIL import Image

    if (pixels := sum(p.width * p.height for p in pictures if p is not None)) > MAX_PIXELS:
        raise UserError(f"its textures have {pixels:,} pixels; shrink them to at most {MAX_PIXELS:,}")
    textures = []
    for picture in pictures:
        picture = Image.new("RGB", (1, 1), "white") if picture is None else picture.convert("RGB")
        if max(picture.size) > TEXTURE_SIZE:
            picture.thumbnail((TEXTURE_SIZE, TEXTURE_SIZE), Image.Resampling.BOX)
        textures.append(torch.from_numpy(to_linear(np.asarray(picture) / 255)).float())
    return tuple(textures)


def _checked(solid: Solid) -> Solid:
    for name in ("vertices", "normals", "colors", "uvs"):
        if not torch.isfinite(getattr(solid, name)).all():
            raise UserError(f"its {name} hold NaN or infinity")
    used = solid.vertices[solid.faces.flatten()]
    if not (used.amax(0) - used.amin(0)).max() > 0:
        raise UserError("has no extent: all its corners are in one place")
    return solid
