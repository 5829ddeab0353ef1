"""The seams: what representations, renderers, priors, estimators and meshes promise one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from sds3d.adam import Adam
from sds3d.cameras import Cameras


class Splats(NamedTuple):
    """N Gaussians as a rasterizer takes them, or one tensor for each of these kinds, such as gradients.

    Raw splats hold what a scene trains: the last three before exp, sigmoid and sigmoid.
    """

    means: Tensor  # [N, 3] world units
    quats: Tensor  # [N, 4] wxyz, of any length but 0
    scales: Tensor  # [N, 3] world units
    opacities: Tensor  # [N] in [0, 1]
    colors: Tensor  # [N, 3]


@dataclass(frozen=True)
class Render:
    """What a renderer returns for C views of H x W pixels."""

    colors: Tensor  # [C, H, W, 3] in [0, 1], already over the background
    alphas: Tensor  # [C, H, W, 1] in [0, 1]
    depths: Tensor  # [C, H, W, 1] expected camera-space z of what is visible; 0 where alpha is 0
    normals: Tensor | None = None  # [C, H, W, 3] world space, alpha-weighted, not renormalised
    info: dict[str, Tensor] = field(
        default_factory=dict
    )  # for densification: radii [C, N] pixels, means2d_grad_norm [N] after backward


class Representation(Protocol):
    """A scene with trainable parameters; concrete ones are nn.Module."""

    def param_groups(self) -> list[dict[str, Any]]: ...

    def density(self, points: Tensor) -> Tensor: ...  # [P, 3] world -> [P], non-negative

    def update(self, step: int, optimizer: Adam, render: Render) -> None: ...  # densify, prune


Renderer = Callable[[Cameras, Tensor], Render]  # (cameras, backgrounds [C, 3]); bound to its scene by build_renderer


class Prior(Protocol):
    """A frozen multi-view diffusion model; always speaks in predicted noise, whatever its checkpoint predicts."""

    num_views: int
    resolution: int  # pixels of the square images that encode_images expects
    pixel_latents: bool  # latents are pixels, so an image bounds them
    normals: bool  # images have I = 6 channels, not 3: colours, then normals.normal_images of the world-space normals

    @property
    def alphas_cumprod(self) -> Tensor: ...  # [T]

    def encode_prompt(self, prompt: str, negative: bool = False) -> Tensor: ...

    # what predict_noise takes for a text, opaque to all others; a negative one says what to keep away from, and so
    # nothing of the view that a camera sees

    def encode_images(
        self, images: Tensor
    ) -> Tensor: ...  # [C, I, H, W] in [0, 1] -> latents [C, Z, h, w], differentiable

    def decode_latents(self, latents: Tensor) -> Tensor: ...  # the inverse, [C, I, H, W] in [0, 1]

    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, texts: Sequence[Tensor], cameras: Cameras, backgrounds: Tensor
    ) -> list[Tensor]: ...

    # noisy [C, Z, h, w], timesteps [C] long, backgrounds [C, 3]: the colour behind the object, which a prior may use or
    # ignore; one prediction [C, Z, h, w] for each text, in the order given


class AdaptablePrior(Prior, Protocol):
    """A prior that can learn, for estimators that need to know what the renders look like to it."""

    def adapt(self, rank: int) -> tuple[Prior, list[torch.nn.Parameter]]: ...

    # a twin that shares all weights, differentiable in low-rank corrections of its own (LoRA, zero at first), and these


@dataclass(frozen=True)
class Condition:
    """What a prior call is conditioned on, fixed for one step."""

    text: Tensor  # from Prior.encode_prompt
    negative_text: Tensor  # the same, of a negative prompt
    cameras: Cameras
    backgrounds: Tensor  # [C, 3]


class Estimator(Protocol):
    """The gradient of one score-distillation objective with respect to the latents, [C, Z, h, w]."""

    def __call__(
        self, prior: Prior, latents: Tensor, timesteps: Tensor, condition: Condition, generator: Generator
    ) -> Tensor: ...


@runtime_checkable
class StatefulEstimator(Estimator, Protocol):
    """An estimator that learns from call to call; what it has learnt goes into checkpoints."""

    def tensors(self) -> dict[str, Tensor]: ...  # not copied; empty before the first call

    def restore(self, tensors: dict[str, Tensor]) -> None: ...  # what `tensors` returned; also before the first call


@dataclass(frozen=True)
class TexturedMesh:
    """A triangle mesh with one base-colour texture."""

    vertices: Tensor  # [V, 3] float32 world units, z up
    faces: Tensor  # [F, 3] int64, counter-clockwise seen from outside
    normals: Tensor  # [V, 3] unit
    uvs: Tensor  # [V, 2] in [0, 1], v up; vertices are split along chart borders
    texture: Tensor  # [S, S, 3] float32 in [0, 1], sRGB, row 0 on top

    def to(self, device: torch.device | str) -> TexturedMesh:
        """The same mesh with its tensors on `device`."""
        return TexturedMesh(*(x.to(device) for x in (self.vertices, self.faces, self.normals, self.uvs, self.texture)))
