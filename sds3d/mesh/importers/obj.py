"""OBJ files: every face of every group, with the colors of its MTL files, in linear time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sds3d.errors import UserError
from sds3d.imaging.srgb import to_linear
from sds3d.mesh.exporters.glb import WORLD_TO_GLTF
from sds3d.mesh.importers import solid
from sds3d.mesh.importers.beside import Beside, Missing
from sds3d.mesh.importers.mtl import Material, parse_mtl
from sds3d.mesh.importers.obj_lines import ObjLines
from sds3d.mesh.importers.polygons import triangulate

SHOWN = 5  # problems, or names in a note


def read_obj(data: bytes, beside: Beside) -> solid.Solid:
    """The triangles of an OBJ file. What has no material is as white as its vertex colors let it be."""
    lines = ObjLines(data)
    solid.check_faces(lines.triangles)
    if not lines.triangles:
        raise UserError("has no triangles")
    found, notes = _materials(lines, beside)
    materials = [found.get(name) for name in lines.names]
    position, uv, normal, material = np.array(lines.vertices, np.int64).reshape(-1, 4).T
    _check_numbers(position, len(lines.positions) // 3, lowest=1)
    positions = _rows(lines.positions, 3)[position]
    uvs = _column(lines.uvs, 2, uv)
    textured = np.bincount(material, uv > 0, len(materials)) > 0  # those with coordinates for a picture
    pictures, which = _pictures(materials, textured, beside)
    scales = np.array([one.scale if one else (1, 1) for one in materials], np.float64)
    offsets = np.array([one.offset if one else (0, 0) for one in materials], np.float64)
    columns = {
        "vertices": positions @ WORLD_TO_GLTF,
        "normals": _column(lines.normals, 3, normal) @ WORLD_TO_GLTF,
        "colors": to_linear(_colors(materials, which, material, _rows(lines.colors, 3)[position]).clip(0, 1)),
        "uvs": uvs * scales[material] + offsets[material],
    }
    corners, counts = (np.array(x, np.int64) for x in (lines.corners, lines.counts))
    faces, owners = triangulate(positions, corners, counts)
    of_polygon = material[corners[np.cumsum(counts) - counts]]
    return solid.make_solid(columns, faces, which[of_polygon[owners]], pictures, notes)


def _rows(values: Sequence[float], width: int) -> np.ndarray:
    """The lines' values with a row of zeros before them: they are numbered from 1, and 0 means none."""
    return np.concatenate([np.zeros((1, width)), np.array(values, np.float64).reshape(-1, width)])


def _column(values: Sequence[float], width: int, numbers: np.ndarray) -> np.ndarray:
    """The values of each vertex [V, width]; zeros if the file has none at all, whatever its faces say."""
    if not len(values):
        return np.zeros((len(numbers), width))
    _check_numbers(numbers, len(values) // width, lowest=0)
    return _rows(values, width)[numbers]


def _check_numbers(numbers: np.ndarray, count: int, lowest: int) -> None:
    if len(numbers) and not lowest <= numbers.min() <= numbers.max() <= count:
        raise UserError("has triangles between vertices that are not there")


def _colors(
    materials: list[Material | None], which: np.ndarray, material: np.ndarray, colors: np.ndarray
) -> np.ndarray:
    """sRGB colors of the vertices, [V, 3].

    A picture replaces the Kd, which exporters leave at odd values. A material replaces the vertex `colors` [V, 3],
    which are white where they are NaN; some programs write them from 0 to 255.
    """
    diffuse = np.array([one.diffuse if one else (1, 1, 1) for one in materials], np.float64)
    diffuse[which > 0] = 1
    own = np.nan_to_num(colors / (255 if np.nanmax(colors, initial=0) > 1 else 1), nan=1.0)
    has = np.array([one is not None for one in materials], bool)
    return np.where(has[material, None], diffuse[material], own)


def _materials(lines: ObjLines, beside: Beside) -> tuple[dict[str, Material], list[str]]:
    """The materials of all MTL files that there are, and notes on what is missing."""
    found: dict[str, Material] = {}
    notes = []
    for name in lines.libraries:
        try:
            found |= _library(name, beside)
        except Missing as missing:
            notes.append(str(missing))
    lacking = [name for name in lines.names if name and name not in found]
    if lacking:
        names = ", ".join(repr(name[:80]) for name in lacking[:SHOWN])
        notes.append(f"{len(lacking):,} materials without a description ({names}): drawn white, or in vertex colors")
    elif lines.names and not found and np.isnan(lines.colors).all():
        notes.append("has neither materials nor vertex colors: drawn white")
    return found, notes


def _library(name: str, beside: Beside) -> dict[str, Material]:
    """The materials of the MTL file `name`, or of several whose names stand there, spaces between them."""
    try:
        return parse_mtl(beside.read(name))
    except Missing:
        if len(name.split()) < 2:
            raise
        several: dict[str, Material] = {}
        for word in name.split():
            several |= parse_mtl(beside.read(word))
        return several


def _pictures(materials: list[Material | None], textured: np.ndarray, beside: Beside) -> tuple[list[Any], np.ndarray]:
    """All pictures, the first of them None, and which of them each material has [M], 0 for none."""
    pictures: list[Any] = [None]
    places: dict[str, int] = {}
    problems = []
    which = np.zeros(len(materials), np.int64)
    for number, material in enumerate(materials):
        name = material.picture if material and textured[number] else None
        if name is None:
            continue
        if name not in places:
            places[name] = len(pictures)
            try:
                pictures.append(beside.picture(name))
            except UserError as error:
                pictures.append(None)
                problems.append(str(error))
        which[number] = places[name]
    if problems:
        raise UserError("; ".join(problems[:SHOWN]))
    return pictures, which
