"""UV charts by xatlas."""

from __future__ import annotations

import numpy as np

PADDING = 4  # texels between charts
CELLS = 3  # along each side of the box that is cut up


def unwrap(vertices: np.ndarray, faces: np.ndarray, texture_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new vertex the old one it copies [W], the new faces [F, 3], and uvs [W, 2] in [0, 1].

    Vertices on chart borders are copied once for each chart; faces keep their order and orientation.
    """
    import xatlas

    owners, corners, cut_faces = cut(vertices, faces)
    atlas = xatlas.Atlas()
    atlas.add_mesh(corners.astype(np.float32), cut_faces.astype(np.uint32))
    charts = xatlas.ChartOptions()
    charts.max_iterations = 1  # more iterations cost time and save little of the texture
    packing = xatlas.PackOptions()
    packing.resolution = texture_size
    packing.padding = PADDING
    packing.bilinear = True
    atlas.generate(charts, packing)
    sources, new_faces, uvs = atlas[0]
    return owners[sources], new_faces.astype(np.int64), np.clip(uvs, 0, 1).astype(np.float32)


def cut(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mesh cut into the cells of its bounding box, which are moved apart.

    For each new vertex the one of `vertices` [V, 3] that it copies [W], its position [W, 3], and the new faces [F, 3].
    xatlas grows the charts of one connected surface on one thread, in a time that rises faster than its size; those of
    many small ones on all threads. A cut is a border of charts, but without it charts would need more borders inside.
    The pieces stay one mesh: while xatlas 0.0.11 is given another, it may crash on what it does with the one before.
    """
    low, size = vertices.min(0), np.ptp(vertices, 0).clip(min=1e-9)
    place = np.minimum((vertices[faces].mean(1) - low) / size * CELLS, CELLS - 1).astype(np.int64)
    numbers = place @ [CELLS**2, CELLS, 1]
    keys, new_faces = np.unique(numbers[:, None] * len(vertices) + faces, return_inverse=True)
    cell, owners = np.divmod(keys, len(vertices))
    shift = np.stack(np.unravel_index(cell, (CELLS,) * 3), -1) * size
    return owners, vertices[owners] - low + shift, new_faces.reshape(faces.shape)
