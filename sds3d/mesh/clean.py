"""A dense isosurface -> a light, smooth, watertight triangle mesh."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from sds3d.errors import UserError

TAUBIN_STEPS = 10
TAUBIN = (0.5, -0.53)  # shrink, then inflate: Taubin 1995, A signal processing approach to fair surface design
COARSE_RATIO = 4  # above this many times the wanted faces a fast simplification runs before the careful one
COARSE_TOLERANCE = 0.001  # world units


def clean(vertices: np.ndarray, faces: np.ndarray, num_faces: int) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed `vertices` [V, 3] and at most `num_faces` `faces` [F, 3] of a closed surface; stays watertight."""
    vertices = smooth(vertices, faces, TAUBIN_STEPS)
    if len(faces) > COARSE_RATIO * num_faces:
        vertices, faces = _simplify_fast(vertices, faces)
    if len(faces) > num_faces:
        vertices, faces = _decimate(vertices, faces, num_faces)
    check_manifold(vertices, faces)
    return vertices, faces


def smooth(vertices: np.ndarray, faces: np.ndarray, steps: int) -> np.ndarray:
    """`vertices` after `steps` Taubin steps, which remove the grid's terraces without shrinking the shape."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    size = len(vertices)
    adjacency = sparse.coo_matrix((np.ones(len(edges)), edges.T), (size, size)).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(np.float64)
    degree = np.asarray(adjacency.sum(1)).clip(min=1)
    for _ in range(steps):
        for factor in TAUBIN:
            vertices = vertices + factor * (adjacency @ vertices / degree - vertices)
    return vertices


def is_watertight(faces: np.ndarray) -> bool:
    """True if every edge is used exactly twice, once in each direction."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    size = edges.max(initial=0) + 1
    there, back = np.sort(edges @ [size, 1]), np.sort(edges @ [1, size])  # one number for each directed edge
    return np.array_equal(there, back) and bool((np.diff(there) > 0).all())


def check_manifold(vertices: np.ndarray, faces: np.ndarray) -> None:
    """Raises where the surface is not a closed oriented manifold."""
    if len(faces) == 0:
        raise UserError("mesh: no triangle is left after cleaning, so there is nothing to mesh")
    if not is_watertight(faces):
        raise RuntimeError(f"mesh: the cleaned surface of {len(faces)} triangles is not a closed manifold")


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals [V, 3], the mean of the adjacent triangles' weighted by area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    weighted = np.cross(b - a, c - a)
    size = len(vertices)
    normals = np.stack([np.bincount(faces.T.ravel(), np.tile(weighted[:, k], 3), minlength=size) for k in range(3)], -1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 1e-20, normals / np.maximum(length, 1e-20), [[0.0, 0.0, 1.0]])


def _simplify_fast(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import manifold3d

    solid = manifold3d.Manifold(
        manifold3d.Mesh(vertices.astype(np.float32), np.ascontiguousarray(faces.astype(np.uint32)))
    )
    if solid.status() != manifold3d.Error.NoError:  # the careful simplification does it all, only slower
        return vertices, faces
    simple = solid.simplify(COARSE_TOLERANCE).to_mesh()
    return simple.vert_properties[:, :3].astype(np.float64), simple.tri_verts.astype(np.int64)


def _decimate(vertices: np.ndarray, faces: np.ndarray, num_faces: int) -> tuple[np.ndarray, np.ndarray]:
    import igl

    result = igl.qslim(np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(faces, np.int64), num_faces)
    new_vertices, new_faces = (x for x in result[:2])
    return np.asarray(new_vertices), np.asarray(new_faces).astype(np.int64)
