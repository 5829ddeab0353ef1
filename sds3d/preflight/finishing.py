"""Memory of what follows the optimization (mesh, texture, pictures), from the config alone; imports no torch."""

from __future__ import annotations

import os
import resource

from sds3d.config.schema import Config

# Bytes, measured on one CPU as growth of the resident memory, rounded up; docs/priors.md, Memory.
CELL = 16  # of the density grid: its values twice, labels of 32 bits, masks
TRIANGLE = 480  # of the isosurface while it is smoothed and simplified
TRIANGLES = 12  # of the isosurface for each square of the grid's side: a ball has 7.6, a rough surface 15
FACE = 300  # of the final mesh while its charts are made
TEXEL = 180  # fragments, positions, colors, the nearest texel with a color
PIXEL = 130  # of a view from which the texture is baked: its fragments
SAMPLE = 165  # of a view of the mesh, of which one is drawn at a time
PREVIEW_SAMPLES = 9  # a pixel of the preview; the turntable has 4, and 8 frames at a time whatever their number
TEXTURE = 12  # of the finished texture, a texel
RESERVED = 2**30  # address space that libraries and threads reserve and never fill; measured 0.97 GiB


def finishing_parts(cfg: Config) -> dict[str, int]:
    """Peak bytes of each step after the optimization, by the setting that decides on them."""
    mesh = cfg.mesh
    texels = mesh.texture_size**2
    baking = {"mesh.texture_size": TEXEL * texels, "mesh.bake_resolution": PIXEL * mesh.bake_resolution**2}
    baking[max(baking, key=lambda key: baking[key])] = sum(baking.values())  # both are needed at once
    return {
        "mesh.grid": max(CELL * mesh.grid**3, TRIANGLE * TRIANGLES * mesh.grid**2),
        "mesh.faces": FACE * mesh.faces,
        **baking,
        "preview.resolution": SAMPLE * PREVIEW_SAMPLES * cfg.preview.resolution**2 + TEXTURE * texels,
    }


def host_memory() -> int:
    """Bytes that this process may fill at most, by the machine's memory and the limit of address space (ulimit -v)."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return physical if limit == resource.RLIM_INFINITY else min(physical, max(0, limit - RESERVED))
