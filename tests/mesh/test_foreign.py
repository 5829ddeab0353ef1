"""Meshes that other programs wrote: what is refused, and that what is read has its colors."""

import json
import struct

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from sds3d.errors import UserError
from sds3d.mesh import foreign
from sds3d.mesh.foreign import read_solid


def solid_of(folder, name):
    return read_solid(name, {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")})


def glb(header, binary=b""):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def triangle(vertices=((0, 0, 0), (1, 0, 0), (0, 1, 0)), **changes):
    """A GLB of one triangle, its header updated by `changes`, its primitive by `primitive`."""
    colors = np.uint16([[65535, 0, 0], [65535, 0, 0], [65535, 0, 0]])
    binary = np.float32(vertices).tobytes() + colors.tobytes() + b"\0\0"
    primitive = {"attributes": {"POSITION": 0}} | changes.pop("primitive", {})
    header = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}], "buffers": [{"byteLength": len(binary)}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 18}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
                      {"bufferView": 1, "componentType": 5123, "count": 3, "type": "VEC3"}],
    }  # fmt: skip
    return glb(header | changes, binary)


def test_colors_of_vertices_multiply_the_factor_of_their_material(tmp_path):
    material = {"pbrMetallicRoughness": {"baseColorFactor": [1.0, 1.0, 1.0, 1.0]}}
    data = triangle(primitive={"attributes": {"POSITION": 0, "COLOR_0": 1}, "material": 0}, materials=[material])
    (tmp_path / "x.glb").write_bytes(data)
    assert solid_of(tmp_path, "x.glb").colors.tolist() == [[1, 0, 0]] * 3


CORNERS = b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"
BAD = {
    "empty.glb": (b"", "is not a whole GLB file"),
    "text.glb": (b"a chair, and more text", "is not a whole GLB file"),
    "cut.glb": (triangle()[:-40], "cannot be read"),
    "no_faces.glb": (triangle(meshes=[], nodes=[], scenes=[{}]), "has no triangles"),
    "nan.glb": (triangle([(np.nan, 0, 0), (1, 0, 0), (0, 1, 0)]), "vertices hold NaN or infinity"),
    "point.glb": (triangle([(1, 1, 1)] * 3), "has no extent"),
    "bomb.glb": (triangle(accessors=[{"componentType": 5126, "count": 10**12, "type": "VEC3"}]), "at most 16,000,000"),
    "minus.glb": (triangle(accessors=[{"count": 10**12}, {"count": -(10**12)}]), "count is not a non-negative integer"),
    "views.glb": (triangle(bufferViews=[{"buffer": 0, "byteLength": 10**4}] * 10), "have 6 items; .* all in the file"),
    "draco.glb": (triangle(extensionsRequired=["KHR_draco_mesh_compression"]), "needs 'KHR_draco_mesh_compression'"),
    "texcoord.glb": (triangle(primitive={"attributes": {"POSITION": 0, "TEXCOORD_0": 1}}), "coordinates in integers"),
    "colors16.glb": (triangle(primitive={"attributes": {"POSITION": 0, "COLOR_0": 1}}), "16-bit vertex colors"),
    "outside.glb": (triangle(buffers=[{"byteLength": 56, "uri": "../secret.bin"}]), "refers to '../secret.bin': no"),
    "picture.glb": (
        triangle(images=[{"uri": "data:image/png;base64,AAAA"}], textures=[{"source": 0}],
                 materials=[{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
                 primitive={"attributes": {"POSITION": 0}, "material": 0}),
        "a texture that cannot be read",
    ),
    "index.obj": (CORNERS + b"f 1 2 9\n", "cannot be read"),
    "points.obj": (CORNERS, "has no triangles"),
    "many.obj": (CORNERS + b"f 1 2 3\n" * 30, "expected at most 20 triangles, got 30"),
    "fan.obj": (CORNERS + b"f" + b" 1 2 3" * 30 + b"\n", "expected at most 20 triangles, got 88"),
    "outside.obj": (b"mtllib ../secret.mtl\n" + CORNERS + b"f 1 2 3\n", "refers to '../secret.mtl': no such"),
    "absolute.obj": (b"mtllib /etc/hostname\n" + CORNERS + b"f 1 2 3\n", "refers to '/etc/hostname': no such"),
    "repeats.obj": (b"mtllib much.mtl\n" + CORNERS + b"f 1 2 3\n", "at most 0.0 MB in all, got 0.0 MB"),
    "untextured.obj": (b"mtllib bad.mtl\n" + CORNERS + b"f 1 2 3\n", "refers to 'none.png': no such .*'bad.png': not"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_mesh_is_refused_for_what_is_wrong_with_it(tmp_path, monkeypatch, name):
    monkeypatch.setattr(foreign, "MAX_FACES", 20)
    monkeypatch.setattr(foreign, "MAX_BYTES", 2000)
    for secret in ("secret.mtl", "secret.bin"):
        (tmp_path / secret).write_bytes(b"newmtl a\nKd 1 0 0\n" + bytes(100))
    inside = tmp_path / "mine"
    inside.mkdir()
    (inside / "bad.mtl").write_bytes(b"newmtl a\nmap_Kd none.png\nnewmtl b\nmap_Kd bad.png\n")
    (inside / "bad.png").write_bytes(b"no picture")
    (inside / "much.mtl").write_bytes(b"newmtl a\nmap_Kd good.png\n" * 50)
    Image.new("RGB", (256, 256)).save(inside / "good.png")
    data, reason = BAD[name]
    (inside / name).write_bytes(data)
    with pytest.raises(UserError, match=reason):
        solid_of(inside, name)


def test_pieces_that_share_a_picture_hold_it_once_and_large_ones_are_shrunk(tmp_path):
    """Four boxes of two materials, one of them standing in two places; what has no triangles is passed over."""
    large, small = (PBRMaterial(baseColorTexture=Image.new("RGB", size, (0, 188, 0))) for size in ((2048, 600), (8, 8)))
    scene = trimesh.Scene([trimesh.PointCloud(np.eye(3))])
    for place, material in enumerate((large, large, small)):
        box = trimesh.creation.box()
        box.visual = TextureVisuals(uv=box.vertices[:, :2], material=material)
        scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([2 * place, 0, 0]))
    scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([0, 5, 0]))
    scene.export(tmp_path / "x.glb")
    solid = solid_of(tmp_path, "x.glb")
    assert len(solid.faces) == 4 * 12
    assert sorted(tuple(texture.shape) for texture in solid.textures) == [(8, 8, 3), (150, 512, 3)]
    assert len(solid.materials.unique()) == 2
    # sRGB 188 is half of all light (IEC 61966-2-1)
    assert all(texture[..., 1].mean().item() == pytest.approx(0.5, abs=3e-3) for texture in solid.textures)
