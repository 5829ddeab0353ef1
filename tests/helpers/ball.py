"""A ball whose color is its position."""

import torch

from sds3d.interfaces import Render


def color(points):
    return (0.5 + 0.4 * points / 0.6).clamp(0, 1)


class Ball:
    """A ball of radius 0.6 whose color is its position: analytic density and renderer."""

    def density(self, points):
        return torch.sigmoid((0.6 - points.norm(dim=-1)) * 40)

    def render(self, cameras, backgrounds):
        from sds3d.cameras import pixel_rays

        origins, directions = pixel_rays(cameras)
        along = -(origins * directions).sum(-1, keepdim=True)
        inside = 0.36 - (origins.square().sum(-1, keepdim=True) - along**2)
        alphas = (inside > 0).float()
        depths = along - inside.clamp_min(0).sqrt()
        colors = alphas * color(origins + depths * directions) + (1 - alphas) * backgrounds[:, None, None]
        forward = (directions * cameras.viewmats[:, None, None, 2, :3]).sum(-1, keepdim=True)  # distance to depth
        return Render(colors, alphas, alphas * depths * forward)
