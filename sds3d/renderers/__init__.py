"""Rasterizers behind one signature, and the choice among them."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from functools import cache
from typing import Protocol, assert_never

import torch
from torch import Tensor

from sds3d import native
from sds3d.cameras import Cameras
from sds3d.config import RendererConfig
from sds3d.errors import UserError
from sds3d.interfaces import Render, Renderer


class SplatScene(Protocol):
    """What the splat renderers draw."""

    def activated(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]: ...

    # means [N, 3], quats [N, 4] wxyz, scales [N, 3], opacities [N], colors [N, 3]


def build_renderer(cfg: RendererConfig, scene: SplatScene, device: torch.device | str) -> Renderer:
    """Draws `scene`, as it is at each call, on `device`."""
    rasterize = _rasterizer(resolve_backend(cfg.backend, device))

    def render(cameras: Cameras, backgrounds: Tensor) -> Render:
        colors, alphas, depths, normals, info = rasterize(
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
            if kind != "cpu":
                raise UserError(
                    f"renderer.backend: native draws on the cpu only, but device is {kind}; use auto, gsplat or torch"
                )
            if native.load_library() is None:
                raise UserError(
                    f"renderer.backend: native is not available ({native.status().reason}); install g++ or use torch"
                )
            return "native"
        case "gsplat":
            if kind != "cuda":
                raise UserError(f"renderer.backend: gsplat needs device=cuda, got {kind}; use auto, native or torch")
            if not _has_gsplat():
                raise UserError('renderer.backend: gsplat is not installed; pip install "sds3d[gsplat]" or use torch')
            return "gsplat"
        case "auto":
            return _choose(kind)
        case _:
            raise UserError(f"renderer.backend: expected auto, native, gsplat or torch, got {backend!r}")


def _choose(kind: str) -> str:
    if kind == "cpu":
        if native.load_library() is not None:
            return "native"
        _warn_once(f"drawing with plain torch, 20 to 60 times slower: {native.status().reason}")
    elif kind == "cuda" and _has_gsplat():
        return "gsplat"
    else:
        _warn_once('drawing with plain torch, slow: gsplat is not installed (pip install "sds3d[gsplat]")')
    return "torch"


def _rasterizer(backend: str) -> Callable[..., tuple[Tensor, Tensor, Tensor, Tensor | None, dict[str, Tensor]]]:
    match backend:
        case "native":
            from sds3d.renderers.splat_native import rasterize
        case "gsplat":
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
