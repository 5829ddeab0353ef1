"""What every splat rasterizer takes and returns, and the checks of its arguments."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sds3d.interfaces import Splats
from sds3d.renderers.constants import NEAR_PLANE

MAX_SIZE = 65535  # pixels; our own kernels keep pixel coordinates in 16 bits
MAX_SPLATS = 2**30  # our own kernels count in 32 bits with a sign, and add a few


class View(NamedTuple):
    """The C views of one size in which splats are rasterized. A named tuple, since torch.compile traces those."""

    viewmats: Tensor  # [C, 4, 4] world-to-camera, OpenCV axes
    Ks: Tensor  # [C, 3, 3] pixels
    backgrounds: Tensor  # [C, 3]
    width: int
    height: int
    near_plane: float = NEAR_PLANE  # world units
    antialiased: bool = False  # the low-pass filter keeps the alpha of a splat; see splat_reference.compensation
    means2d_offsets: Tensor | None = None  # [C, N, 2] pixels, added to the projected centers; only tests set it


class Rasterized(NamedTuple):
    """Images of C views of H x W pixels, and the statistics of the N splats for densification."""

    colors: Tensor  # [C, H, W, 3] over the background
    alphas: Tensor  # [C, H, W, 1]
    depths: Tensor  # [C, H, W, 1] expected camera-space z of what is visible; 0 where alpha is 0
    normals: Tensor | None  # [C, H, W, 3] world space, alpha-weighted, not renormalized
    info: dict[str, Tensor]  # radii [C, N] pixels, 0 = not visible; means2d_grad_norm [N], which backward fills


class Rasterizer(Protocol):
    """One backend. Its arguments have passed `check_shapes`."""

    def __call__(self, splats: Splats, view: View, *, normals: bool, deterministic: bool) -> Rasterized:
        """Images of `splats`, without normals (None) unless `normals`.

        With `deterministic`, equal bit for bit for equal arguments, and so are the gradients.
        """


def check_shapes(splats: Splats, view: View) -> None:
    """Raises ValueError unless the arguments agree on N and C, device and dtype."""
    means = splats.means
    N, C = len(means), len(view.viewmats)
    expected = {
        "means": (means, (N, 3)),
        "quats": (splats.quats, (N, 4)),
        "scales": (splats.scales, (N, 3)),
        "opacities": (splats.opacities, (N,)),
        "colors": (splats.colors, (N, 3)),
        "viewmats": (view.viewmats, (C, 4, 4)),
        "Ks": (view.Ks, (C, 3, 3)),
        "backgrounds": (view.backgrounds, (C, 3)),
    }
    if view.means2d_offsets is not None:
        expected["means2d_offsets"] = (view.means2d_offsets, (C, N, 2))
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{name}: expected {list(shape)} for N={N} splats and C={C} views, got {list(tensor.shape)}"
            )
        if tensor.dtype != means.dtype or tensor.device != means.device:
            raise ValueError(
                f"{name}: expected {means.dtype} on {means.device} like means, got {tensor.dtype} on {tensor.device}"
            )


def check_kernel_limits(splats: Splats, view: View, kernels: str, device_type: str) -> None:
    """Raises ValueError unless our own `kernels` ("native" or "CUDA") can rasterize the arguments."""
    means = splats.means
    if means.dtype != torch.float32 or means.device.type != device_type:
        raise ValueError(
            f"the {kernels} rasterizer takes float32 on {device_type}, got {means.dtype} on {means.device}"
        )
    if view.viewmats.requires_grad or view.Ks.requires_grad:
        raise ValueError(f"the {kernels} rasterizer has no gradient with respect to viewmats and Ks: detach them")
    if len(means) > MAX_SPLATS:
        raise ValueError(f"means: expected at most {MAX_SPLATS} splats, got {len(means)}")
    if not (0 < view.width <= MAX_SIZE and 0 < view.height <= MAX_SIZE):
        raise ValueError(f"width, height: expected 1 to {MAX_SIZE} pixels, got {view.width} x {view.height}")
