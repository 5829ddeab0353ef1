"""GLB and glTF files: every triangle of the default scene, in linear time."""

from __future__ import annotations

from typing import Any

import numpy as np

from sds3d.errors import UserError
from sds3d.mesh.exporters.glb import WORLD_TO_GLTF
from sds3d.mesh.importers.beside import Beside
from sds3d.mesh.importers.gltf_arrays import Arrays
from sds3d.mesh.importers.gltf_header import entry, natural, read_header
from sds3d.mesh.importers.gltf_materials import BaseColor, Materials
from sds3d.mesh.importers.solid import Solid, check_faces, make_solid

TRIANGLES, STRIP, FAN = 4, 5, 6  # modes of primitives; the others are points and lines
COLUMNS = {"vertices": 3, "normals": 3, "colors": 3, "uvs": 2}  # their widths


def read_gltf(data: bytes, beside: Beside) -> Solid:
    """The triangles of a GLB or glTF file, in the pose of its nodes; skins and animations do not move them."""
    header, binary = read_header(data)
    placed = [
        (primitive, transforms)
        for index, transforms in _placements(header).items()
        for primitive in entry(header, "meshes", index)["primitives"]
        if primitive.get("mode", TRIANGLES) in (TRIANGLES, STRIP, FAN)
    ]
    check_faces(sum(_count(header, primitive) * len(transforms) for primitive, transforms in placed))
    arrays = Arrays(header, binary, beside)
    materials = Materials(header, arrays)
    pieces, faces, numbers = [], [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int64)]
    start = 0
    for primitive, transforms in placed:
        base = materials.base_color(primitive.get("material"))
        columns, corners, textured = _piece(primitive, np.stack(transforms), arrays, base)
        pieces.append(columns)
        faces.append(corners + start)
        numbers.append(np.full(len(corners), base.picture if textured else 0))
        start += len(columns["vertices"])
    none = {name: np.zeros((0, width)) for name, width in COLUMNS.items()}
    joined = {name: np.concatenate([piece[name] for piece in [none, *pieces]]) for name in COLUMNS}
    return make_solid(joined, np.concatenate(faces), np.concatenate(numbers), materials.pictures)


def _placements(header: dict[str, Any]) -> dict[int, list[np.ndarray]]:
    """The transforms [4, 4], in glTF's axes, of each mesh that stands in the default scene."""
    if not header.get("scenes"):
        return {}
    roots = entry(header, "scenes", header.get("scene", 0)).get("nodes", [])
    waiting = [(index, np.eye(4)) for index in reversed(roots)]
    seen: set[int] = set()
    placements: dict[int, list[np.ndarray]] = {}
    while waiting:
        index, above = waiting.pop()
        node = entry(header, "nodes", index)
        if index in seen:
            raise UserError(f"has a node that stands in two places or below itself: number {index}")
        seen.add(index)
        if "EXT_mesh_gpu_instancing" in node.get("extensions", {}):
            raise UserError("needs 'EXT_mesh_gpu_instancing', which is not understood; export it without")
        transform = _local(node, above)
        if "mesh" in node:
            placements.setdefault(natural(node["mesh"], "an index of meshes"), []).append(transform)
        waiting += [(child, transform) for child in reversed(node.get("children", []))]
    return placements


def _local(node: dict[str, Any], above: np.ndarray) -> np.ndarray:
    """The transform [4, 4] of a node, below one with the transform `above`: T R S or a matrix by columns."""
    if "matrix" in node:
        return above @ np.array(node["matrix"], np.float64).reshape(4, 4).T
    if not node.keys() & {"translation", "rotation", "scale"}:
        return above
    local = np.eye(4)
    if "rotation" in node:
        local[:3, :3] = _rotation(*node["rotation"])
    if "scale" in node:
        local[:3, :3] *= np.array(node["scale"], np.float64).reshape(3)
    if "translation" in node:
        local[:3, 3] = np.array(node["translation"], np.float64).reshape(3)
    return above @ local


def _rotation(x: float, y: float, z: float, w: float) -> np.ndarray:
    """The rotation [3, 3] of a quaternion, which need not have length 1."""
    s = 2 / (x * x + y * y + z * z + w * w)
    return np.array([
        [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
        [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
        [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
    ])  # fmt: skip


def _count(header: dict[str, Any], primitive: dict[str, Any]) -> int:
    """How many triangles a primitive has."""
    corners = entry(header, "accessors", primitive.get("indices", primitive["attributes"]["POSITION"]))
    count = natural(corners.get("count"), "count")
    return count // 3 if primitive.get("mode", TRIANGLES) == TRIANGLES else max(0, count - 2)


def _piece(
    primitive: dict[str, Any], transforms: np.ndarray, arrays: Arrays, base: BaseColor
) -> tuple[dict[str, np.ndarray], np.ndarray, bool]:
    """A primitive in each of its K places: columns [K V, ...], faces [K F, 3], and whether it has the texture's UVs.

    Only vertices that triangles use are kept: many primitives can share one large array.
    """
    attributes = primitive["attributes"]
    compressed = "KHR_draco_mesh_compression" in primitive.get("extensions", {})
    if compressed and "bufferView" not in entry(arrays.header, "accessors", attributes["POSITION"]):
        raise UserError("needs 'KHR_draco_mesh_compression', which is not understood; export it without")
    corners = _corners(primitive, arrays)
    used, faces = np.unique(corners, return_inverse=True)
    faces, count = faces.reshape(-1, 3), len(used)

    def column(name: str, normalized: bool = False) -> np.ndarray:
        values = arrays.floats(attributes[name], normalized)
        if count and used[-1] >= len(values):
            raise UserError("has triangles between vertices that are not there")
        return values[used].astype(np.float64)

    normals = column("NORMAL") if "NORMAL" in attributes else np.zeros((count, 3))
    colors = np.tile(base.factor, (count, 1))
    if "COLOR_0" in attributes:
        colors *= column("COLOR_0", normalized=True)[:, :3]
    textured = f"TEXCOORD_{base.uv_set}" in attributes
    uvs = _uvs(column(f"TEXCOORD_{base.uv_set}"), base.uv_matrix) if textured else np.zeros((count, 2))
    vertices, normals, mirrored = _place(column("POSITION"), normals, transforms)
    places = len(transforms)
    each = np.where(mirrored[:, None, None], faces[:, ::-1], faces) + count * np.arange(places)[:, None, None]
    columns = {"vertices": vertices, "normals": normals, "colors": colors, "uvs": uvs}
    columns = {name: _repeat(values, places) for name, values in columns.items()}
    return columns, each.reshape(-1, 3), textured


def _repeat(values: np.ndarray, places: int) -> np.ndarray:
    """Columns [V, W] or [K, V, W] as [K V, W]."""
    return values.reshape(-1, values.shape[2]) if values.ndim == 3 else np.tile(values, (places, 1))


def _corners(primitive: dict[str, Any], arrays: Arrays) -> np.ndarray:
    """The vertices of a primitive's triangles, three after three (glTF 2.0, section 3.7.2.1)."""
    if "indices" in primitive:
        flat = arrays.read(primitive["indices"])[:, 0]
        if flat.dtype.kind != "u":
            raise UserError("has indices that are not unsigned integers")
        flat = flat.astype(np.int64)
    else:
        flat = np.arange(len(arrays.read(primitive["attributes"]["POSITION"])))
    mode = primitive.get("mode", TRIANGLES)
    if mode == TRIANGLES:
        return flat[: len(flat) // 3 * 3]
    first = np.arange(max(0, len(flat) - 2))
    if mode == FAN:
        return flat[np.stack([first + 1, first + 2, np.zeros_like(first)], 1).reshape(-1)]
    odd = first % 2  # every other triangle of a strip turns round
    return flat[np.stack([first, first + 1 + odd, first + 2 - odd], 1).reshape(-1)]


def _uvs(stored: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Texture coordinates [V, 2], v up, of the `stored` ones, v down."""
    placed = stored if matrix is None else stored @ matrix[:, :2].T + matrix[:, 2]
    return np.stack([placed[:, 0], 1 - placed[:, 1]], 1)


def _place(
    positions: np.ndarray, normals: np.ndarray, transforms: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions and unit normals [K, V, 3] in world axes by K `transforms`, and which of them mirror [K]."""
    linear, offset = transforms[:, :3, :3], transforms[:, None, :3, 3]
    x, y, z = linear[:, :, 0], linear[:, :, 1], linear[:, :, 2]
    # The matrix of cofactors is that of normals, up to a factor, also where the transform has no inverse.
    cofactors = np.stack([np.cross(y, z), np.cross(z, x), np.cross(x, y)], 2)
    mirrored = np.linalg.det(linear) < 0
    signs = np.where(mirrored, -1.0, 1.0)[:, None, None]
    placed = positions @ linear.transpose(0, 2, 1) + offset
    turned = normals @ cofactors.transpose(0, 2, 1) * signs
    lengths = np.linalg.norm(turned, axis=2, keepdims=True)
    units = turned / np.where(lengths == 0, 1, lengths)
    return placed @ WORLD_TO_GLTF, units @ WORLD_TO_GLTF, mirrored
