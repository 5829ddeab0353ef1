"""Checks of the header of a GLB before its content is read."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from typing import Any

from sds3d.errors import UserError

MAX_HEADER = 32_000_000  # bytes
MAX_ITEMS = 16_000_000  # of all arrays: what half a million triangles can need, each corner with six attributes
FLOAT, UINT16 = 5126, 5123  # component types
TRIANGLES, STRIP = 4, 5  # modes of primitives


def check_glb(data: bytes) -> int:
    """How many of its triangle primitives have a base color picture.

    Raises UserError for arrays larger than any honest file's, and for what trimesh would read as something else.
    """
    try:
        return _check(_header(data), len(data))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, struct.error) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"is not a whole GLB file ({type(error).__name__}: {str(error)[:200]!r})") from error


def _header(data: bytes) -> dict[str, Any]:
    magic, _, _, length, kind = struct.unpack_from("<4sIII4s", data)
    if magic != b"glTF" or kind != b"JSON" or length > MAX_HEADER:
        raise ValueError(f"begins with {magic!r}, {kind!r} and {length} bytes of header")
    return json.loads(data[20 : 20 + length])


def _check(header: dict[str, Any], size: int) -> int:
    accessors, materials = header.get("accessors", []), header.get("materials", [])
    items = _total(accessor["count"] for accessor in accessors)
    viewed = _total(view["byteLength"] for view in header.get("bufferViews", []))
    if items > MAX_ITEMS or viewed > 2 * size:
        raise UserError(f"says that its arrays have {items:,} items; expected at most {MAX_ITEMS:,}, all in the file")
    needed = [name for name in header.get("extensionsRequired", []) if not name.startswith("KHR_materials_")]
    if needed:
        raise UserError(f"needs {', '.join(needed)[:200]!r}, which is not understood; export it without")
    textured = 0
    for primitive in (p for mesh in header.get("meshes", []) for p in mesh["primitives"]):
        attributes, material = primitive["attributes"], primitive.get("material")
        if "TEXCOORD_0" in attributes and accessors[attributes["TEXCOORD_0"]]["componentType"] != FLOAT:
            raise UserError("has texture coordinates in integers; export them as floats")
        if "COLOR_0" in attributes and material is None and accessors[attributes["COLOR_0"]]["componentType"] == UINT16:
            raise UserError("has 16-bit vertex colors and no material; give it one")
        if material is not None and primitive.get("mode", TRIANGLES) in (TRIANGLES, STRIP):
            textured += "baseColorTexture" in materials[material].get("pbrMetallicRoughness", {})
    return textured


def _total(counts: Iterable[Any]) -> int:
    """The sum of `counts`, each of which must be a non-negative integer."""
    counts = list(counts)
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        raise ValueError("a count is not a non-negative integer")
    return sum(counts)
