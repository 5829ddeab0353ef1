"""UV charts by xatlas."""

from __future__ import annotations

import numpy as np

PADDING = 4  # texels between charts
CELLS = 3  # along each side of the box that is cut up


def unwrap(vertices: np.ndarray, faces: np.ndarray, texture_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The old vertex that each new one copies [W], the new faces [F, 3], and uvs [W, 2] in [0, 1].

    A vertex on the border of charts is copied once for each chart. Faces keep their order and orientation.
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

    Returns the vertex of `vertices` [V, 3] that each new one copies [W], its position [W, 3], and the new faces [F, 3].
    xatlas processes each connected surface on one thread, and its time grows faster than the surface; cutting makes
    many small surfaces, which use all threads. A cut becomes a border of charts, but large charts need borders anyway.
    The cells stay in one mesh: xatlas 0.0.11 can crash when a second mesh is added while it processes the first.
    """
    low, size = vertices.min(0), np.ptp(vertices, 0).clip(min=1e-9)
    place = np.minimum((vertices[faces].mean(1) - low) / size * CELLS, CELLS - 1).astype(np.int64)
    numbers = place @ [CELLS**2, CELLS, 1]
    keys, new_faces = np.unique(numbers[:, None] * len(vertices) + faces, return_inverse=True)
    cell, owners = np.divmod(keys, len(vertices))
    shift = np.stack(np.unravel_index(cell, (CELLS,) * 3), -1) * size
    return owners, vertices[owners] - low + shift, new_faces.reshape(faces.shape)
