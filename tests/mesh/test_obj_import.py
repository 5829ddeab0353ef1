"""OBJ files: polygons of any form, materials that are there or not, and all ways to write the same triangles."""

import time

import numpy as np
import pytest
import torch
from PIL import Image

from sds3d.errors import UserError
from sds3d.mesh.importers import polygons
from sds3d.mesh.importers.polygons import triangulate
from tests.helpers.foreign_meshes import area, solid_of

CORNERS = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
UVS = "vt 0 0\nvt 1 0\nvt 0 1\n"


def read(folder, text, **files):
    """The solid of an OBJ file, beside it `files` named NAME_SUFFIX."""
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    (folder / "x.obj").write_bytes(text.encode())
    return solid_of(folder, "x.obj")


def obj(points):
    return "".join(f"v {x} {y} 0\n" for x, y in points) + "f " + " ".join(str(i + 1) for i in range(len(points))) + "\n"


def shoelace(points):
    x, y = np.asarray(points, float).T
    return abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2


SPIRAL = [(0, 0), (5, 0), (5, 5), (1, 5), (1, 2), (3, 2), (3, 3), (2, 3), (2, 4), (4, 4), (4, 1), (0, 1)]
POLYGONS = {
    "arrow": [(0, 0), (2, 0.5), (0, 1), (0.5, 0.5)],
    "notch first": [(1, 0.5), (2, 0), (2, 2), (0, 2), (0, 0)],
    "L": [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)],
    "U": [(0, 0), (3, 0), (3, 2), (2, 2), (2, 1), (1, 1), (1, 2), (0, 2)],
    "spiral": SPIRAL,
    "straight corners": [(0, 0), (1, 0), (2, 0), (3, 0), (3, 2), (2, 2), (2, 1), (1, 1), (1, 2), (0, 2), (0, 1)],
    "bridge to a hole": [(0, 0), (3, 0), (3, 3), (0, 3), (0, 0), (1, 1), (1, 2), (2, 2), (2, 1), (1, 1)],
    "star": [((1 + i % 2) * np.cos(i * np.pi / 5), (1 + i % 2) * np.sin(i * np.pi / 5)) for i in range(10)],
}


@pytest.mark.parametrize("turned", [1, -1])
@pytest.mark.parametrize("name", POLYGONS)
def test_a_polygon_is_covered_once_by_triangles_of_its_orientation(tmp_path, name, turned):
    """Oriented triangles whose areas sum to that of the polygon can neither overlap nor leave it."""
    points = POLYGONS[name][::turned]
    solid = read(tmp_path, obj(points))
    assert len(solid.faces) == len(points) - 2
    # the vertices are in world axes, in which the polygon's plane is x = 0
    a, b, c = solid.vertices.double()[solid.faces].unbind(1)
    signed = turned * (b - a).cross(c - a, dim=1)[:, 0] / 2
    assert signed.min() >= 0
    assert signed.sum().item() == pytest.approx(shoelace(points), rel=1e-6)


def test_random_polygons_in_space_keep_their_areas():
    rng = np.random.default_rng(0)
    tested = 0
    for _ in range(300):
        count = rng.integers(4, 30)
        angles = np.sort(rng.random(count)) * 2 * np.pi
        if np.diff([*angles, angles[0] + 2 * np.pi]).max() >= np.pi:
            continue  # may cross itself
        flat = rng.uniform(0.1, 1, (count, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        points = flat @ turn[:2] + 7
        faces, owners = triangulate(points, np.arange(count), np.array([count]))
        a, b, c = points[faces].transpose(1, 0, 2)
        assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(shoelace(flat), rel=1e-9)
        assert owners.tolist() == [0] * (count - 2)
        tested += 1
    assert tested > 200


def test_polygons_of_all_sizes_stay_in_order():
    points = np.array([(*p, 0.0) for p in [*POLYGONS["U"], (0, 0), (1, 0), (0, 1), *POLYGONS["arrow"]]])
    faces, owners = triangulate(points, np.arange(15), np.array([8, 3, 4]))
    assert owners.tolist() == [0] * 6 + [1] + [2] * 2
    assert faces[6].tolist() == [8, 9, 10]
    assert faces.max(1).tolist() <= [7] * 6 + [10] + [14] * 2


def test_a_polygon_that_crosses_itself_still_has_all_its_triangles(tmp_path):
    rng = np.random.default_rng(1)
    assert len(read(tmp_path, obj(rng.random((50, 2)))).faces) == 48


def test_concave_polygons_that_would_take_minutes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(polygons, "MAX_TESTS", 20)
    with pytest.raises(UserError, match="concave faces of too many corners; triangulate it"):
        read(tmp_path, obj(SPIRAL))


def test_faces_without_a_color_are_white_with_a_note(tmp_path):
    solid = read(tmp_path, CORNERS + "f 1 2 3\n")
    assert solid.colors.tolist() == [[1, 1, 1]] * 3
    assert solid.notes == ("has neither materials nor vertex colors: drawn white",)


def test_an_undefined_material_is_white_with_a_note(tmp_path):
    text = "mtllib x.mtl\n" + CORNERS + "usemtl here\nf 1 2 3\nusemtl not here\nf 1 3 2\n"
    solid = read(tmp_path, text, x_mtl="newmtl here\nKd 0 1 0\n")
    assert solid.colors[solid.faces[0]].tolist() == [[0, 1, 0]] * 3
    assert solid.colors[solid.faces[1]].tolist() == [[1, 1, 1]] * 3
    assert solid.notes == ("1 materials without a description ('not here'): drawn white, or in vertex colors",)


def test_a_mesh_without_its_mtl_is_white_with_a_note(tmp_path):
    (tmp_path.parent / "secret.mtl").write_text("newmtl a\nKd 0 1 0\n")
    solid = read(tmp_path, "mtllib ../secret.mtl\n" + CORNERS + "usemtl a\nf 1 2 3\n")
    assert solid.colors.tolist() == [[1, 1, 1]] * 3
    assert solid.notes[0] == "refers to '../secret.mtl': no such file in that folder"


@pytest.mark.parametrize("full", [1, 255])
def test_vertex_colors_are_used_where_there_is_no_material(tmp_path, full):
    """They are sRGB by custom, from 0 to 1 or from 0 to 255; 0.5 is 0.214 of all light (IEC 61966-2-1)."""
    text = f"v 0 0 0 {full} 0 0\nv 1 0 0 {full} 0 0\nv 0 1 0 {full / 2} 0 0\nusemtl none\nf 1 2 3\n"
    expected = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0.214, 0, 0]])
    torch.testing.assert_close(read(tmp_path, text).colors, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("libraries", "names"),
    [
        ("mtllib one.mtl\nmtllib two.mtl\n", ("one.mtl", "two.mtl")),
        ("mtllib one.mtl two.mtl\n", ("one.mtl", "two.mtl")),
        ("mtllib my one.mtl\nmtllib .\\two.mtl\n", ("my one.mtl", "two.mtl")),
    ],
)
def test_all_material_files_are_read(tmp_path, libraries, names):
    for name, color in zip(names, ("1 0 0", "0 0 1"), strict=True):
        (tmp_path / name).write_text(f"newmtl of {color}\nKd {color}\n")
    solid = read(tmp_path, libraries + CORNERS + "usemtl of 1 0 0\nf 1 2 3\nusemtl of 0 0 1\nf 1 2 3\n")
    assert solid.colors[solid.faces[:, 0]].tolist() == [[1, 0, 0], [0, 0, 1]] and not solid.notes


@pytest.mark.parametrize(
    ("options", "uv"),
    [("", (1, 0)), ("-s 2 3 1 ", (2, 0)), ("-clamp on -o 0.25 0.5 -s 2 ", (2.25, 0.5)), ("-bm 1 -mm 0 1 ", (1, 0))],
)
def test_the_options_of_a_picture_move_it_and_its_name_may_have_spaces(tmp_path, options, uv):
    Image.new("RGB", (1, 1), "lime").save(tmp_path / "my skin.png")
    mtl = f"newmtl a\nKd 0 0 0\nmap_Kd {options}my skin.png\n"
    solid = read(tmp_path, "mtllib x.mtl\nusemtl a\n" + UVS + CORNERS + "f 1/1 2/2 3/3\n", x_mtl=mtl)
    assert solid.uvs[1].tolist() == list(uv)
    assert solid.textures[solid.materials[0]].tolist() == [[[0, 1, 0]]] and solid.colors.tolist() == [[1, 1, 1]] * 3


PLAIN = CORNERS + UVS + "vn 0 0 1\n"
WRITTEN = {
    "CRLF": (PLAIN + "f 1/1/1 2/2/1 3/3/1\n").replace("\n", "\r\n"),
    "CR": (PLAIN + "f 1/1/1 2/2/1 3/3/1\n").replace("\n", "\r"),
    "tabs": (PLAIN + "f 1/1/1 2/2/1 3/3/1\n").replace(" ", "\t"),
    "counted back": PLAIN + "f -3/-3/-1 -2/-2/-1 -1/-1/-1\nv 7 7 7\nvt 7 7\nvn 7 7 7\n",
    "comments": "# f 1 2\n" + PLAIN.replace("\n", " # a comment\n") + "f 1/1/1 2/2/1 3/3/1 # 4/4/4",
    "continued": PLAIN + "f 1/1/1 \\\n2/2/1 \\\r\n3/3/1\n",
    "groups": "o a\ng b c\ns 1\n" + PLAIN + "g d\ns off\nf 1/1/1 2/2/1 3/3/1\nl 1 2\np 1\nf 1 2\n",
    "faces first": "f 1/1/1 2/2/1 3/3/1\n" + PLAIN,
    "more columns": PLAIN.replace("v 1 0 0", "v 1.0e0 +0 -0 1").replace("vt 1 0", "vt 1 0 0") + "f 1/1/1 2/2/1 3/3/1\n",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_same_triangle_can_be_written_in_many_ways(tmp_path, name):
    solid = read(tmp_path, WRITTEN[name])
    corners = solid.faces[0]
    # OBJ has glTF's axes: its x, y, z are the world's y, z, x
    assert len(solid.faces) == 1 and solid.vertices[corners].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert (
        solid.uvs[corners].tolist() == [[0, 0], [1, 0], [0, 1]] and solid.normals[corners].tolist() == [[1, 0, 0]] * 3
    )


def test_coordinates_and_normals_that_the_file_lacks_altogether_are_passed_over(tmp_path):
    solid = read(tmp_path, CORNERS + "f 1/1/1 2/2/2 3/3/3\n")
    assert not solid.uvs.any() and not solid.normals.any()


def grid(size, end="\n", before_face=""):
    """A height field of 2 `size`^2 triangles; `before_face` gets their numbers."""
    side = size + 1
    lines = [f"v {i % side} {i // side} {i % 7 / 7}" for i in range(side**2)]
    for i in range(size**2):
        a = i // size * side + i % size + 1
        lines += [before_face.format(i)] if before_face else []
        lines += [f"f {a} {a + 1} {a + side + 1}", f"f {a} {a + side + 1} {a + side}"]
    return end.join(lines) + end


@pytest.mark.parametrize(
    ("size", "end", "before_face"),
    [(400, "\r\n", ""), (245, "\n", "g {}"), (245, "\n", "o {}"), (245, "\n", "usemtl {}")],
)
def test_large_files_take_linear_time(tmp_path, size, end, before_face):
    """Each took over 30 s, and takes 0.4 to 1.3 s of one core."""
    text = grid(size, end, before_face)
    started = time.process_time()
    solid = read(tmp_path, text)
    assert time.process_time() - started < 10
    assert len(solid.faces) == 2 * size**2 and area(solid) > size**2
