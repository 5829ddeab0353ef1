"""The protocols between representations, renderers, priors, estimators and meshes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from sds3d.adam import Adam
from sds3d.cameras import Cameras

if TYPE_CHECKING:
    from sds3d.config.schema import LossConfig


class Splats(NamedTuple):
    """The parameters of N Gaussians for a rasterizer, or other tensors of these kinds, such as gradients.

    Raw splats have the trained parameters of a scene: the last three before exp, sigmoid and sigmoid.
    """

    means: Tensor  # [N, 3] world units
    quats: Tensor  # [N, 4] wxyz, of any length but 0
    scales: Tensor  # [N, 3] world units
    opacities: Tensor  # [N] in [0, 1]
    colors: Tensor  # [N, 3]


@dataclass(frozen=True)
class Render:
    """What a renderer returns for C views of H x W pixels.

    `info` is what the `update` of the scene needs to know of the render; other code does not use it.
    """

    colors: Tensor  # [C, H, W, 3] in [0, 1], already over the background
    alphas: Tensor  # [C, H, W, 1] in [0, 1]
    depths: Tensor  # [C, H, W, 1] expected camera-space z of what is visible; 0 where alpha is 0
    normals: Tensor | None = None  # [C, H, W, 3] world space, alpha-weighted, not renormalized
    info: Mapping[str, Tensor] = field(default_factory=dict)


Renderer = Callable[[Cameras, Tensor], Render]  # (cameras, backgrounds [C, 3]) -> Render


@runtime_checkable
class Stateful(Protocol):
    """Has a state that checkpoints save: a scene, its optimizer, an estimator that learns."""

    def tensors(self) -> dict[str, Tensor]:
        """The whole state by name, not copied; that of an estimator may be empty before its first call."""
        ...

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Continues from a result of `tensors`; its number of tensors and their shapes may be different."""
        ...


class Scene(Stateful, Protocol):
    """A representation with its renderer; the loop, checkpoints and the finish use nothing else of a scene."""

    @property
    def device(self) -> torch.device:
        """The device of its parameters."""
        ...

    def render(self, cameras: Cameras, backgrounds: Tensor) -> Render:
        """Images from `cameras` over `backgrounds` [C, 3], differentiable in the parameters."""
        ...

    def render_surface(self, cameras: Cameras, backgrounds: Tensor) -> Render:
        """The same images; their depths have gradients that move the surface and do not make it grow."""
        ...

    def density(self, points: Tensor) -> Tensor:
        """Density [P], not negative, at `points` [P, 3] in world units."""
        ...

    def param_groups(self, trains: str, progress: float) -> list[dict[str, Any]]:
        """Groups for Adam: "params", "name" and "lr" at `progress` in [0, 1] through the run.

        The order never changes. A group that a stage with `trains` ("all" or "colors") does not train has lr 0.
        """
        ...

    def regularization(self, cfg: LossConfig) -> Tensor:
        """Weighted sum [] of the regularizers of parameters that `cfg` enables."""
        ...

    def update(self, step: int, optimizer: Adam, render: Render) -> None:
        """Called after each optimizer step that trains all: densifies, prunes, or refreshes what it caches."""
        ...

    def is_finite(self) -> Tensor:
        """Whether all parameters are finite, a truth value []."""
        ...

    def files(self) -> dict[str, bytes]:
        """The scene in file formats of its kind: content by file name. UserError if it is not finite."""
        ...

    def size(self) -> dict[str, int]:
        """Its size for logs and reports, such as {"gaussians": 5123}."""
        ...


class ImageGradients(NamedTuple):
    """Gradients with respect to the images of a Render, in their shapes; None where there is none."""

    colors: Tensor | None
    alphas: Tensor | None
    depths: Tensor | None


class Drawing(Protocol):
    """A render whose tensors keep their addresses, with the data that its backward pass needs."""

    @property
    def render(self) -> Render:
        """The images, without gradients."""
        ...

    @property
    def overflow(self) -> Tensor:
        """[1] int32, not 0 if the drawing lacked memory and is incomplete; then `descend` changes nothing.

        Other code may set it, too.
        """
        ...

    @property
    def roomy_capacity(self) -> int:
        """A capacity for later drawings of the scene, with a margin."""
        ...


@runtime_checkable
class FusedScene(Scene, Protocol):
    """A scene that takes an optimizer step without autograd, in launches that a CUDA graph can record."""

    def memory(self) -> object:
        """The same object for as long as the parameters stay at the same addresses, so that recordings remain valid."""
        ...

    def draw(self, cameras: Cameras, backgrounds: Tensor, capacity: int | None) -> Drawing:
        """The images. With `capacity`, nothing is read back from the GPU, which recording a graph requires."""
        ...

    def descend(
        self, drawing: Drawing, cameras: Cameras, backgrounds: Tensor, gradients: ImageGradients,
        cfg: LossConfig, optimizer: Adam, learning_rates: Tensor,
    ) -> None:  # fmt: skip
        """One step of `optimizer` with `learning_rates` [G], one per group; none if `drawing` overflowed.

        It follows `gradients`, of which depths move the surface only, as in `render_surface`, and those of
        `regularization(cfg)`.
        """
        ...

    def update_due(self, step: int) -> bool:
        """Whether `update_after` must be called after `step`."""
        ...

    def update_after(self, step: int, optimizer: Adam) -> None:
        """The same as `update`, except for the statistics of a step, which `descend` has gathered."""
        ...


class Prior(Protocol):
    """A frozen multi-view diffusion model. It always predicts noise, whatever its checkpoint predicts."""

    num_views: int
    resolution: int  # pixels of the square images that encode_images expects
    pixel_latents: bool  # latents are pixels, so they have the range of images
    normals: bool  # images have I = 6 channels, not 3: colors, then normals.normal_images of the world-space normals

    @property
    def alphas_cumprod(self) -> Tensor: ...  # [T]

    def encode_prompt(self, prompt: str, negative: bool = False) -> Tensor:
        """The encoding of a text for predict_noise; other code does not look into it.

        A negative prompt names what to avoid, so it gets no words for the side that a camera sees.
        """
        ...

    def encode_images(self, images: Tensor) -> Tensor:
        """Latents [C, Z, h, w] of `images` [C, I, H, W] in [0, 1], differentiable."""
        ...

    def decode_latents(self, latents: Tensor) -> Tensor:
        """The inverse of encode_images: images [C, I, H, W] in [0, 1]."""
        ...

    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, texts: Sequence[Tensor], cameras: Cameras, backgrounds: Tensor
    ) -> list[Tensor]:
        """Predicted noise [C, Z, h, w] for each text, in the order given.

        `noisy` [C, Z, h, w], `timesteps` [C] long; `backgrounds` [C, 3] is the color behind the object, which a prior
        may use or ignore.
        """
        ...


class AdaptablePrior(Prior, Protocol):
    """A prior that can be fine-tuned, for estimators that model the distribution of the renders."""

    def adapt(self, rank: int) -> tuple[Prior, list[torch.nn.Parameter]]:
        """A twin that shares all weights and has low-rank corrections (LoRA, zero at first), and their parameters."""
        ...


class Prompts(NamedTuple):
    """The prompts of a run, encoded by Prior.encode_prompt."""

    positive: Tensor
    negative: Tensor
    null: Tensor  # of the empty prompt


@dataclass(frozen=True)
class Condition:
    """The conditioning of a prior call, fixed during a step."""

    prompts: Prompts
    cameras: Cameras
    backgrounds: Tensor  # [C, 3]


class Estimator(Protocol):
    """The gradient of one score-distillation objective with respect to the latents, [C, Z, h, w].

    One that learns from call to call is Stateful, too.
    """

    def __call__(
        self, prior: Prior, latents: Tensor, timesteps: Tensor, condition: Condition, generator: Generator
    ) -> Tensor: ...


@dataclass(frozen=True)
class TexturedMesh:
    """A triangle mesh with one base-color texture."""

    vertices: Tensor  # [V, 3] float32 world units, z up
    faces: Tensor  # [F, 3] int64, counter-clockwise seen from outside
    normals: Tensor  # [V, 3] unit
    uvs: Tensor  # [V, 2] in [0, 1], v up; vertices are split along chart borders
    texture: Tensor  # [S, S, 3] float32 in [0, 1], sRGB, row 0 on top

    def to(self, device: torch.device | str) -> TexturedMesh:
        """The same mesh with its tensors on `device`."""
        return TexturedMesh(*(x.to(device) for x in (self.vertices, self.faces, self.normals, self.uvs, self.texture)))
