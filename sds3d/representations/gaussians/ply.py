"""Gaussians as a PLY file in the layout of 3D Gaussian Splatting (Kerbl et al., 2023), which splat viewers read."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor

from sds3d.config.schema import GaussiansConfig, RasterizeMode
from sds3d.errors import UserError
from sds3d.representations.gaussians.splats import Gaussians

SH0 = 0.28209479177387814  # the constant spherical harmonic: color = 0.5 + SH0 * f_dc
# Viewers have x to the right, y down, z away from them, and look at +z; our front, +x, then faces the viewer.
AXES = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
AXES_QUAT = torch.tensor([0.5, 0.5, 0.5, -0.5])  # the same rotation, wxyz
ANTIALIASED = "comment rasterize_mode antialiased\n"  # viewers skip comments
COLUMNS = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)


@torch.no_grad()
def splat_ply(scene: Gaussians, rasterize_mode: RasterizeMode = "classic") -> bytes:
    """A binary PLY file of `scene`, y down, front towards the viewer; a comment names a mode that is not classic."""
    means, quats, _, _, colors = (x.detach().float().cpu() for x in scene.activated())
    opacities, log_scales = scene.logit_opacities.detach().cpu()[:, None], scene.log_scales.detach().cpu()
    quats = multiply_quats(AXES_QUAT, torch.nn.functional.normalize(quats, dim=-1))
    columns = [means @ AXES.T, torch.zeros_like(means), (colors - 0.5) / SH0, opacities, log_scales, quats]
    table = torch.cat(columns, 1)  # [N, 17]
    if not table.isfinite().all():
        raise UserError("the optimization diverged (NaN or infinity in the splats); try another seed=N")
    return _header(len(table), rasterize_mode) + table.numpy().astype(np.dtype("<f4")).tobytes()


def read_splat_ply(data: bytes) -> tuple[Gaussians, RasterizeMode]:
    """The scene of a file that `splat_ply` wrote, in world axes again, and its mode; UserError for any other file."""
    count = int(found[1]) if (found := re.search(rb"\nelement vertex (\d{1,9})\n", data[:150])) else 0
    mode: RasterizeMode = "antialiased" if ANTIALIASED.encode() in data[:150] else "classic"
    header = _header(count, mode)
    if not data.startswith(header) or len(data) != len(header) + 4 * len(COLUMNS) * count:
        raise UserError("splats: expected a PLY file as sds3d writes it, got another or a part of one")
    table = torch.from_numpy(np.frombuffer(data, "<f4", offset=len(header)).astype(np.float32))
    means, _, colors, opacities, log_scales, quats = table.view(count, -1).split((3, 3, 3, 1, 3, 4), 1)
    tensors = {
        "means": means @ AXES,
        "quats": multiply_quats(AXES_QUAT * torch.tensor([1.0, -1, -1, -1]), quats),
        "log_scales": log_scales,
        "logit_opacities": opacities[:, 0],
        "logit_colors": (0.5 + SH0 * colors).logit(eps=1e-6),  # a color of 0 or 1 has none
    }
    return Gaussians(tensors, GaussiansConfig()), mode


def _header(count: int, rasterize_mode: RasterizeMode) -> bytes:
    comment = ANTIALIASED if rasterize_mode == "antialiased" else ""
    properties = "".join(f"property float {name}\n" for name in COLUMNS)
    return f"ply\nformat binary_little_endian 1.0\n{comment}element vertex {count}\n{properties}end_header\n".encode()


def multiply_quats(a: Tensor, b: Tensor) -> Tensor:
    """The rotation `b` followed by `a`; wxyz, [..., 4]."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )
