"""Rasterizers behind one signature, and the choice among them."""

from __future__ import annotations

import importlib.util
import warnings
from functools import cache
from typing import Literal, Protocol, assert_never, get_args

import torch
from torch import Tensor

from sds3d.cameras import Cameras
from sds3d.config.schema import RasterizeMode, RendererConfig
from sds3d.errors import UserError
from sds3d.interfaces import Render, Renderer, Splats
from sds3d.native import cpu as native
from sds3d.renderers.constants import NEAR_PLANE
from sds3d.renderers.rasterizer import Rasterized, Rasterizer, View, check_shapes

Backend = Literal["native", "gsplat", "torch"]
OPTIONAL_PACKAGES = {"gsplat": "pip install 'sds3d[gsplat]' for another CUDA rasterizer"}  # how to get each


class SplatSource(Protocol):
    """What holds splats: Gaussians, or a view of them with other gradients."""

    def activated(self) -> Splats:
        """The splats as they are now, differentiable in the scene's parameters."""
        ...


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
    rasterize_mode: RasterizeMode = "classic",
    backgrounds: Tensor | None = None,  # [C, 3]; black if none
    deterministic: bool = False,  # on CUDA: equal bit for bit for equal arguments; on a CPU it always is
) -> Rasterized:
    """Colors [C, H, W, 3], alphas, expected depths [C, H, W, 1], normals [C, H, W, 3] and info of Gaussians.

    Our kernels for whatever device the tensors are on, float32, for use in models of your own: differentiable in the
    splats and the backgrounds; on CUDA also inside torch.compile and CUDA graphs. Arguments are named as gsplat's.
    Antialiased, splats keep their alpha where they are smaller than a pixel (Mip-Splatting, arXiv:2311.16493).
    Info: see rasterizer.Rasterized and splat_op.rasterize. ValueError if an argument is unknown or does not fit the
    others in shape, dtype or device, UserError if there are no kernels for the device.
    """
    if rasterize_mode not in get_args(RasterizeMode):
        raise ValueError(f"rasterize_mode: expected one of {get_args(RasterizeMode)}, got {rasterize_mode!r}")
    if backgrounds is None:
        backgrounds = means.new_zeros(len(viewmats), 3)
    splats = Splats(means, quats, scales, opacities, colors)
    view = View(viewmats, Ks, backgrounds, width, height, near_plane, rasterize_mode == "antialiased")
    check_shapes(splats, view)
    if means.is_cuda:
        from sds3d.renderers import splat_op

        return splat_op.rasterize(splats, view, normals=True, deterministic=deterministic)
    from sds3d.renderers import splat_native

    return splat_native.rasterize(splats, view, normals=True, deterministic=deterministic)


def build_renderer(cfg: RendererConfig, scene: SplatSource, device: torch.device | str) -> Renderer:
    """Renders `scene`, as it is at each call, on `device`."""
    backend = _rasterizer(resolve_backend(cfg.backend, device), torch.device(device).type, cfg.deterministic)

    def render(cameras: Cameras, backgrounds: Tensor) -> Render:
        splats = scene.activated()
        view = view_of(cameras, backgrounds, cfg)
        check_shapes(splats, view)
        # No normals: priors with normals compare those of the depths, and these cost time.
        return Render(*backend(splats, view, normals=False, deterministic=cfg.deterministic))

    return render


def view_of(cameras: Cameras, backgrounds: Tensor, cfg: RendererConfig) -> View:
    """The views of `cameras` before `backgrounds` [C, 3], rasterized in the mode of `cfg`."""
    return View(
        cameras.viewmats, cameras.Ks, backgrounds, cameras.width, cameras.height,
        antialiased=cfg.rasterize_mode == "antialiased",
    )  # fmt: skip


def resolve_backend(backend: str, device: torch.device | str) -> Backend:
    """The backend that renders on `device`; UserError if `backend` cannot."""
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


def _choose(device: torch.device | str) -> Backend:
    missing = _why_not_native(device)
    if not missing:
        return "native"
    if torch.device(device).type == "cuda" and _has_gsplat():
        _warn_once(f"rendering with gsplat, slower than our own kernels: {missing}")
        return "gsplat"
    _warn_once(f"rendering with plain torch, 20 to 60 times slower: {missing}")
    return "torch"


def _why_not_native(device: torch.device | str) -> str:
    """Why our own kernels cannot render on `device`; empty if they can."""
    match torch.device(device).type:
        case "cpu":
            return "" if native.load_library() is not None else f"{native.status().reason}; install g++"
        case "cuda":
            from sds3d.native import cuda as cuda_kernels

            status = cuda_kernels.status("splat", device)
            return status.reason if status.how == "missing" else ""
        case kind:
            return f"it draws on cpu and cuda, but device is {kind}"


def _rasterizer(backend: Backend, kind: str, deterministic: bool) -> Rasterizer:
    """The rasterizer of `backend` for devices of `kind`; UserError if it cannot be `deterministic`."""
    match backend:
        case "native" if kind == "cuda":
            from sds3d.renderers.splat_op import rasterize
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
