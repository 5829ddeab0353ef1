"""Steps recorded as CUDA graphs, compared with the same steps in eager mode."""

import math
from dataclasses import replace

import pytest
import torch

from sds3d.adam import Adam
from sds3d.cameras import turntable
from sds3d.config.schema import (
    Config,
    CSDConfig,
    GaussiansConfig,
    ISMConfig,
    LossConfig,
    NFSDConfig,
    RendererConfig,
    SDEditConfig,
    SDIConfig,
    SDSConfig,
    StageConfig,
)
from sds3d.native.devices import resolve_device
from sds3d.optimization.inputs import blocks, sample_inputs, step_generator
from sds3d.optimization.loop import optimize
from sds3d.optimization.recorded import RecordedSteps
from sds3d.optimization.step import Steps
from sds3d.priors.cache import Priors
from sds3d.priors.pocket.prior import PocketPrior
from sds3d.renderers import splat_cuda
from sds3d.renderers.scenes import build_scene
from sds3d.runs.folder import RunFolder
from tests.helpers.gaussian_prior import GaussianPrior
from tests.helpers.observer import RecordingObserver, optimize_alone
from tests.helpers.tiny_prior import write_tiny_prior

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
DEVICE = torch.device("cuda")
STAGES = (
    StageConfig(name="shape", steps=22, prior_every=4, resolution=32, estimator=SDSConfig()),
    StageConfig(
        name="crisp", steps=10, prior_every=3, resolution=48, estimator=SDSConfig(guidance_scale=3.0),
        loss=LossConfig(sparsity=10.0, opaque=200.0, scales=100.0),
    ),
)  # fmt: skip
CONFIG = Config(
    prompt="a red mushroom",
    negative_prompt="blurry",
    representation=GaussiansConfig(num_init=200, max_gaussians=300, densify_every=6, init_radius=0.9),
    renderer=RendererConfig(deterministic=True),
    stages=STAGES,
)
# Scenes are compared with a fixed number of splats: the thresholds of densification turn rounding into other splats.
FIXED_NUMBER = replace(CONFIG, representation=replace(CONFIG.representation, densify_every=1000))
DENSIFIED_ONCE = replace(CONFIG, stages=(replace(STAGES[0], steps=8),))  # and before rounding has grown


def optimize_with(kind, prior, cfg=CONFIG):
    """The scene after the steps of `cfg`, their losses, and the object that took them."""
    scene = build_scene(cfg, step_generator(0, "init", 0), DEVICE)
    optimizer = Adam(scene.param_groups("all", 0.0), betas=(0.9, 0.99), eps=1e-15)
    steps = kind(cfg, scene, prior, optimizer)
    losses = []
    for block in blocks(cfg.stages, 0):
        stage = cfg.stages[block.stage_index]
        steps.start(stage, block, sample_inputs(0, stage, block, prior, DEVICE))
        outcome = steps.finish()
        assert outcome.scene_is_finite
        losses.append(outcome.loss)
    return scene, losses, steps


def distance(a, b):
    """The distance of the views of two scenes, relative to their distance from those of the initial scene.

    Views, not tensors: a rotation of a round splat changes nothing, and Adam makes steps of its rounding error.
    """
    assert a.size() == b.size()
    scenes = a, b, build_scene(CONFIG, step_generator(0, "init", 0), DEVICE)
    backgrounds = torch.full((8, 3), 0.5, device=DEVICE)
    with torch.no_grad():
        x, y, start = (scene.render(turntable(8, 48).to(DEVICE), backgrounds).colors for scene in scenes)
    return ((x - y).norm() / (x - start).norm()).item()


class PriorOnGpu(GaussianPrior):
    def __init__(self, pixel_latents=False):
        super().__init__(0.5, pixel_latents=pixel_latents)
        self.alphas_cumprod = self.alphas_cumprod.cuda()
        words = ("a red mushroom", "blurry", "")
        self.texts = {words[k]: torch.tensor(0.3 - 0.2 * k).cuda() for k in range(3)}

    def encode_prompt(self, prompt, negative=False):
        return self.texts[prompt]


# Measured on a CPU between two rasterizers that differ by rounding: at most 0.001. With one step of 32 omitted: at
# least 0.018. Between the classic and the antialiased mode: 0.0046.
CLOSE = 0.003


@pytest.mark.parametrize("cfg", [FIXED_NUMBER, DENSIFIED_ONCE], ids=["fixed number", "densified"])
@pytest.mark.parametrize(
    "estimator", [SDSConfig(), CSDConfig(), NFSDConfig(), SDEditConfig(steps=3)], ids=lambda cfg: cfg.kind
)
def test_recorded_steps_equal_eager_steps(estimator, cfg):
    cfg = replace(cfg, stages=tuple(replace(stage, estimator=estimator) for stage in cfg.stages))
    one, losses, _ = optimize_with(Steps, PriorOnGpu(pixel_latents=True), cfg)
    other, recorded_losses, steps = optimize_with(RecordedSteps, PriorOnGpu(pixel_latents=True), cfg)
    assert steps.graphs is not None  # they were recorded
    assert distance(one, other) < CLOSE
    torch.testing.assert_close(torch.tensor(recorded_losses), torch.tensor(losses), rtol=0.02, atol=0)


def test_recorded_steps_are_antialiased_like_the_others():
    results = {}
    for mode in ("classic", "antialiased"):
        cfg = replace(FIXED_NUMBER, renderer=RendererConfig(deterministic=True, rasterize_mode=mode))
        results[mode] = [optimize_with(kind, PriorOnGpu(pixel_latents=True), cfg)[0] for kind in (Steps, RecordedSteps)]
    one, other = results["antialiased"]
    assert distance(one, other) < CLOSE
    assert distance(one, results["classic"][0]) > CLOSE  # so the recorded steps cannot have ignored the mode


@pytest.mark.parametrize("estimator", [ISMConfig(), SDIConfig()], ids=lambda cfg: cfg.kind)
def test_estimators_that_cannot_be_recorded_run_eagerly_between_recorded_steps(estimator):
    stages = (replace(STAGES[0], estimator=estimator),)
    cfg = replace(FIXED_NUMBER, stages=stages)
    one, *_ = optimize_with(Steps, PriorOnGpu(pixel_latents=True), cfg)
    other, *_ = optimize_with(RecordedSteps, PriorOnGpu(pixel_latents=True), cfg)
    assert distance(one, other) < CLOSE


def test_steps_with_overflowing_tile_lists_are_repeated(monkeypatch):
    one, *_ = optimize_with(RecordedSteps, PriorOnGpu())
    monkeypatch.setattr(splat_cuda, "HEADROOM", 0.0)
    monkeypatch.setattr(splat_cuda, "SPARE", 40)  # entries: every recorded step overflows
    other, _, steps = optimize_with(RecordedSteps, PriorOnGpu())
    assert steps.overflows > 3
    for name, tensor in one.tensors().items():  # sums have a fixed order, so a repeated step is equal
        assert torch.equal(tensor, other.tensors()[name]), name


class SometimesNonfinite(PriorOnGpu):
    def predict_noise(self, noisy, timesteps, texts, cameras, backgrounds):
        bad = (timesteps % 3 == 0)[:, None, None, None] & (torch.arange(noisy.shape[-1], device="cuda") == 2)
        return [torch.where(bad, torch.nan, x) for x in super().predict_noise(noisy, timesteps, texts, cameras, None)]


def test_nonfinite_targets_change_nothing():
    one, losses, _ = optimize_with(Steps, SometimesNonfinite(), FIXED_NUMBER)
    other, recorded_losses, steps = optimize_with(RecordedSteps, SometimesNonfinite(), FIXED_NUMBER)
    assert steps.overflows == 0 and 0 < sum(map(math.isnan, losses)) < len(losses)
    torch.testing.assert_close(torch.tensor(recorded_losses), torch.tensor(losses), rtol=0.02, atol=0, equal_nan=True)
    assert distance(one, other) < CLOSE


@pytest.mark.network
@pytest.mark.parametrize("normals", [False, True])
def test_the_pocket_prior_is_recorded_with_its_estimator(tmp_path, normals):
    prior = PocketPrior(write_tiny_prior(tmp_path / "prior", normals), DEVICE)
    _, losses, _ = optimize_with(RecordedSteps, prior)
    assert not prior.predict_v.captures  # it is part of the estimator's graph
    _, expected_losses, _ = optimize_with(Steps, prior)
    assert prior.predict_v.captures
    # the network computes in bfloat16, which amplifies rounding errors of the render
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(expected_losses), rtol=0.05, atol=0)


@pytest.mark.network
@pytest.mark.parametrize("capture", [True, False])
def test_deterministic_runs_are_equal_bit_for_bit_and_resume_exactly(tmp_path, capture):
    prior = write_tiny_prior(tmp_path / "prior")
    cfg = replace(CONFIG, device="cuda", capture=capture, prior=replace(CONFIG.prior, path=str(prior)))
    cfg = replace(cfg, checkpoint=replace(cfg.checkpoint, every_steps=1))
    runs = [RunFolder.create(replace(cfg, out=str(tmp_path / name))) for name in ("whole", "again", "stopped")]
    scenes = [optimize_alone(cfg, run, RecordingObserver()).scene for run in runs[:2]]
    stops = iter([False, False, True] + [False] * 100)
    assert not optimize(
        cfg, runs[2], Priors(resolve_device(cfg.device)), RecordingObserver(), lambda: next(stops)
    ).finished
    scenes.append(optimize_alone(cfg, runs[2], RecordingObserver()).scene)
    for scene in scenes[1:]:
        for name, tensor in scenes[0].tensors().items():
            assert torch.equal(tensor, scene.tensors()[name]), name
