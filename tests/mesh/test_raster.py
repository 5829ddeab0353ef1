"""The triangle rasterizer, against triangles whose depths and edges are known."""

import math

import pytest
import torch

from sds3d.cameras import turntable
from sds3d.mesh.extract import isosurface
from sds3d.mesh.raster import interpolate, rasterize
from tests.helpers.ball import Ball
from tests.helpers.fields import grid_field


def test_rasterizer_gives_depth_and_barycentrics_of_a_triangle():
    camera = turntable(1, 64, elevation_deg=0.0, distance=3.0)
    vertices = torch.tensor([[0.0, -0.5, -0.5], [0.0, 0.5, -0.5], [0.0, 0.0, 0.5]])
    fragments = rasterize(vertices, torch.tensor([[0, 1, 2]]), camera)
    hit = fragments.mask[0]
    focal = 32 / math.tan(math.radians(20))
    assert hit.sum().item() == pytest.approx(0.5 * (focal / 3) ** 2, rel=0.05)
    torch.testing.assert_close(fragments.depths[0][hit], torch.full((int(hit.sum()),), 3.0))
    where = interpolate(vertices, torch.tensor([[0, 1, 2]]), fragments)[0]
    rows, columns = hit.nonzero(as_tuple=True)
    torch.testing.assert_close(where[hit][:, 1], (columns + 0.5 - 32) * 3 / focal, atol=1e-4, rtol=0)
    torch.testing.assert_close(where[hit][:, 2], -(rows + 0.5 - 32) * 3 / focal, atol=1e-4, rtol=0)
    assert not rasterize(vertices, torch.tensor([[0, 2, 1]]), camera).mask.any()  # seen from behind


def test_rasterizer_shows_the_nearest_triangle_and_no_cracks():
    vertices, faces, _ = isosurface(grid_field(lambda p: 1 - p.norm(dim=-1), 48), 0.4)
    vertices, faces = torch.from_numpy(vertices).float(), torch.from_numpy(faces)
    views = turntable(3, 96)
    fragments = rasterize(torch.cat([0.5 * vertices, vertices]), torch.cat([faces, faces + len(vertices)]), views)
    truth = Ball().render(views, torch.zeros(3, 3))
    solid = truth.alphas[..., 0] > 0.5
    assert (fragments.mask != solid).float().mean() < 0.003  # pixels on the outline
    both = fragments.mask & solid
    assert (fragments.faces[both] >= len(faces)).all()  # the small ball inside is never seen
    assert (fragments.depths - truth.depths[..., 0])[both].abs().quantile(0.99) < 0.02
