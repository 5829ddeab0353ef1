"""The header of a glTF file, checked before its content is read."""

from __future__ import annotations

import json
import struct
from typing import Any

from sds3d.errors import UserError
from sds3d.files import megabytes

MAX_HEADER = 32_000_000  # bytes
MAX_PARTS = 50_000  # nodes, and primitives: each of them costs time, however small it is
LARGEST = 2**53  # every integer up to it has a place in JSON; a longer one would fill the message
# Beside those named KHR_materials_*, of which the base color needs none.
UNDERSTOOD = {"KHR_texture_transform", "KHR_mesh_quantization", "EXT_texture_webp", "KHR_lights_punctual"}


def read_header(data: bytes) -> tuple[dict[str, Any], memoryview | None]:
    """The JSON of a GLB or glTF file, and the binary chunk of a GLB, None without one.

    Raises UserError for a file that is not whole, is no glTF 2.0, or needs an extension that is not understood.
    """
    try:
        header, binary = _split(data)
        _check(header)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        if isinstance(error, UserError):
            raise
        why = f"{type(error).__name__}: {str(error)[:200]!r}"
        raise UserError(f"is not a whole GLB or glTF file ({why})") from error
    return header, binary


def _split(data: bytes) -> tuple[dict[str, Any], memoryview | None]:
    if data[:4] != b"glTF":
        _check_size(len(data), "export it as GLB")
        return json.loads(data), None
    version, _, length, kind = struct.unpack_from("<III4s", data, 4)
    if version != 2:
        raise UserError(f"is glTF {version}.0; expected 2.0: open it in Blender or another program and export it again")
    if kind != b"JSON":
        raise ValueError(f"its first chunk is {kind!r}")
    _check_size(length, "join its parts")
    binary, start = None, 20 + length
    while binary is None and start + 8 <= len(data):
        size, kind = struct.unpack_from("<I4s", data, start)
        if kind == b"BIN\0":  # other chunks are to be ignored
            binary = memoryview(data)[start + 8 : start + 8 + size]
            if len(binary) < size:
                raise ValueError(f"{size - len(binary)} bytes are missing at its end")
        start += 8 + size
    return json.loads(data[20 : 20 + length]), binary


def _check_size(length: int, remedy: str) -> None:
    if length > MAX_HEADER:
        raise UserError(f"has {megabytes(length)} of JSON; expected at most {megabytes(MAX_HEADER)}: {remedy}")


def _check(header: dict[str, Any]) -> None:
    version = str(header["asset"].get("version"))
    if version.split(".")[0] != "2":
        raise UserError(
            f"is glTF {version[:20]}; expected 2.0: open it in Blender or another program and export it again"
        )
    needed = [str(name) for name in header.get("extensionsRequired", [])]
    needed = [name for name in needed if name not in UNDERSTOOD and not name.startswith("KHR_materials_")]
    if needed:
        raise UserError(f"needs {', '.join(needed)[:200]!r}, which is not understood; export it without")
    primitives = sum(len(mesh["primitives"]) for mesh in header.get("meshes", []))
    for name, count in (("nodes", len(header.get("nodes", []))), ("primitives", primitives)):
        if count > MAX_PARTS:
            raise UserError(f"has {count:,} {name}; expected at most {MAX_PARTS:,}; join its parts")


def entry(header: dict[str, Any], name: str, index: Any) -> dict[str, Any]:
    """The dict at `index` of the header's list `name`; raises UserError if there is none."""
    entries = header.get(name, [])
    if natural(index, f"an index of {name}") >= len(entries) or not isinstance(entries[index], dict):
        raise UserError(f"refers to number {index} of its {name}, which is not there")
    return entries[index]


def natural(value: Any, what: str) -> int:
    """`value` if it is a non-negative integer; raises UserError that says `what` it is otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise UserError(f"{what} is not a non-negative integer: {str(value)[:40]!r}")
    return value
