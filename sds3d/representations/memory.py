"""Memory of the optimization of a scene, computed from its config."""

from __future__ import annotations

from typing import assert_never

from sds3d.config.schema import GaussiansConfig

# Bytes a splat: 14 numbers, their gradients, both moments of Adam, what a rasterizer draws, and densification's two.
SPLAT = 4 * (5 * 14 + 2)
# Bytes a splat and view: record, radius, moments of the gradients, and four entries of tile lists, half of them spare.
SPLAT_VIEW = 32 + 4 + 40 + 8 * 6


def scene_bytes(cfg: GaussiansConfig, images: int) -> int:
    """Peak bytes of a scene, its optimizer, and its renderer for `images` images at once."""
    match cfg:
        case GaussiansConfig():
            return cfg.max_gaussians * (SPLAT + SPLAT_VIEW * images)
        case _:
            assert_never(cfg)
