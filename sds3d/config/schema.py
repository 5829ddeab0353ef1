"""The typed configuration: these dataclasses are the schema, the ranges and the defaults. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from sds3d.config.ramp import Ramp
from sds3d.config.ranges import COUNT, FRACTION, GUIDANCE, INSIDE, NON_NEGATIVE, PIXELS, POSITIVE, UP_TO_ONE, Range

ASIDE = "aside"


def aside(default: Any) -> Any:
    """A field that does not affect the result, so it is not part of a run's identity."""
    return field(default=default, metadata={ASIDE: True})


@dataclass(frozen=True)
class GaussiansConfig:
    """3D Gaussians and how their number changes."""

    kind: Literal["gaussians"] = "gaussians"
    num_init: Annotated[int, Range(1, 5_000_000)] = 3000
    init_radius: Annotated[float, UP_TO_ONE] = 0.6  # of the ball that the first means fill, world units
    init_opacity: Annotated[float, INSIDE] = 0.1
    max_gaussians: Annotated[int, Range(1, 5_000_000)] = 6000
    densify_every: Annotated[int, COUNT] = 100  # optimizer steps
    densify_until: Annotated[float, FRACTION] = 0.7  # fraction of all steps
    grow_fraction: Annotated[float, FRACTION] = 0.12  # of the splats, ranked by accumulated image-space gradient
    prune_opacity: Annotated[float, INSIDE] = 0.01
    max_scale: Annotated[float, UP_TO_ONE] = 0.15  # world units; larger splats are split or shrunk
    lr_means: Annotated[Ramp, POSITIVE] = Ramp(0.006, 0.001)
    lr_colors: Annotated[float, POSITIVE] = 0.01
    lr_opacities: Annotated[float, POSITIVE] = 0.05
    lr_scales: Annotated[float, POSITIVE] = 0.01
    lr_quats: Annotated[float, POSITIVE] = 0.01


RasterizeMode = Literal["classic", "antialiased"]


@dataclass(frozen=True)
class RendererConfig:
    """Which rasterizer draws the representation."""

    backend: Literal["auto", "native", "gsplat", "torch"] = "auto"
    rasterize_mode: RasterizeMode = "classic"  # antialiased: splats smaller than a pixel keep their alpha
    deterministic: bool = False  # on CUDA: equal bit for bit in every run, slower; on a CPU it always is


@dataclass(frozen=True)
class PocketConfig:
    """The multi-view prior that ships inside the package."""

    kind: Literal["pocket"] = "pocket"
    path: str = aside("")  # a folder made by `sds3d prior train`; empty means the shipped one


Device = Literal["auto", "cpu", "cuda"]
DType = Literal["auto", "float16", "bfloat16", "float32"]


@dataclass(frozen=True)
class MVDreamConfig:
    """Four views of 256 x 256 pixels at once, by a Stable Diffusion whose views attend to each other."""

    kind: Literal["mvdream"] = "mvdream"
    path: str = aside("mvdream-sd2.1")  # a known model's name (`sds3d prior list`), a checkpoint file, or a folder
    dtype: DType = "auto"  # float16 on CUDA, float32 on a CPU
    compile: bool = aside(True)  # on CUDA: a slower start, faster steps
    vae_batch: Annotated[int, Range(0, 1024)] = aside(0)  # images that the VAE encodes at once; 0 = all


@dataclass(frozen=True)
class StableDiffusionConfig:
    """A single-view model in the diffusers layout: Stable Diffusion 1 and 2, XL or 3."""

    kind: Literal["stable-diffusion"] = "stable-diffusion"
    path: str = aside("sd-2.1-base")  # a known model's name (`sds3d prior list`) or a folder
    view_texts: bool = True  # add the viewing side to the prompt
    perp_neg: bool = False  # also steer away from the other sides; adds two rows to each call
    dtype: DType = "auto"  # float16 on CUDA (bfloat16 for Stable Diffusion 3), float32 on a CPU
    compile: bool = aside(True)  # on CUDA: a slower start, faster steps
    vae_batch: Annotated[int, Range(0, 1024)] = aside(0)  # images that the VAE encodes at once; 0 = all


PriorConfig = PocketConfig | MVDreamConfig | StableDiffusionConfig


@dataclass(frozen=True)
class SDSConfig:
    """Score distillation."""

    kind: Literal["sds"] = "sds"
    form: Literal["x0", "epsilon"] = "x0"  # weight sigma / alpha, a pull to x0; or sigma^2, as first published
    guidance_scale: Annotated[float, GUIDANCE] = 2.0  # uncond + s (cond - uncond); 1 means no guidance
    # of form x0: 0 = off, 1 = the guided x0 has the spread of the conditional one
    rescale: Annotated[float, FRACTION] = 0.0


@dataclass(frozen=True)
class CSDConfig:
    """Classifier score distillation."""

    kind: Literal["csd"] = "csd"
    # s (cond - uncond), which is all there is: a weight relative to the regularizers
    guidance_scale: Annotated[float, GUIDANCE] = 7.5


@dataclass(frozen=True)
class NFSDConfig:
    """Noise-free score distillation; needs a negative prompt that describes bad images."""

    kind: Literal["nfsd"] = "nfsd"
    guidance_scale: Annotated[float, GUIDANCE] = 7.5  # null + s (cond - null), where null is the empty prompt
    # fraction of T above which the negative prompt represents out-of-domain images
    t_switch: Annotated[float, FRACTION] = 0.2


@dataclass(frozen=True)
class ISMConfig:
    """Interval score matching."""

    kind: Literal["ism"] = "ism"
    guidance_scale: Annotated[float, GUIDANCE] = 7.5  # uncond + s (cond - uncond); 1 means no guidance
    delta_s: Annotated[float, UP_TO_ONE] = 0.2  # fraction of T that a step of the inversion spans
    delta_t: Annotated[float, UP_TO_ONE] = 0.05  # fraction of T between the two predictions that are compared


@dataclass(frozen=True)
class SDIConfig:
    """Score distillation via inversion."""

    kind: Literal["sdi"] = "sdi"
    # cond + s (cond - uncond) in the authors' code, with 7.5 and -7.5: one more here
    guidance_scale: Annotated[float, GUIDANCE] = 8.5  # uncond + s (cond - uncond); 1 means no guidance
    inversion_guidance_scale: Annotated[float, Range(-1000, 1000)] = -6.5  # the same, during the inversion
    # from the render to T; proportionally fewer to a lower noise level
    inversion_steps: Annotated[int, Range(1, 1000)] = 10
    eta: Annotated[float, FRACTION] = 0.3  # of the noise of stochastic DDIM, added during the inversion; 0 = none


@dataclass(frozen=True)
class SDEditConfig:
    """SDEdit: the target is an image that the prior samples in several steps from the noised render."""

    kind: Literal["sdedit"] = "sdedit"
    guidance_scale: Annotated[float, GUIDANCE] = 5.0  # uncond + s (cond - uncond); 1 means no guidance
    steps: Annotated[int, Range(1, 1000)] = 8  # of DDIM from the noise level to the picture: as many prior calls


@dataclass(frozen=True)
class VSDConfig:
    """Variational score distillation: a copy of the prior learns what the renders look like."""

    kind: Literal["vsd"] = "vsd"
    guidance_scale: Annotated[float, GUIDANCE] = 7.5  # uncond + s (cond - uncond); 1 means no guidance
    rank: Annotated[int, Range(1, 256)] = 16  # of the copy's low-rank corrections (LoRA)
    lr: Annotated[float, UP_TO_ONE] = 1e-4  # of the corrections
    train_steps: Annotated[int, Range(1, 100)] = 1  # of the copy, for each prior call


EstimatorConfig = SDSConfig | CSDConfig | NFSDConfig | ISMConfig | SDIConfig | SDEditConfig | VSDConfig


@dataclass(frozen=True)
class CameraConfig:
    """The cameras of the training views."""

    elevation_deg: Annotated[tuple[float, float], Range(-90, 90)] = (-20.0, 60.0)
    distance: Annotated[tuple[float, float], Range(0.1, 100)] = (2.7, 2.7)
    # mvdream: half of them the asin of uniform numbers, so lower, as its authors sample them
    elevations: Literal["uniform", "mvdream"] = "uniform"
    zoom: bool = False  # distance is in units of 1 / tan(fov / 2): the object looks as large at every fov
    fov_deg: Annotated[tuple[float, float], Range(1, 120)] = (40.0, 40.0)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the regularizers; the distillation loss itself has weight 1."""

    sparsity: Annotated[float, NON_NEGATIVE] = 0.0  # mean sqrt(alpha^2 + 0.01)
    opaque: Annotated[float, NON_NEGATIVE] = 0.0  # binary entropy of alpha: visible means solid
    scales: Annotated[float, NON_NEGATIVE] = 0.0  # mean splat scale


@dataclass(frozen=True)
class StageConfig:
    """One stage of the optimization with its own resolution, noise levels and losses."""

    name: str = "shape"
    steps: Annotated[int, Range(1, 10_000_000)] = 200  # optimizer steps
    prior_every: Annotated[int, Range(1, 1000)] = 4  # optimizer steps that reuse one prior call
    prior: PriorConfig | None = None  # None: the prior of the run
    num_orbits: Annotated[int, Range(1, 64)] = 1  # orbits a step; each has as many views as the prior
    resolution: Annotated[int, PIXELS] = 64  # pixels of the rendered views
    trains: Literal["all", "colors"] = "all"  # colors: the shape is frozen
    t_min: Annotated[Ramp, FRACTION] = Ramp(0.98, 0.8)  # fractions of T
    t_max: Annotated[Ramp, FRACTION] = Ramp(1.0, 0.95)
    estimator: EstimatorConfig = field(default_factory=SDSConfig)
    cameras: CameraConfig = field(default_factory=CameraConfig)
    loss: LossConfig = LossConfig(sparsity=10.0)


# Targets are means over all interpretations of the text: they give coarse shape and color.
SHAPE = StageConfig()
# Then targets are complete images; each starts from the previous result, with less noise every time.
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
# A mesh has one color at each point and a hard edge; soft layers of splats have neither. Hardened earlier, haze would
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

    grid: Annotated[int, Range(16, 1024)] = 128  # samples along the longest side of the density grid
    faces: Annotated[int, Range(100, 1_000_000)] = 20000
    texture_size: Annotated[int, Range(16, 8192, multiple=16)] = 1024  # texels
    bake_views: Annotated[int, Range(4, 512)] = 32
    bake_resolution: Annotated[int, Range(16, 2048, multiple=16)] = 256  # pixels


@dataclass(frozen=True)
class PreviewConfig:
    """The preview images of a finished run."""

    resolution: Annotated[int, PIXELS] = 384  # pixels
    frames: Annotated[int, Range(2, 1000)] = 72  # of the turntable


@dataclass(frozen=True)
class CheckpointConfig:
    """When the state of a run is saved."""

    every_steps: Annotated[int, COUNT] = 200
    every_seconds: Annotated[float, POSITIVE] = 30.0
    keep: Annotated[int, Range(2, 1000)] = 2  # one stays valid while the next is being saved


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on."""

    prompt: str = ""
    negative_prompt: str = ""
    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    device: Device = aside("auto")
    out: str = aside("outputs")  # the folder that holds the run folders
    representation: GaussiansConfig = field(default_factory=GaussiansConfig)
    renderer: RendererConfig = field(default_factory=RendererConfig)
    prior: PriorConfig = field(default_factory=PocketConfig)
    capture: bool = True  # with our CUDA kernels: record steps as CUDA graphs
    stages: tuple[StageConfig, ...] = (SHAPE, DETAIL, CRISP)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    preview: PreviewConfig = field(default_factory=PreviewConfig)
    checkpoint: CheckpointConfig = aside(CheckpointConfig())

    def prior_of(self, stage: StageConfig) -> PriorConfig:
        """The prior that `stage` uses."""
        return stage.prior or self.prior
