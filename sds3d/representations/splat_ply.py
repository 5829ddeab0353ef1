"""Gaussians as a PLY file in the layout of 3D Gaussian Splatting (Kerbl et al., 2023), which splat viewers read."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.representations.gaussians import Gaussians

SH0 = 0.28209479177387814  # the constant spherical harmonic: color = 0.5 + SH0 * f_dc
# Viewers have x to the right, y down, z away from them, and look at +z; our front, +x, then faces the viewer.
AXES = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
AXES_QUAT = torch.tensor([0.5, 0.5, 0.5, -0.5])  # the same rotation, wxyz
COLUMNS = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)


@torch.no_grad()
def splat_ply(scene: Gaussians) -> bytes:
    """A binary PLY file of `scene`, y down, front towards the viewer."""
    means, quats, _, _, colors = (x.detach().float().cpu() for x in scene.activated())
    opacities, log_scales = scene.logit_opacities.detach().cpu()[:, None], scene.log_scales.detach().cpu()
    quats = multiply_quats(AXES_QUAT, torch.nn.functional.normalize(quats, dim=-1))
    columns = [means @ AXES.T, torch.zeros_like(means), (colors - 0.5) / SH0, opacities, log_scales, quats]
    table = torch.cat(columns, 1)  # [N, 17]
    if not table.isfinite().all():
        raise UserError("the optimisation diverged (NaN or infinity in the splats); try another seed=N")
    properties = "".join(f"property float {name}\n" for name in COLUMNS)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(table)}\n{properties}end_header\n"
    return header.encode() + table.numpy().astype(np.dtype("<f4")).tobytes()


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
