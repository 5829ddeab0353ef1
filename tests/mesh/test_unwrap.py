"""UV charts: they cover every face once, and xatlas receives one mesh."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from sds3d.mesh.extract import isosurface
from sds3d.mesh.raster import rasterize_uv
from sds3d.mesh.unwrap import unwrap
from tests.helpers.fields import grid_field


def test_charts_do_not_overlap_and_cover_every_face():
    vertices, faces, _ = isosurface(grid_field(lambda p: 0.7 - p.norm(dim=-1), 24), 0.0)
    sources, split, uvs = unwrap(vertices, faces, 256)
    assert (sources[split] == faces).all()
    texels = rasterize_uv(torch.from_numpy(uvs), torch.from_numpy(split), 512)
    corners = uvs[split]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    large = np.flatnonzero(areas * 512**2 > 8)  # in texels; a sliver can miss all texel centers
    assert np.isin(large, texels.faces[texels.mask].unique().numpy()).all() and len(large) > 0.5 * len(faces)
    assert texels.mask.float().mean().item() == pytest.approx(areas.sum(), rel=0.03)  # overlap would cover less


def test_xatlas_receives_one_mesh_with_separate_pieces(monkeypatch):
    """With several meshes, threads of xatlas read a list of tasks while it grows, which crashes in rare runs."""
    import xatlas

    meshes = []

    class Atlas(xatlas.Atlas):
        def add_mesh(self, positions, faces):
            meshes.append((positions, faces))
            super().add_mesh(positions, faces)

    monkeypatch.setattr(xatlas, "Atlas", Atlas)
    vertices, faces, _ = isosurface(grid_field(lambda p: 0.7 - p.norm(dim=-1), 24), 0.0)
    unwrap(vertices, faces, 256)
    [(positions, pieces)] = meshes
    edges = pieces.ravel(), pieces[:, [1, 2, 0]].ravel()
    count, _ = connected_components(coo_matrix((np.ones(len(edges[0])), edges)))
    assert count == 26  # all cells except the middle one
    assert len(np.unique(positions, axis=0)) == len(positions)  # xatlas joins vertices at equal positions
