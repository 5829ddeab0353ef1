"""Target images: the gradient of the prior's latents, brought to the images."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sds3d.cameras import Cameras
from sds3d.imaging.normals import depth_normals, normal_images
from sds3d.imaging.resize import resize
from sds3d.interfaces import Prior, Render

PROBE = 0.02  # root mean square of the change of the images by which the encoder's slope is measured


class Target(NamedTuple):
    """Target images and their weights in the loss."""

    images: Tensor  # [C, I, R, R], I = 3 or, with normals, 6
    weights: Tensor  # [C, 1, 1, 1]

    def is_finite(self) -> Tensor:
        """Whether all images and weights are finite, a truth value []."""
        return torch.isfinite(self.images).all() & torch.isfinite(self.weights).all()


def shown(prior: Prior, render: Render, cameras: Cameras) -> Tensor:
    """The images [C, I, R, R] of a render, in the prior's size: colors and, for a prior with normals, those."""
    images = render.colors
    if prior.normals:
        images = torch.cat([images, normal_images(depth_normals(render.depths, render.alphas, cameras))], -1)
    return resize(images.movedim(-1, 1), prior.resolution)


def find_target(prior: Prior, images: Tensor, estimate: Callable[[Tensor], Tensor], lasting: bool) -> Target:
    """The target of `images` [C, I, R, R] from the gradient `estimate(latents)` [C, Z, h, w].

    The first step towards it follows exactly J^T gradient / C, J the encoder's Jacobian. A target that is `lasting`
    serves more steps, without the encoder: it minimises the quadratic model that shares this gradient and, along it,
    the curvature of 0.5 |latents - (latents_0 - gradient)|^2 / C with a linear encoder (Gauss-Newton). Where latents
    are pixels both are that loss itself.
    """
    images = images.detach()
    with torch.enable_grad():
        leaf = images.clone().requires_grad_()
        latents = prior.encode_images(leaf)
    gradient = estimate(latents.detach()) / len(images)
    [slope] = torch.autograd.grad(latents, leaf, gradient)
    if not lasting:
        return Target(images - slope, torch.ones_like(slope[:, :1, :1, :1]))
    with torch.no_grad():
        probe = slope * (PROBE / slope.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-30))
        change = prior.encode_images(images + probe) - latents.detach()
        energy = probe.square().sum((1, 2, 3), keepdim=True)
        curvature = change.square().sum((1, 2, 3), keepdim=True) / energy
        curvature = curvature.masked_fill(energy == 0, 0).clamp_min(1e-8) / len(images)  # where the gradient is 0
        return Target(images - slope / curvature, curvature)
