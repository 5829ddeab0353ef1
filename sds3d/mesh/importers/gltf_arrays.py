"""The arrays of a glTF file (glTF 2.0, section 3.6); nothing is read or allocated before it is used."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np

from sds3d.errors import UserError
from sds3d.mesh.importers.beside import Beside
from sds3d.mesh.importers.gltf_header import entry, natural

TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
MAX_ITEMS = 16_000_000  # of an array; half a million triangles need far fewer


class Arrays:
    """The accessors, buffer views and buffers of a header."""

    def __init__(self, header: dict[str, Any], binary: memoryview | None, beside: Beside) -> None:
        self.header, self.binary, self.beside = header, binary, beside
        self.buffers: dict[int, memoryview] = {}
        self.arrays: dict[int, np.ndarray] = {}

    def read(self, index: Any) -> np.ndarray:
        """An accessor's values as they are stored, [count, width]."""
        accessor = entry(self.header, "accessors", index)
        if index not in self.arrays:
            self.arrays[index] = self._dense(accessor)
        return self.arrays[index]

    def floats(self, index: Any, normalized: bool = False) -> np.ndarray:
        """An accessor's values as they are meant; integers become fractions if it or `normalized` says so."""
        values = self.read(index)
        if values.dtype.kind == "f":
            return values
        if not normalized and self.header["accessors"][index].get("normalized") is not True:
            return values.astype(np.float64)
        return np.maximum(values / np.iinfo(values.dtype).max, -1)

    def view(self, index: Any) -> memoryview:
        """The bytes of a buffer view."""
        view = entry(self.header, "bufferViews", index)
        start = natural(view.get("byteOffset", 0), "byteOffset")
        length = natural(view.get("byteLength"), "byteLength")
        data = self._buffer(view.get("buffer"))[start : start + length]
        if len(data) < length:
            raise UserError("is cut short: its buffers hold less than it refers to")
        return data

    def _dense(self, accessor: dict[str, Any]) -> np.ndarray:
        count = natural(accessor.get("count"), "count")
        if count > MAX_ITEMS:
            raise UserError(f"says that an array has {count:,} items; expected at most {MAX_ITEMS:,}")
        width, offset = WIDTHS[accessor["type"]], accessor.get("byteOffset", 0)
        values = self._stored(accessor.get("bufferView"), offset, (count, width), TYPES[accessor["componentType"]])
        if "sparse" not in accessor:
            return values
        sparse, values = accessor["sparse"], values.copy()
        some = natural(sparse["count"], "count")
        chosen, replaced = sparse["indices"], sparse["values"]
        rows = self._stored(
            chosen["bufferView"], chosen.get("byteOffset", 0), (some, 1), TYPES[chosen["componentType"]]
        )
        values[rows[:, 0]] = self._stored(
            replaced["bufferView"], replaced.get("byteOffset", 0), (some, width), values.dtype.str
        )
        return values

    def _stored(self, view: Any, offset: Any, shape: tuple[int, int], dtype: str) -> np.ndarray:
        """An array [count, width] in a buffer view; zeros if `view` is None."""
        if view is None:
            return np.zeros(shape, dtype)
        data, size = self.view(view), np.dtype(dtype).itemsize
        stride = self.header["bufferViews"][view].get("byteStride", size * shape[1])
        stride, offset = natural(stride, "byteStride"), natural(offset, "byteOffset")
        if shape[0] and offset + stride * (shape[0] - 1) + size * shape[1] > len(data):
            raise UserError("is cut short: its buffers hold less than it refers to")
        return np.ndarray(shape, dtype, data, offset if shape[0] else 0, (stride, size))

    def _buffer(self, index: Any) -> memoryview:
        buffer = entry(self.header, "buffers", index)
        if index not in self.buffers:
            if "uri" in buffer:
                self.buffers[index] = memoryview(load_uri(buffer["uri"], self.beside))
            elif index == 0 and self.binary is not None:
                self.buffers[index] = self.binary
            else:
                raise UserError("has a buffer without content; export it without compression")
        return self.buffers[index]


def load_uri(uri: str, beside: Beside) -> bytes:
    """What a data URI holds, or the content of the file that `uri` names."""
    if not uri.startswith("data:"):
        return beside.read(uri)
    try:
        return base64.b64decode(uri.partition("base64,")[2])
    except binascii.Error as error:
        raise UserError(f"has a data URI that is not base64 ({error})") from error
