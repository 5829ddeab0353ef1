"""UV charts by xatlas."""

from __future__ import annotations

import numpy as np

PADDING = 4  # texels between charts
# Square world units. Growing a chart takes longer the larger it is; smaller ones cost some of the texture's resolution.
MAX_CHART_AREA = 0.1


def unwrap(vertices: np.ndarray, faces: np.ndarray, texture_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new vertex the old one it copies [W], the new faces [F, 3], and uvs [W, 2] in [0, 1].

    Vertices on chart borders are copied once for each chart; faces keep their order and orientation.
    """
    import xatlas

    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    charts = xatlas.ChartOptions()
    charts.max_iterations = 1  # more iterations cost time and save little of the texture
    charts.max_chart_area = MAX_CHART_AREA
    packing = xatlas.PackOptions()
    packing.resolution = texture_size
    packing.padding = PADDING
    packing.bilinear = True
    atlas.generate(charts, packing)
    sources, faces, uvs = atlas[0]
    return sources.astype(np.int64), faces.astype(np.int64), np.clip(uvs, 0, 1).astype(np.float32)
