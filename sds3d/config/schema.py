"""The typed configuration: these dataclasses are the schema and the defaults. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from sds3d.config.ramp import Ramp


@dataclass(frozen=True)
class GaussiansConfig:
    """3D Gaussians and how their number changes."""

    kind: Literal["gaussians"] = "gaussians"
    num_init: int = 3000
    init_radius: float = 0.6  # of the ball that the first means fill, world units
    init_opacity: float = 0.1
    max_gaussians: int = 6000
    densify_every: int = 100  # optimiser steps
    densify_until: float = 0.7  # fraction of all steps
    grow_fraction: float = 0.12  # of the splats, ranked by accumulated image-space gradient
    prune_opacity: float = 0.01
    max_scale: float = 0.15  # world units; larger splats are split or pruned
    lr_means: Ramp = Ramp(0.006, 0.001)
    lr_colors: float = 0.01
    lr_opacities: float = 0.05
    lr_scales: float = 0.01
    lr_quats: float = 0.01


@dataclass(frozen=True)
class RendererConfig:
    """Which rasterizer draws the representation."""

    backend: Literal["auto", "native", "gsplat", "torch"] = "auto"
    deterministic: bool = False  # on CUDA: equal bit for bit in every run, slower; on a CPU it always is


@dataclass(frozen=True)
class PocketConfig:
    """The multi-view prior that ships inside the package."""

    kind: Literal["pocket"] = "pocket"
    path: str = ""  # a folder made by `sds3d prior train`; empty means the shipped one


DType = Literal["auto", "float16", "bfloat16", "float32"]


@dataclass(frozen=True)
class MVDreamConfig:
    """Four views of 256 x 256 pixels at once, by a Stable Diffusion whose views attend to each other."""

    kind: Literal["mvdream"] = "mvdream"
    path: str = "mvdream-sd2.1"  # a known model's name (`sds3d prior list`), a checkpoint file, or a folder
    dtype: DType = "auto"  # float16 on CUDA, float32 on a CPU
    compile: bool = True  # on CUDA: a slower start, faster steps
    vae_batch: int = 0  # images that the image encoder takes at once; fewer need less memory; 0 = all


@dataclass(frozen=True)
class StableDiffusionConfig:
    """A single-view model in the diffusers layout: Stable Diffusion 1 and 2, XL or 3."""

    kind: Literal["stable-diffusion"] = "stable-diffusion"
    path: str = "sd-2.1-base"  # a known model's name (`sds3d prior list`) or a folder
    view_texts: bool = True  # say in the prompt from which side the object is seen
    perp_neg: bool = False  # and keep away from the other sides, for two more rows of each call
    dtype: DType = "auto"  # float16 on CUDA (bfloat16 for Stable Diffusion 3), float32 on a CPU
    compile: bool = True  # on CUDA: a slower start, faster steps
    vae_batch: int = 0  # images that the image encoder takes at once; fewer need less memory; 0 = all


@dataclass(frozen=True)
class RunPriorConfig:
    """For a stage: the prior of the run."""

    kind: Literal["run"] = "run"


PriorConfig = PocketConfig | MVDreamConfig | StableDiffusionConfig
StagePriorConfig = RunPriorConfig | PocketConfig | MVDreamConfig | StableDiffusionConfig


@dataclass(frozen=True)
class SDSConfig:
    """Score distillation."""

    kind: Literal["sds"] = "sds"
    form: Literal["x0", "epsilon"] = "x0"  # weight sigma / alpha, a pull to x0; or sigma^2, as first published
    guidance_scale: float = 2.0  # uncond + s (cond - uncond); 1 means no guidance
    rescale: float = 0.0  # of form x0: 0 = off, 1 = the guided x0 has the spread of the conditional one


@dataclass(frozen=True)
class CSDConfig:
    """Classifier score distillation."""

    kind: Literal["csd"] = "csd"
    guidance_scale: float = 7.5  # s (cond - uncond), which is all there is: a weight against the regularisers


@dataclass(frozen=True)
class NFSDConfig:
    """Noise-free score distillation; needs a negative prompt that says what bad images look like."""

    kind: Literal["nfsd"] = "nfsd"
    guidance_scale: float = 7.5  # null + s (cond - null), where null is the empty prompt
    t_switch: float = 0.2  # fraction of T from which on the negative prompt stands for what is out of the domain


@dataclass(frozen=True)
class ISMConfig:
    """Interval score matching."""

    kind: Literal["ism"] = "ism"
    guidance_scale: float = 7.5  # uncond + s (cond - uncond); 1 means no guidance
    delta_s: float = 0.2  # fraction of T that a step of the inversion spans
    delta_t: float = 0.05  # fraction of T between the two predictions that are compared


@dataclass(frozen=True)
class SDIConfig:
    """Score distillation via inversion."""

    kind: Literal["sdi"] = "sdi"
    # cond + s (cond - uncond) in the authors' code, with 7.5 and -7.5: one more here
    guidance_scale: float = 8.5  # uncond + s (cond - uncond); 1 means no guidance
    inversion_guidance_scale: float = -6.5  # the same, on the way to noise
    inversion_steps: int = 10  # from the render to T; proportionally fewer to a lower noise level
    eta: float = 0.3  # of the noise of stochastic DDIM, added on the way; 0 = none


@dataclass(frozen=True)
class SDEditConfig:
    """What the prior draws, in several steps, from the noised render."""

    kind: Literal["sdedit"] = "sdedit"
    guidance_scale: float = 5.0  # uncond + s (cond - uncond); 1 means no guidance
    steps: int = 8  # of DDIM from the noise level to the picture: as many prior calls


@dataclass(frozen=True)
class VSDConfig:
    """Variational score distillation: a copy of the prior learns what the renders look like."""

    kind: Literal["vsd"] = "vsd"
    guidance_scale: float = 7.5  # uncond + s (cond - uncond); 1 means no guidance
    rank: int = 16  # of the copy's low-rank corrections (LoRA)
    lr: float = 1e-4  # of the corrections
    train_steps: int = 1  # of the copy, for each prior call


EstimatorConfig = SDSConfig | CSDConfig | NFSDConfig | ISMConfig | SDIConfig | SDEditConfig | VSDConfig


@dataclass(frozen=True)
class CameraConfig:
    """Where the training views stand."""

    elevation_deg: tuple[float, float] = (-20.0, 60.0)
    distance: tuple[float, float] = (2.7, 2.7)
    zoom: bool = False  # distance is in units of 1 / tan(fov / 2): the object looks as large at every fov
    fov_deg: tuple[float, float] = (40.0, 40.0)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the regularisers; the distillation loss itself has weight 1."""

    sparsity: float = 0.0  # mean sqrt(alpha^2 + 0.01)
    opaque: float = 0.0  # binary entropy of alpha: visible means solid
    scales: float = 0.0  # mean splat scale
    position: float = 0.0  # mean distance of the splats beyond the unit ball


@dataclass(frozen=True)
class StageConfig:
    """One stretch of the optimisation with its own resolution, noise levels and losses."""

    name: str = "shape"
    steps: int = 200  # optimiser steps
    prior_every: int = 4  # optimiser steps that reuse one prior call
    prior: StagePriorConfig = field(default_factory=RunPriorConfig)
    num_orbits: int = 1  # orbits a step; each has as many views as the prior
    resolution: int = 64  # pixels of the rendered views
    trains: Literal["all", "colors"] = "all"  # colors: the shape stays as it is
    t_min: Ramp = Ramp(0.98, 0.8)  # fractions of T
    t_max: Ramp = Ramp(1.0, 0.95)
    estimator: EstimatorConfig = field(default_factory=SDSConfig)
    cameras: CameraConfig = field(default_factory=CameraConfig)
    loss: LossConfig = LossConfig(sparsity=10.0)


# The mean of what the text could mean: where there is something, and roughly of what colour.
SHAPE = StageConfig()
# Then pictures, drawn whole: each from what the last one left, and each time with less of it to be drawn anew.
DETAIL = StageConfig(
    name="detail",
    steps=400,
    prior_every=40,
    resolution=128,
    t_min=Ramp(0.94, 0.52),
    t_max=Ramp(0.97, 0.55),
    estimator=SDEditConfig(guidance_scale=4.0, steps=10),
    loss=LossConfig(sparsity=10.0, opaque=200.0),
)
# A mesh has one colour at each point and a hard edge; soft layers of splats have neither. Hardened earlier, haze would
# become matter where the shape is still open: under a cap, between the legs of a chair.
CRISP = replace(
    DETAIL,
    name="crisp",
    steps=100,
    prior_every=50,
    t_min=Ramp(0.37, 0.27),
    t_max=Ramp(0.4, 0.3),
    estimator=SDEditConfig(guidance_scale=2.0, steps=6),
    loss=LossConfig(sparsity=40.0, opaque=1500.0, scales=100.0),
)


@dataclass(frozen=True)
class MeshConfig:
    """From splats to a textured mesh."""

    grid: int = 128  # samples along the longest side of the density grid
    faces: int = 20000
    texture_size: int = 1024  # texels
    bake_views: int = 32
    bake_resolution: int = 256  # pixels


@dataclass(frozen=True)
class PreviewConfig:
    """The pictures of a finished run."""

    resolution: int = 384  # pixels
    frames: int = 72  # of the turntable


@dataclass(frozen=True)
class CheckpointConfig:
    """When the state of a run is saved."""

    every_steps: int = 200
    every_seconds: float = 30.0
    keep: int = 2


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on."""

    prompt: str = ""
    negative_prompt: str = ""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    out: str = "outputs"  # the folder that holds the run folders
    representation: GaussiansConfig = field(default_factory=GaussiansConfig)
    renderer: RendererConfig = field(default_factory=RendererConfig)
    prior: PriorConfig = field(default_factory=PocketConfig)
    capture: bool = True  # with our CUDA kernels: record steps as CUDA graphs
    stages: tuple[StageConfig, ...] = (SHAPE, DETAIL, CRISP)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    preview: PreviewConfig = field(default_factory=PreviewConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def prior_of(self, stage: StageConfig) -> PriorConfig:
        """The prior that `stage` uses."""
        return self.prior if isinstance(stage.prior, RunPriorConfig) else stage.prior
