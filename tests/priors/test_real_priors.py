"""Tiny versions of downloadable models, from the command line to the files of a run."""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import trimesh
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from sds3d.cameras import turntable
from sds3d.cli.main import main
from sds3d.cli.progress import LineProgress
from sds3d.config.load import load_config
from sds3d.config.schema import Config, MVDreamConfig, PriorConfig
from sds3d.interfaces import Prior
from sds3d.native import cpu as native
from sds3d.priors import build_prior, stable_diffusion
from sds3d.priors.kinds import find_priors, prior_ids
from sds3d.priors.mvdream import prior as mvdream
from sds3d.priors.weights import Found
from sds3d.runs.folder import RunFolder
from tests.helpers.observer import optimize_alone
from tests.helpers.tiny_diffusers import write_tiny_sd
from tests.helpers.tiny_mvdream import make_tiny_mvdream, write_layout

OUTPUTS = ("mesh.glb", "splats.ply", "turntable.mp4", "preview.png")
CPU = torch.device("cpu")
PROMPT = "a red cat"
# Priors of random weights ask for noise: steps are short, so that a surface is left to mesh.
SETTINGS = [
    "device=cpu", "representation.num_init=200", "representation.init_opacity=0.9", "representation.lr_scales=0.001",
    "representation.lr_means.start=0.0005", "representation.lr_means.end=0.0005", "representation.lr_opacities=0.001",
    "mesh.grid=32", "mesh.faces=400", "mesh.texture_size=128", "mesh.bake_views=8", "mesh.bake_resolution=64",
    "preview.resolution=32", "preview.frames=2", "checkpoint.every_steps=1", "checkpoint.keep=100",
]  # fmt: skip
ONE_STAGE = "stages=[{name: only, steps: 4, prior_every: 2, resolution: 32}]"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Paths: `original`, a checkpoint of MVDream; `mvdream`, the same model for smaller images; `sd`, single views."""
    root = tmp_path_factory.mktemp("models")
    tiny = make_tiny_mvdream("sd2")
    mvdream = write_layout(tiny, "community", root / "community")
    config = json.loads((mvdream / "unet" / "config.json").read_text())
    (mvdream / "unet" / "config.json").write_text(json.dumps(config | {"image_size": 8}))
    return SimpleNamespace(
        original=write_layout(tiny, "pt", root / "original"), mvdream=mvdream, sd=write_tiny_sd(root / "sd")
    )


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native.load_library()  # before its cache is another one
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def command(prior: Path, out: Path, *settings: str) -> list[str]:
    """`sds3d generate` of a short run."""
    return ["generate", PROMPT, "--prior", str(prior), f"out={out}", *SETTINGS, ONE_STAGE, *settings]


def only_run(out: Path) -> Path:
    """The one run folder in `out`."""
    (path,) = out.iterdir()
    return path


def read_metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def read_steps(run: Path) -> dict[int, dict[str, Tensor]]:
    """The tensors of each checkpoint by its step, in order."""
    paths = sorted((run / "checkpoints").iterdir())
    return {int(path.name.removeprefix("step-")): load_file(path / "tensors.safetensors") for path in paths}


def fails(capsys: pytest.CaptureFixture, *argv: str) -> str:
    """The one line on stderr of a command that exits with 2."""
    assert main(list(argv)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


# From a prompt to files


@pytest.mark.parametrize("name", ["original", "sd"])
def test_a_prompt_becomes_an_asset(name, models, tmp_path, capsys):
    path = getattr(models, name)
    assert main(command(path, tmp_path / "out")) == 0
    run = only_run(tmp_path / "out")
    opened, cfg = RunFolder.open(run, prior_ids)
    assert opened.finished and cfg.prior.path == str(path)
    report = json.loads((run / "report.json").read_text())
    assert set(report["priors"].values()) == {find_priors(cfg)[cfg.prior].id}
    assert report["gaussians"] == 200 and report["watertight"]
    metrics = read_metrics(run)
    assert [line["step"] for line in metrics] == [2, 4] and all(np.isfinite(line["loss"]) for line in metrics)
    mesh = trimesh.load(run / "mesh.glb", force="mesh")
    assert len(mesh.faces) == report["faces"] and mesh.visual.material.baseColorTexture.size == (128, 128)
    assert Image.open(run / "preview.png").size == (3 * 32, 2 * 32)
    assert all((run / file).stat().st_size for file in OUTPUTS)
    capsys.readouterr()
    assert main(command(path, tmp_path / "out")) == 0  # the same again
    assert capsys.readouterr().out.startswith(f"already finished: {run}\n")


@pytest.mark.slow
def test_a_converted_model_gives_the_same_asset_at_any_location(models, tmp_path, capsys):
    converted = tmp_path / "converted"
    assert main(["prior", "convert", str(models.mvdream), str(converted), "--dtype", "float32"]) == 0
    for path, out in ((models.mvdream, "before"), (converted, "after")):
        assert main(command(path, tmp_path / out)) == 0
    before, after = only_run(tmp_path / "before"), only_run(tmp_path / "after")
    first, last = (read_steps(run)[4] for run in (before, after))
    for name in [name for name in first if name.startswith("scene.")]:
        # weights of other files lie at other addresses, so that sums are in another order; steps of Adam are as long as
        # the learning rate, 5e-4 or more, whichever way the smallest gradients point
        assert ((first[name] - last[name]).abs() < 1e-5).float().mean() > 0.99
    moved = converted.rename(tmp_path / "elsewhere")
    capsys.readouterr()
    assert main(command(moved, tmp_path / "after")) == 0
    assert capsys.readouterr().out.startswith(f"already finished: {after}\n")


def test_a_converted_model_encodes_and_predicts_the_same(models, tmp_path):
    converted = tmp_path / "converted"
    assert main(["prior", "convert", str(models.original), str(converted), "--dtype", "float32"]) == 0
    priors = [build_prior(MVDreamConfig(path=str(path)), CPU) for path in (models.original, converted)]
    texts = [[prior.encode_prompt(text) for text in (PROMPT, "")] for prior in priors]
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    latents = [prior.encode_images(images) for prior in priors]
    timesteps, views = torch.full((4,), 700), turntable(4, 64)
    noise = [
        torch.stack(prior.predict_noise(latents[0], timesteps, read, views, torch.zeros(4, 3)))
        for prior, read in zip(priors, texts, strict=True)
    ]
    assert noise[0].std() > 0.1 and not torch.equal(*texts[0])
    for pair in (*zip(*texts, strict=True), latents, noise):
        # the same float32 sums in another order: 100 times the spacing of float32 at 1
        torch.testing.assert_close(*pair, rtol=0, atol=1e-5)


# Stages with priors of their own


def two_stages(models: SimpleNamespace) -> str:
    """Shape by several views at once, texture by single views."""
    common = "prior_every: 2, resolution: 32, estimator: {guidance_scale: 20}"
    texture = f"{{kind: stable-diffusion, path: '{models.sd}', perp_neg: true}}"
    return (
        f"stages=[{{name: shape, steps: 6, {common}}}, {{name: texture, steps: 4, {common}, num_orbits: 2, "
        f"trains: colors, prior: {texture}}}]"
    )


def vsd_stages(models: SimpleNamespace) -> str:
    """Two stages with VSD, each with another prior, and a third that starts VSD again with the second prior."""
    common = "prior_every: 1, resolution: 32, estimator: {kind: vsd, rank: 2, lr: 0.01}"
    single = f"{{kind: stable-diffusion, path: '{models.sd}', perp_neg: true}}"
    return (
        f"stages=[{{name: a, steps: 2, {common}}}, {{name: b, steps: 2, {common}, prior: {single}}}, "
        f"{{name: c, steps: 2, {common}, prior: {single}}}]"
    )


def config_of(models: SimpleNamespace, stages: str, out: Path) -> Config:
    """A run with the multi-view prior and densification in every other step."""
    path = ["prior.kind=mvdream", f"prior.path={models.mvdream}", f"out={out}"]
    growth = ["representation.densify_every=2", "representation.densify_until=1"]
    return load_config(None, [*SETTINGS, *path, *growth, "representation.num_init=60", stages], PROMPT)


def optimize(cfg: Config, stop: Callable[[int], bool] = lambda step: False) -> tuple[Path, bool]:
    """Runs from the newest checkpoint; returns the run folder and whether it is finished. `stop` receives the step."""
    run, progress = RunFolder.create(cfg), LineProgress(io.StringIO())
    return run.path, optimize_alone(cfg, run, progress, lambda: stop(progress.step)).finished


def assert_same_run(run: Path, other: Path) -> None:
    """Asserts that both results are equal bit for bit."""
    assert read_metrics(run) == read_metrics(other)
    last, expected = (list(read_steps(path).values())[-1] for path in (run, other))
    assert last.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(last[name], tensor), name


def test_a_texture_stage_does_not_change_the_shape(models, tmp_path):
    run, finished = optimize(config_of(models, two_stages(models), tmp_path / "out"))
    steps = read_steps(run)
    shape, texture = steps[6], steps[10]
    assert finished and len(shape["scene.means"]) > 60  # it grew, and would again: densify_every is 2
    for name in ("means", "quats", "log_scales", "logit_opacities"):
        assert torch.equal(texture[f"scene.{name}"], shape[f"scene.{name}"])
        moments = [x[f"adam.{name}.exp_avg"] for x in (shape, texture)]
        assert not torch.equal(*moments)  # there was a way to go
    moved = (texture["scene.logit_colors"] - shape["scene.logit_colors"]).abs().amax(1) > 0
    assert moved.float().mean() > 0.5  # some are hidden


@pytest.mark.parametrize("step", [4, 6, 8])
def test_a_resumed_run_of_two_priors_gives_the_same_result(step, models, tmp_path):
    """Stops in the first stage, between the two, and in the second."""
    straight, _ = optimize(config_of(models, two_stages(models), tmp_path / "straight"))
    cfg = config_of(models, two_stages(models), tmp_path / "stopped")
    run, finished = optimize(cfg, lambda reached: reached >= step)
    assert not finished and max(read_steps(run)) == step
    assert optimize(cfg) == (run, True)
    assert_same_run(run, straight)


@pytest.mark.parametrize("stages", [two_stages, vsd_stages])
def test_a_prior_is_freed_before_the_next_is_loaded(stages, models, tmp_path, monkeypatch):
    alive: list[weakref.ref] = []
    left: list[int] = []

    def build(cfg: PriorConfig, device: torch.device, found: Found | None) -> Prior:
        left.append(sum(ref() is not None for ref in alive))
        prior = build_prior(cfg, device, found)
        alive.extend(weakref.ref(x) for x in (prior, prior.network, prior.vae.model))
        return prior

    monkeypatch.setattr("sds3d.priors.cache.build_prior", build)
    gc.collect()
    gc.disable()  # as while a prior is loaded: what waits for the collector would be there beside the next prior
    try:
        optimize(config_of(models, stages(models), tmp_path / "out"))
    finally:
        gc.enable()
    assert left == [0, 0]


def test_the_state_of_vsd_survives_a_stop_after_each_block(models, tmp_path):
    straight, _ = optimize(config_of(models, vsd_stages(models), tmp_path / "straight"))
    cfg = config_of(models, vsd_stages(models), tmp_path / "stopped")
    finished = [optimize(cfg, lambda step: True)[1] for _ in range(6)]
    assert finished == [False] * 5 + [True]
    steps = read_steps(only_run(tmp_path / "stopped"))
    for step in range(1, 7):
        learnt = {name: x for name, x in steps[step].items() if name.startswith("estimator.")}
        assert {name.split(".")[2] for name in learnt} >= {"value", "exp_avg", "exp_avg_sq"}
        assert any(x.any() for name, x in learnt.items() if name.endswith("1.value"))  # a correction, 0 at first
    assert_same_run(only_run(tmp_path / "stopped"), straight)


@pytest.mark.slow
def test_a_run_killed_between_two_priors_can_be_resumed(models, tmp_path):
    """The command line: generate, SIGKILL in the second stage, resume."""

    def start(*argv: str) -> subprocess.Popen:
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([sys.executable, "-m", "sds3d", *argv], env=environment, **pipes)

    outs = tmp_path / "straight", tmp_path / "killed"
    straight, killed = (start(*command(models.mvdream, out, two_stages(models))) for out in outs)
    for line in killed.stdout:
        if line == "stage texture\n":
            killed.send_signal(signal.SIGKILL)
    assert killed.wait(60) == -signal.SIGKILL
    output, _ = straight.communicate(timeout=120)
    assert straight.returncode == 0, output
    runs = [only_run(out) for out in outs]
    assert not (runs[1] / "report.json").exists()
    resumed = start("resume", str(runs[1]))
    output, _ = resumed.communicate(timeout=120)
    assert resumed.returncode == 0 and "continuing from step 6 of 10" in output, output
    assert_same_run(runs[1], runs[0])
    assert all((runs[1] / name).is_file() for name in OUTPUTS)


# Beside a run


@pytest.mark.parametrize(("name", "size"), [("mvdream", (4 * 16, 16)), ("sd", (32, 32))])
def test_a_preview_shows_samples_of_the_prior(name, size, models, tmp_path, capsys):
    pictures = []
    for seed in ("0", "1"):
        out = tmp_path / f"{seed}.png"
        prior = ["--prior", str(getattr(models, name))]
        assert main(["prior", "preview", PROMPT, *prior, "--out", str(out), "--seed", seed]) == 0
        assert capsys.readouterr().out == f"{out}\n"
        pictures.append(np.asarray(Image.open(out)))
    assert pictures[0].shape == (size[1], size[0], 3) and pictures[0].std() > 1
    assert not np.array_equal(*pictures)


@pytest.mark.parametrize("name", ["original", "mvdream", "sd"])
def test_an_estimate_reports_that_the_run_fits(name, models, capsys):
    assert main(["estimate", "--prior", str(getattr(models, name)), "--gpu-gib", "80"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == f"prior.path: {getattr(models, name)}" and lines[-1].startswith("fits: ")


def test_missing_priors_are_reported_before_the_run_folder_is_created(models, tmp_path, capsys):
    out = tmp_path / "out"
    for verb in (["generate", "x", f"out={out}"], ["prior", "preview", "x"], ["estimate"]):
        error = fails(capsys, *verb, "--prior", str(tmp_path / "model.pt"))
        assert "no such file or folder, and no known model" in error
    alone = tmp_path / "alone.pt"
    alone.symlink_to(models.original)
    assert "needs the tokenizer of CLIP, which is not installed" in fails(capsys, *command(alone, out))
    lost = two_stages(models).replace(str(models.sd), "nowhere")
    assert "stages.1.prior.path: " in fails(capsys, *command(models.mvdream, out, lost))
    assert not out.exists()


# Texts


def test_texts_are_encoded_once_for_all_runs(models, tmp_path, monkeypatch):
    """A run of two priors; a second run does not load their text encoders; a third run finds a damaged cache."""
    loaders = [(mvdream, "load_text_encoder"), (stable_diffusion, "load_sd_encoder")]
    spies = [Mock(wraps=getattr(module, name)) for module, name in loaders]
    for (module, name), spy in zip(loaders, spies, strict=True):
        monkeypatch.setattr(module, name, spy)
    runs = []
    for number, harm in enumerate((None, None, lambda path: os.truncate(path, path.stat().st_size - 1))):
        files = {path: path.read_bytes() for path in (tmp_path / "cache").rglob("*.safetensors")}
        for path in files if harm else ():
            harm(path)
        run, _ = optimize(config_of(models, two_stages(models), tmp_path / str(number)))
        runs.append(run)
        assert [spy.call_count for spy in spies] == [[1, 1], [1, 1], [2, 2]][number]
        assert all(path.read_bytes() == content for path, content in files.items())
    assert len(files) == 2 + 4 + 1  # prompt and nothing for one prior; four sides and nothing, to keep away, for both
    for run in runs[1:]:
        assert_same_run(run, runs[0])


# On a GPU


@pytest.mark.cuda
@pytest.mark.network
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
@pytest.mark.parametrize("options", ["compile: false", "compile: false, vae_batch: 2", "compile: true"])
def test_two_priors_alternate_on_a_gpu(models, tmp_path, options):
    """The loop runs with both, recorded or not, with finite results and one prior in memory at a time."""
    stages = (
        "stages=[{name: shape, steps: 8, prior_every: 2, resolution: 32}, "
        "{name: texture, steps: 8, prior_every: 2, resolution: 32, num_orbits: 4, trains: colors, "
        f"prior: {{kind: stable-diffusion, path: {models.sd}, perp_neg: true, {options}}}}}]"
    )
    settings = [x for x in SETTINGS if not x.startswith("device")] + ["device=cuda", stages]
    prior = f"prior={{kind: mvdream, path: {models.mvdream}, {options}}}"
    losses = []
    for capture in ("true", "false"):
        out = f"out={tmp_path / capture}"
        cfg = load_config(None, [*settings, prior, out, f"capture={capture}", "renderer.deterministic=true"], PROMPT)
        run = RunFolder.create(cfg)
        result = optimize_alone(cfg, run, LineProgress(io.StringIO()))
        assert result.finished and result.guard.skipped == 0
        losses.append([row["loss"] for row in read_metrics(run.path)])
    # half precision in networks that amplify nothing; the noise is the same
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.05)
