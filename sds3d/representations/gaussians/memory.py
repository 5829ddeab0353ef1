"""Memory of the optimization of Gaussians, computed from their config."""

from __future__ import annotations

from sds3d.config.schema import GaussiansConfig

# Bytes a splat: 14 numbers, their gradients, both moments of Adam, what a rasterizer draws, and densification's two.
SPLAT = 4 * (5 * 14 + 2)
# Bytes a splat and view: record, radius, moments of the gradients, and four entries of tile lists, half of them spare.
SPLAT_VIEW = 32 + 4 + 40 + 8 * 6


def gaussians_bytes(cfg: GaussiansConfig, images: int) -> int:
    """Peak bytes of the splats, their optimizer, and their rasterizer for `images` images at once."""
    return cfg.max_gaussians * (SPLAT + SPLAT_VIEW * images)
