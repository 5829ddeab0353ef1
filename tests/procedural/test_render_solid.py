"""Pictures of large meshes."""

import numpy as np
import pytest
import torch

from sds3d.cameras import turntable
from sds3d.mesh.importers.solid import make_solid
from sds3d.mesh.raster import rasterize
from sds3d.procedural import render_solid as module
from sds3d.procedural.render_solid import render_solid


def soup(count, size):
    """Random triangles in the unit ball, each corner with a random color."""
    rng = np.random.default_rng(0)
    centers = rng.uniform(-0.5, 0.5, (count, 1, 3))
    vertices = (centers + rng.normal(0, size, (count, 3, 3))).reshape(-1, 3)
    columns = {"vertices": vertices, "colors": rng.random((3 * count, 3)), "uvs": np.zeros((3 * count, 2)),
               "normals": np.zeros((3 * count, 3))}  # fmt: skip
    return make_solid(columns, np.arange(3 * count).reshape(-1, 3), np.zeros(count, np.int64), [None])


@pytest.mark.parametrize(("count", "size"), [(300, 0.2), (20_000, 0.01), (20_000, 0.001)])
def test_both_sides_of_every_triangle_are_drawn(count, size):
    """As if each were there twice, in both orientations."""
    solid = soup(count, size)
    drawn = render_solid(solid, turntable(1, 64), samples=1, normals=True)[0]
    faces = torch.cat([solid.faces, solid.faces.flip(1)])
    fragments = rasterize(solid.vertices, faces, turntable(1, 64))
    assert torch.equal(drawn[..., 3] == 1, fragments.mask[0])
    a, b, c = solid.vertices[faces[fragments.faces[fragments.mask]]].unbind(1)
    flat = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    torch.testing.assert_close(drawn[fragments.mask[0]][:, 4:], flat, atol=1e-5, rtol=0)


def test_only_triangles_that_can_cover_a_pixel_are_rasterized(monkeypatch):
    """Half a million faces took 48 s of one core for all 128 views, and take 10 s."""
    counted = []
    original = module.rasterize

    def recorded(vertices, faces, camera):
        counted.append(len(faces))
        return original(vertices, faces, camera)

    monkeypatch.setattr(module, "rasterize", recorded)
    render_solid(soup(200_000, 1e-4), turntable(1, 64))
    # a triangle of 0.01 pixels covers a pixel center in one of many cases
    assert counted and max(counted) < 4000
