"""Meshes that other programs wrote: what is refused, and that pictures are held once."""

import json
import struct

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from sds3d.errors import UserError
from sds3d.mesh.importers import beside, solid
from tests.helpers.foreign_meshes import solid_of, triangle

CORNERS = b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"
MATERIAL = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
PAINTED = {"attributes": {"POSITION": 0}, "material": 0}
MESHOPT = "EXT_meshopt_compression"
FALLBACK = [{"buffer": 1, "byteLength": 10**6, "extensions": {MESHOPT: {"buffer": 0, "byteLength": 36}}}]
BAD = {
    "empty.glb": (b"", "is not a whole GLB or glTF file"),
    "text.glb": (b"a chair, and more text", "is not a whole GLB or glTF file"),
    "deep.gltf": (b"[" * 100_000, "is not a whole GLB or glTF file"),
    "list.gltf": (b"[]", "is not a whole GLB or glTF file"),
    "cut.glb": (triangle()[:-40], "is not a whole GLB or glTF file .*40 bytes are missing at its end"),
    "one.glb": (b"glTF" + struct.pack("<IIII", 1, 3964, 3944, 0), "is glTF 1.0; expected 2.0"),
    "one.gltf": (json.dumps({"asset": {"version": "1.0"}}).encode(), "is glTF 1.0; expected 2.0"),
    "no_faces.glb": (triangle(meshes=[], nodes=[], scenes=[{}]), "has no triangles"),
    "nan.glb": (triangle([(np.nan, 0, 0), (1, 0, 0), (0, 1, 0)]), "vertices hold NaN or infinity"),
    "point.glb": (triangle([(1, 1, 1)] * 3), "has no extent"),
    "bomb.glb": (triangle(accessors=[{"componentType": 5126, "count": 10**12, "type": "VEC3"}]), "at most 20 triang"),
    "zeros.glb": (triangle(accessors=[{"componentType": 5126, "count": 10**8, "type": "VEC3"},
                                      {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"}],
                           primitive={"attributes": {"POSITION": 0}, "indices": 1}), "at most 16,000,000"),
    "minus.glb": (triangle(accessors=[{"count": 10**12}, {"count": -(10**12)}],
                           primitive={"attributes": {"POSITION": 1}}), "count is not a non-negative integer"),
    "huge.glb": (triangle(accessors=[{"count": 10**4000}]), "count is not a non-negative integer: '1000{1,40}'$"),
    "index.glb": (triangle(primitive={"attributes": {"POSITION": -1}}), "index of accessors is not a non-negative"),
    "signed.glb": (triangle(scenes=[{"nodes": [-1]}]), "index of nodes is not a non-negative integer: '-1'"),
    "views.glb": (triangle(bufferViews=[{"buffer": 0, "byteLength": 10**4}]), "is cut short: its buffers hold less"),
    "stride.glb": (triangle(bufferViews=[{"buffer": 0, "byteLength": 36, "byteStride": 20}]), "is cut short"),
    "draco.glb": (triangle(extensionsRequired=["KHR_draco_mesh_compression"]), "needs 'KHR_draco_mesh_compression'"),
    "draco_too.glb": (
        triangle(accessors=[{"componentType": 5126, "count": 3, "type": "VEC3"}],
                 primitive={"attributes": {"POSITION": 0}, "extensions": {"KHR_draco_mesh_compression": {}}}),
        "needs 'KHR_draco_mesh_compression'",
    ),
    "meshopt.glb": (triangle(extensionsRequired=[MESHOPT], bufferViews=FALLBACK), f"needs '{MESHOPT}'"),
    "fallback.glb": (triangle(bufferViews=FALLBACK, buffers=[{"byteLength": 56}, {"byteLength": 10**6}]),
                     "has a buffer without content; export it without compression"),
    "instances.glb": (triangle(nodes=[{"mesh": 0, "extensions": {"EXT_mesh_gpu_instancing": {}}}]),
                      "needs 'EXT_mesh_gpu_instancing'"),
    "circle.glb": (triangle(nodes=[{"mesh": 0, "children": [0]}]), "in two places or below itself: number 0"),
    "twice.glb": (triangle(nodes=[{"children": [1, 1]}, {"mesh": 0}]), "in two places or below itself: number 1"),
    "parts.glb": (triangle(nodes=[{}] * 50_001), "has 50,001 nodes; expected at most 50,000"),
    "outside.glb": (triangle(buffers=[{"byteLength": 56, "uri": "../secret.bin"}]), "refers to '../secret.bin': no"),
    "encoded.glb": (triangle(buffers=[{"byteLength": 56, "uri": "%2e%2e/secret.bin"}]), "'%2e%2e/secret.bin': no"),
    "picture.glb": (triangle(images=[{"uri": "data:image/png;base64,AAAA"}], textures=[{"source": 0}],
                             materials=[MATERIAL], primitive=PAINTED), "a texture that cannot be read"),
    "basis.glb": (triangle(textures=[{"extensions": {"KHR_texture_basisu": {"source": 0}}}], materials=[MATERIAL],
                           primitive=PAINTED), "a texture that cannot be read; expected PNG, JPEG or WebP"),
    "index.obj": (CORNERS + b"f 1 2 9\n", "has triangles between vertices that are not there"),
    "zero.obj": (CORNERS + b"f 0 1 2\n", "has triangles between vertices that are not there"),
    "back.obj": (CORNERS + b"f -1 -2 -4\n", "has triangles between vertices that are not there"),
    "normal.obj": (CORNERS + b"vn 0 0 1\nf 1//1 2//2 3//1\n", "has triangles between vertices that are not there"),
    "word.obj": (CORNERS + b"f 1 2 three\n", "line 4 cannot be read: 'f 1 2 three'"),
    "nan.obj": (CORNERS + b"v 0 nan 0\nf 1 2 4\n", "vertices hold NaN or infinity"),
    "points.obj": (CORNERS, "has no triangles"),
    "nothing.obj": (b"", "has no triangles"),
    "many.obj": (CORNERS + b"f 1 2 3\n" * 30, "expected at most 20 triangles, got 30"),
    "fan.obj": (CORNERS + b"f" + b" 1 2 3" * 30 + b"\n", "expected at most 20 triangles, got 88"),
    "long.obj": (CORNERS + b"f 1 2 3" + b" " * 10**6, "line 4 has 1.0 MB; expected at most 1.0 MB"),
    "lines.obj": (b"\n" * 6_000_001, "has 6,000,001 lines; expected at most 6,000,000"),
    "repeats.obj": (b"mtllib big.mtl\n" * 2 + CORNERS + b"f 1 2 3\n", "at most 2.0 MB in all, got 3.0 MB"),
    "untextured.obj": (
        b"mtllib bad.mtl\nvt 0 0\n" + CORNERS + b"usemtl a\nf 1/1 2/1 3/1\nusemtl b\nf 1/1 2/1 3/1\n",
        "refers to 'none.png': no such .*'bad.png': not",
    ),
    "program.obj": (b"mtllib eps.mtl\nvt 0 0\n" + CORNERS + b"usemtl a\nf 1/1 2/1 3/1\n", "'x.eps': not a picture"),
    "color.obj": (b"mtllib color.mtl\n" + CORNERS + b"usemtl a\nf 1 2 3\n", "has the color 'red'; expected three"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_the_error_of_a_bad_mesh_names_its_fault(tmp_path, monkeypatch, name):
    monkeypatch.setattr(solid, "MAX_FACES", 20)
    monkeypatch.setattr(beside, "MAX_BYTES", 2_000_000 if name == "repeats.obj" else beside.MAX_BYTES)
    for secret in ("secret.mtl", "secret.bin"):
        (tmp_path / secret).write_bytes(b"newmtl a\nKd 1 0 0\n" + bytes(100))
    inside = tmp_path / "mine"
    inside.mkdir()
    (inside / "bad.mtl").write_bytes(b"newmtl a\nmap_Kd none.png\nnewmtl b\nmap_Kd bad.png\n")
    (inside / "bad.png").write_bytes(b"no picture")
    (inside / "big.mtl").write_bytes(b"\n" * 1_500_000)
    (inside / "eps.mtl").write_bytes(b"newmtl a\nmap_Kd x.eps\n")
    (inside / "x.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    (inside / "color.mtl").write_bytes(b"newmtl a\nKd red\n")
    data, reason = BAD[name]
    (inside / name).write_bytes(data)
    with pytest.raises(UserError, match=reason):
        solid_of(inside, name)


def test_shared_textures_are_stored_once_and_large_ones_are_downsampled(tmp_path):
    """Four boxes of two materials, one of them standing in two places; what has no triangles is passed over."""
    large, small = (PBRMaterial(baseColorTexture=Image.new("RGB", size, (0, 188, 0))) for size in ((2048, 600), (8, 8)))
    scene = trimesh.Scene([trimesh.PointCloud(np.eye(3))])
    for place, material in enumerate((large, large, small)):
        box = trimesh.creation.box()
        box.visual = TextureVisuals(uv=box.vertices[:, :2], material=material)
        scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([2 * place, 0, 0]))
    scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([0, 5, 0]))
    scene.export(tmp_path / "x.glb")
    read = solid_of(tmp_path, "x.glb")
    assert len(read.faces) == 4 * 12
    used = [read.textures[index] for index in read.materials.unique()]
    assert sorted(tuple(texture.shape) for texture in used) == [(8, 8, 3), (150, 512, 3)]
    # sRGB 188 is half of all light (IEC 61966-2-1)
    assert all(texture[..., 1].mean().item() == pytest.approx(0.5, abs=3e-3) for texture in used)
