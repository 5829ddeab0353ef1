"""Pictures of the pool's true objects, the upper bound for a prior or an asset."""

from __future__ import annotations

import torch
from torch import Tensor

from sds3d.cameras import Cameras
from sds3d.procedural.objects.held_out import held_out_pool
from sds3d.procedural.parts import pack
from sds3d.procedural.tracer import trace


def render_pool(count: int, cameras: Cameras, device: torch.device) -> tuple[Tensor, Tensor]:
    """Premultiplied colors [count, V, 3, H, W] and alphas [count, V, 1, H, W] of the first objects of the pool.

    The same V `cameras` see every object, under the light of the prior's training pictures.
    """
    parts = torch.stack([torch.from_numpy(pack(held.parts)) for held in held_out_pool()[:count]]).to(device)
    repeated = Cameras(
        cameras.viewmats.repeat(count, 1, 1), cameras.Ks.repeat(count, 1, 1), cameras.width, cameras.height
    )
    rgba = trace(parts, repeated).movedim(-1, 2)
    return rgba[:, :, :3], rgba[:, :, 3:]
