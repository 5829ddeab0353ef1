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

    pieces = cells(vertices[faces].mean(1))
    atlas = xatlas.Atlas()
    for piece in pieces:
        atlas.add_mesh(vertices.astype(np.float32), faces[piece].astype(np.uint32))
    charts = xatlas.ChartOptions()
    charts.max_iterations = 1  # more iterations cost time and save little of the texture
    packing = xatlas.PackOptions()
    packing.resolution = texture_size
    packing.padding = PADDING
    packing.bilinear = True
    atlas.generate(charts, packing)
    sources, uvs, new_faces, count = [], [], np.empty_like(faces, np.int64), 0
    for index, piece in enumerate(pieces):
        piece_sources, piece_faces, piece_uvs = atlas[index]
        new_faces[piece] = piece_faces.astype(np.int64) + count
        count += len(piece_sources)
        sources.append(piece_sources.astype(np.int64))
        uvs.append(piece_uvs)
    return np.concatenate(sources), new_faces, np.clip(np.concatenate(uvs), 0, 1).astype(np.float32)


def cells(points: np.ndarray) -> list[np.ndarray]:
    """The numbers of the `points` [P, 3] in each cell of their bounding box that holds any.

    xatlas grows the charts of one mesh on one thread, in a time that rises faster than its size; those of many
    small ones on all threads. A cut is a border of charts, but without it charts would need more borders inside.
    """
    low, high = points.min(0), points.max(0)
    place = np.minimum((points - low) / (high - low).clip(min=1e-9) * CELLS, CELLS - 1).astype(np.int64)
    numbers = place @ [CELLS**2, CELLS, 1]
    return [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
