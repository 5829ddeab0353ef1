"""GLB and glTF files: where nodes put their meshes, and the base colors of all kinds of materials."""

import base64
import json
import math
import time

import numpy as np
import pytest
import torch

from tests.helpers.foreign_meshes import TRIANGLE, area, glb, gltf, png, solid_of, triangle

POSITIONS = np.float32(TRIANGLE)
RED, GREEN = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]


def read(folder, header, binary=b""):
    (folder / "x.glb").write_bytes(glb(header, binary))
    return solid_of(folder, "x.glb")


def data_uri(data):
    return "data:application/octet-stream;base64," + base64.b64encode(data).decode()


def painted(arrays, attributes, material, **changes):
    """A GLB's header and content: a triangle of `arrays` and one material; images 0 and 1 are red and green."""
    images = [{"uri": data_uri(png(color))} for color in ("red", "lime")]
    primitive = {"attributes": {"POSITION": 0} | attributes, "material": 0}
    textures = [{"source": 0}, {"source": 1}]
    return gltf(
        [POSITIONS, *arrays], primitive=primitive, materials=[material], images=images, textures=textures, **changes
    )


def color(solid):
    """The color of the only triangle: its texture's texel times the color of all its vertices."""
    assert torch.equal(solid.colors, solid.colors[:1].expand(3, 3))
    return (solid.textures[solid.materials.item()][0, 0] * solid.colors[0]).tolist()


def texture(index=0, **more):
    return {"pbrMetallicRoughness": {"baseColorTexture": {"index": index} | more}}


def test_colors_of_vertices_multiply_the_factor_of_their_material(tmp_path):
    material = {"pbrMetallicRoughness": {"baseColorFactor": [0.5, 1.0, 1.0, 1.0]}}
    attributes = {"POSITION": 0, "COLOR_0": 1}
    (tmp_path / "x.glb").write_bytes(
        triangle(primitive={"attributes": attributes, "material": 0}, materials=[material])
    )
    assert solid_of(tmp_path, "x.glb").colors.tolist() == [[0.5, 0, 0]] * 3


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_colors_of_vertices_need_no_material(tmp_path, dtype):
    full = 1 if dtype == "f4" else np.iinfo(dtype).max
    colors = np.array([[full, 0, 0, full]] * 3, dtype)
    assert read(tmp_path, *gltf([POSITIONS, colors], primitive={"attributes": {"POSITION": 0, "COLOR_0": 1}})).colors[
        0
    ].tolist() == [1, 0, 0]


def test_a_texture_lies_by_the_coordinates_that_it_names(tmp_path):
    first, second = np.float32([[0.25, 0.5]] * 3), np.float32([[0.75, 0.125]] * 3)
    solid = read(tmp_path, *painted([first, second], {"TEXCOORD_0": 1, "TEXCOORD_1": 2}, texture(texCoord=1)))
    assert solid.uvs.tolist() == [[0.75, 1 - 0.125]] * 3 and color(solid) == RED


def test_a_texture_is_moved_scaled_and_turned(tmp_path):
    """The example of KHR_texture_transform shows "only the lower left quadrant of the source image"."""
    corners = np.float32([[0, 0], [1, 0], [0, 1]])
    transform = {"offset": [0, 1], "rotation": math.pi / 2, "scale": [0.5, 0.5]}
    material = texture(extensions={"KHR_texture_transform": transform})
    solid = read(tmp_path, *painted([corners], {"TEXCOORD_0": 1}, material))
    # With v up: the top left corner of the coordinates, (0, 0), is the quadrant's bottom left, and so on clockwise.
    expected = torch.tensor([[0.0, 0.0], [0.0, 0.5], [0.5, 0.0]])
    torch.testing.assert_close(solid.uvs, expected, atol=1e-6, rtol=0)


def test_a_texture_is_scaled_before_it_is_turned_and_can_name_other_coordinates(tmp_path):
    """u' = cos su u + sin sv v + x, v' = -sin su u + cos sv v + y for v down; here a quarter turn."""
    unused, used = np.float32([[9, 9]] * 3), np.float32([[0.5, 0.25]] * 3)
    transform = {"scale": [0.25, 2], "rotation": math.pi / 2, "offset": [0.125, 1], "texCoord": 1}
    material = texture(extensions={"KHR_texture_transform": transform})
    header, binary = painted([unused, used], {"TEXCOORD_0": 1, "TEXCOORD_1": 2}, material)
    solid = read(tmp_path, header | {"extensionsRequired": ["KHR_texture_transform"]}, binary)
    down = [0.125 + 2 * 0.25, 1 - 0.25 * 0.5]
    torch.testing.assert_close(solid.uvs[0], torch.tensor([down[0], 1 - down[1]]), atol=1e-6, rtol=0)


GLOSS = {"diffuseTexture": {"index": 1}, "diffuseFactor": [0.5, 0.5, 0.5, 1]}


@pytest.mark.parametrize(
    ("core", "older", "expected"),
    [
        ({"baseColorTexture": {"index": 0}, "metallicFactor": 1}, GLOSS, RED),
        ({"baseColorFactor": [1, 0, 0, 1]}, {"diffuseFactor": [0, 1, 0, 1]}, RED),
        ({"baseColorFactor": [1, 1, 1, 1]}, GLOSS, [0, 0.5, 0]),
        ({"metallicFactor": 0}, {"diffuseFactor": [0, 1, 0, 1]}, GREEN),
        (None, GLOSS, [0, 0.5, 0]),
        (None, {}, [1, 1, 1]),
    ],
)
def test_a_core_color_has_priority_over_specular_glossiness(tmp_path, core, older, expected):
    material = {"extensions": {"KHR_materials_pbrSpecularGlossiness": older}}
    material |= {} if core is None else {"pbrMetallicRoughness": core}
    assert color(read(tmp_path, *painted([np.zeros((3, 2), "f4")], {"TEXCOORD_0": 1}, material))) == expected


def test_normalized_integers_are_fractions(tmp_path):
    """KHR_mesh_quantization: positions as they are, coordinates and normals normalized."""
    positions, uvs = np.int16(TRIANGLE) * 7, np.uint16([[0, 65535]] * 3)
    normals = np.int8([[0, 0, 127], [0, 0, 127], [0, 0, -128]])
    arrays = [np.c_[normals, np.zeros(3, "i1")], np.c_[positions, np.zeros(3, "i2")], uvs]
    attributes = {"NORMAL": 1, "POSITION": 2, "TEXCOORD_0": 3}
    header, binary = painted(arrays, attributes, texture(), extensionsRequired=["KHR_mesh_quantization"])
    for index, width in ((1, 4), (2, 8)):  # rows of three in steps of four, as the alignment of rows demands
        header["accessors"][index]["type"] = "VEC3"
        header["bufferViews"][index]["byteStride"] = width
    for index in (1, 3):
        header["accessors"][index]["normalized"] = True
    solid = read(tmp_path, header, binary)
    # glTF's x, y, z are the world's y, z, x
    assert solid.vertices.tolist() == [[0, 0, 0], [0, 7, 0], [0, 0, 7]]
    assert solid.normals.tolist() == [[1, 0, 0], [1, 0, 0], [-1, 0, 0]]
    assert solid.uvs.tolist() == [[0, 0]] * 3


def test_a_sparse_array_replaces_some_rows(tmp_path):
    header, binary = gltf([POSITIONS, np.uint16([2]), np.float32([[0, 5, 0]])])
    header["accessors"][0]["sparse"] = {
        "count": 1, "indices": {"bufferView": 1, "componentType": 5123}, "values": {"bufferView": 2}
    }  # fmt: skip
    assert read(tmp_path, header, binary).vertices.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 5]]


@pytest.mark.parametrize(
    ("mode", "corners", "expected"),
    [
        (4, [0, 1, 2, 0, 2, 3, 1], [[0, 1, 2], [0, 2, 3]]),
        (5, [0, 1, 3, 2], [[0, 1, 3], [1, 2, 3]]),
        (6, [0, 1, 2, 3], [[1, 2, 0], [2, 3, 0]]),
    ],
)
def test_strips_and_fans_are_the_triangles_that_the_specification_lists(tmp_path, mode, corners, expected):
    square = np.float32([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    primitive = {"attributes": {"POSITION": 0}, "indices": 1, "mode": mode}
    solid = read(tmp_path, *gltf([square, np.uint32(corners)], primitive=primitive))
    assert solid.faces.tolist() == expected
    plain = read(tmp_path, *gltf([square[corners]], primitive={"attributes": {"POSITION": 0}, "mode": mode}))
    assert torch.equal(plain.vertices[plain.faces], solid.vertices[solid.faces])


def test_primitives_that_share_an_array_keep_only_their_vertices(tmp_path):
    many = np.concatenate([POSITIONS, 9 + np.arange(9000).reshape(3000, 3).astype("f4")])
    primitives = [{"attributes": {"POSITION": 0}, "indices": 1}] * 1000
    header, binary = gltf([many, np.uint16([2, 0, 1])])
    solid = read(tmp_path, header | {"meshes": [{"primitives": primitives}]}, binary)
    assert len(solid.vertices) == 3000 and area(solid) == pytest.approx(500)


def test_a_long_chain_of_nodes_takes_linear_time(tmp_path):
    """Each node moves by one, and shows the triangle: the sums of moves, 0.2 s instead of minutes."""
    count = 10_000
    nodes = [{"mesh": 0, "translation": [1, 0, 0], "children": [i + 1]} for i in range(count - 1)]
    header, binary = gltf([POSITIONS], nodes=[*nodes, {"mesh": 0, "translation": [1, 0, 0]}])
    started = time.process_time()
    solid = read(tmp_path, header, binary)
    assert time.process_time() - started < 10
    assert solid.vertices[::3, 1].tolist() == list(range(1, count + 1))


def test_many_instances_take_linear_time(tmp_path):
    count = 10_000
    header, binary = gltf([POSITIONS], scenes=[{"nodes": list(range(count))}])
    header["nodes"] = [{"mesh": 0, "scale": [1, 1 + i % 2, 1], "translation": [i, 0, 0]} for i in range(count)]
    started = time.process_time()
    solid = read(tmp_path, header, binary)
    assert time.process_time() - started < 10
    assert solid.vertices[::3, 1].tolist() == list(range(count)) and area(solid) == pytest.approx(0.75 * count)


def test_transforms_apply_scale_then_rotation_then_translation_and_then_the_parents(tmp_path):
    """A quarter turn about y (glTF) takes x to -z; matrices are stored by columns."""
    half = math.sqrt(0.5)
    child = {"mesh": 0, "scale": [2, 1, 1], "rotation": [0, half, 0, half], "translation": [0, 0, 3]}
    moved = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 0, 0, 1]
    header, binary = gltf([POSITIONS], nodes=[{"matrix": moved, "children": [1]}, child])
    solid = read(tmp_path, header, binary)
    # corners in glTF: (5, 0, 3), (5, 0, 1), (5, 1, 3)
    expected = torch.tensor([[3.0, 5, 0], [1, 5, 0], [3, 5, 1]])
    torch.testing.assert_close(solid.vertices, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [[1e-7, 1e-7, 1e-7], [3, 1, 0.5], [-1, 1, 1], [1, 1, 0]])
def test_normals_stay_unit_and_perpendicular_under_any_transform(tmp_path, scale):
    slope = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 1]])
    normals = np.float32([[0, -math.sqrt(0.5), math.sqrt(0.5)]] * 3)
    header, binary = gltf([slope, normals], primitive={"attributes": {"POSITION": 0, "NORMAL": 1}})
    solid = read(tmp_path, header | {"nodes": [{"mesh": 0, "scale": scale}]}, binary)
    a, b, c = solid.vertices[solid.faces[0]].double()
    flat = torch.nn.functional.normalize((b - a).cross(c - a, dim=0), dim=0, eps=0)
    torch.testing.assert_close(solid.normals.double(), flat.expand(3, 3), atol=1e-6, rtol=0)


def test_gltf_reads_its_buffers_and_pictures_from_files(tmp_path):
    """Names can be percent-encoded, and are as they are in files of programs that do not encode."""
    header, binary = painted([np.zeros((3, 2), "f4")], {"TEXCOORD_0": 1}, texture(1))
    header["buffers"][0]["uri"] = "my%20data.bin"
    header["images"][1] = {"uri": "50%.png"}
    folder = tmp_path / "chairs"
    folder.mkdir()
    (folder / "my data.bin").write_bytes(binary)
    (folder / "50%.png").write_bytes(png("lime"))
    (folder / "x.gltf").write_text(json.dumps(header))
    solid = solid_of(tmp_path, "chairs/x.gltf")
    assert color(solid) == GREEN and area(solid) == 0.5
