"""Rasterizers behind one signature, and the choice among them."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Protocol, assert_never

import torch
from torch import Tensor

from sds3d.cameras import Cameras
from sds3d.config.schema import RendererConfig
from sds3d.errors import UserError
from sds3d.interfaces import Render, Renderer
from sds3d.native import cpu as native
from sds3d.renderers.constants import NEAR_PLANE


class SplatScene(Protocol):
    """What the splat renderers draw."""

    def activated(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]: ...

    # means [N, 3], quats [N, 4] wxyz, scales [N, 3], opacities [N], colors [N, 3]


def rasterize(
    means: Tensor,  # [N, 3] world
    quats: Tensor,  # [N, 4] wxyz, of any length but 0
    scales: Tensor,  # [N, 3] world units
    opacities: Tensor,  # [N] in [0, 1]
    colors: Tensor,  # [N, 3]
    viewmats: Tensor,  # [C, 4, 4] world-to-camera, OpenCV axes
    Ks: Tensor,  # [C, 3, 3] pixels
    width: int,
    height: int,
    *,
    near_plane: float = NEAR_PLANE,  # world units
    backgrounds: Tensor | None = None,  # [C, 3]; black if none
    deterministic: bool = False,  # on CUDA: equal bit for bit for equal arguments; on a CPU it always is
) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Colors [C, H, W, 3], alphas, expected depths [C, H, W, 1], normals [C, H, W, 3] and info of Gaussians.

    Our kernels for whatever device the tensors are on, float32, for use in models of your own: differentiable in the
    splats and the backgrounds; on CUDA also inside torch.compile and CUDA graphs. Arguments are named and ordered as
    gsplat's. Info: see splat_reference.rasterize and splat_op.rasterize. ValueError if shapes, dtypes or devices do
    not fit together, UserError if there are no kernels for the device.
    """
    if backgrounds is None:
        backgrounds = means.new_zeros(len(viewmats), 3)
    arguments = (means, quats, scales, opacities, colors, viewmats, Ks, width, height)
    if means.is_cuda:
        from sds3d.renderers import splat_op

        return splat_op.rasterize(
            *arguments, backgrounds=backgrounds, near_plane=near_plane, deterministic=deterministic
        )
    from sds3d.renderers import splat_native

    return splat_native.rasterize(*arguments, backgrounds=backgrounds, near_plane=near_plane)


def build_renderer(cfg: RendererConfig, scene: SplatScene, device: torch.device | str) -> Renderer:
    """Draws `scene`, as it is at each call, on `device`."""
    draw = _rasterizer(resolve_backend(cfg.backend, device), torch.device(device).type, cfg.deterministic)

    def render(cameras: Cameras, backgrounds: Tensor) -> Render:
        colors, alphas, depths, normals, info = draw(
            *scene.activated(),
            cameras.viewmats,
            cameras.Ks,
            cameras.width,
            cameras.height,
            backgrounds=backgrounds,
        )
        return Render(colors, alphas, depths, normals, info)

    return render


def resolve_backend(backend: str, device: torch.device | str) -> str:
    """The backend that draws on `device`: "native", "gsplat" or "torch"; UserError if `backend` cannot."""
    kind = torch.device(device).type
    match backend:
        case "torch":
            return "torch"
        case "native":
            missing = _why_not_native(device)
            if missing:
                raise UserError(f"renderer.backend: native is not available ({missing}); use auto, gsplat or torch")
            return "native"
        case "gsplat":
            if kind != "cuda":
                raise UserError(f"renderer.backend: gsplat needs device=cuda, got {kind}; use auto, native or torch")
            if not _has_gsplat():
                raise UserError('renderer.backend: gsplat is not installed; pip install "sds3d[gsplat]" or use torch')
            return "gsplat"
        case "auto":
            return _choose(device)
        case _:
            raise UserError(f"renderer.backend: expected auto, native, gsplat or torch, got {backend!r}")


def _choose(device: torch.device | str) -> str:
    missing = _why_not_native(device)
    if not missing:
        return "native"
    if torch.device(device).type == "cuda" and _has_gsplat():
        _warn_once(f"drawing with gsplat, slower than our own kernels: {missing}")
        return "gsplat"
    _warn_once(f"drawing with plain torch, 20 to 60 times slower: {missing}")
    return "torch"


def _why_not_native(device: torch.device | str) -> str:
    """Why our own kernels cannot draw on `device`; empty if they can."""
    match torch.device(device).type:
        case "cpu":
            return "" if native.load_library() is not None else f"{native.status().reason}; install g++"
        case "cuda":
            from sds3d.native import cuda as cuda_kernels

            status = cuda_kernels.status("splat", device)
            return status.reason if status.how == "missing" else ""
        case kind:
            return f"it draws on cpu and cuda, but device is {kind}"


def _rasterizer(backend: str, kind: str, deterministic: bool) -> Callable[..., tuple]:
    """Tensors like `splat_reference.rasterize` in, images and info out."""
    match backend:
        case "native" if kind == "cuda":
            from sds3d.renderers.splat_op import rasterize

            # Nothing asks for normals on this way, and they cost time.
            return partial(rasterize, normals=False, deterministic=deterministic)
        case "native":
            from sds3d.renderers.splat_native import rasterize
        case "gsplat":
            if deterministic:
                raise UserError("renderer.deterministic: gsplat sums in no fixed order; use renderer.backend=native")
            from sds3d.renderers.splat_gsplat import rasterize
        case "torch":
            from sds3d.renderers.splat_reference import rasterize
        case _:
            assert_never(backend)
    return rasterize


def _has_gsplat() -> bool:
    return importlib.util.find_spec("gsplat") is not None


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, stacklevel=4)
