"""Small meshes as other programs write them, and how tests read them."""

import json
import struct

import numpy as np

from sds3d.mesh.foreign import read_solid

TRIANGLE = ((0, 0, 0), (1, 0, 0), (0, 1, 0))
TYPES = {"f4": 5126, "u1": 5121, "i1": 5120, "u2": 5123, "i2": 5122, "u4": 5125}
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


def solid_of(folder, name):
    return read_solid(name, {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")})


def area(solid):
    """The area of its triangles, in float64."""
    a, b, c = solid.vertices.double()[solid.faces].unbind(1)
    return ((b - a).cross(c - a, dim=1).norm(dim=1) / 2).sum().item()


def glb(header, binary=b""):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def gltf(arrays, **changes):
    """(header, binary) of one node with one primitive: TRIANGLES, accessor 0 its positions, each accessor an array."""
    header = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}} | changes.pop("primitive", {})]}],
        "bufferViews": [], "accessors": [],
    }  # fmt: skip
    binary = b""
    for array in arrays:
        array = np.asarray(array)
        columns = array.reshape(len(array), -1)
        stored = columns.tobytes()
        header["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(stored)})
        header["accessors"].append({
            "bufferView": len(header["accessors"]), "componentType": TYPES[array.dtype.str[1:]],
            "count": len(array), "type": KINDS[columns.shape[1]],
        })  # fmt: skip
        binary += stored + bytes(-len(stored) % 4)
    header["buffers"] = [{"byteLength": len(binary)}]
    return header | changes, binary


def triangle(vertices=TRIANGLE, **changes):
    """A GLB of one triangle with an array of 16-bit colors; its header is updated by `changes`."""
    return glb(*gltf([np.float32(vertices), np.uint16([[65535, 0, 0]] * 3)], **changes))


def png(color):
    """A picture of one texel."""
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (1, 1), color).save(stream, "PNG")
    return stream.getvalue()
