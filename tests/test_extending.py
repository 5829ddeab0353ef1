"""A representation, a prior, an estimator and an exporter from outside the package go through the real pipeline.

They implement the protocols of sds3d.interfaces and know nothing else of the loop. The scene is a soft ball, and the
prior is certain that every picture shows a red ball of radius 0.5: this is what has to come out.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import trimesh
from torch import Generator, Tensor

from sds3d import pipeline
from sds3d.adam import Adam
from sds3d.cameras import Cameras
from sds3d.config.schema import CheckpointConfig, Config, LossConfig, MeshConfig, PreviewConfig, StageConfig
from sds3d.interfaces import Condition, Estimator, Prior, Render, Scene, TexturedMesh
from sds3d.mesh.exporters.glb import read_glb
from sds3d.optimization import loop, step
from sds3d.priors.cache import Priors
from sds3d.runs.folder import RunFolder
from tests.helpers.observer import RecordingObserver, never

SHARPNESS = 20.0  # of the ball's edge, 1 / world units
RADIUS, COLOR = 0.5, (0.8, 0.1, 0.1)
CPU = torch.device("cpu")
CONFIG = Config(
    prompt="a red ball",
    device="cpu",
    stages=(StageConfig(steps=120, prior_every=4, resolution=32, loss=LossConfig()),),
    mesh=MeshConfig(grid=48, faces=1000, texture_size=64, bake_views=8, bake_resolution=64),
    preview=PreviewConfig(resolution=32, frames=2),
    checkpoint=CheckpointConfig(every_steps=40),
)


def draw_ball(radius: Tensor, color: Tensor, cameras: Cameras, backgrounds: Tensor) -> Render:
    """A soft ball at the origin in closed form: alpha depends on the distance of the ray from its center."""
    columns, rows = torch.arange(cameras.width) + 0.5, torch.arange(cameras.height) + 0.5
    x = (columns - cameras.Ks[:, 0, 2, None]) / cameras.Ks[:, 0, 0, None]
    y = (rows - cameras.Ks[:, 1, 2, None]) / cameras.Ks[:, 1, 1, None]
    x, y = torch.broadcast_tensors(x[:, None, :], y[:, :, None])
    rays = torch.nn.functional.normalize(torch.stack([x, y, torch.ones_like(x)], -1), dim=-1)  # [C, H, W, 3]
    center = cameras.viewmats[:, None, None, :3, 3]  # in camera axes
    along = (rays * center).sum(-1, keepdim=True)
    from_center = (center.square().sum(-1, keepdim=True) - along.square()).clamp_min(0).sqrt()
    alphas = torch.sigmoid(SHARPNESS * (radius - from_center))
    inside = (radius.square() - from_center.square()).clamp_min(1e-6).sqrt()
    colors = alphas * color + (1 - alphas) * backgrounds[:, None, None]
    return Render(colors, alphas, (along - inside) * rays[..., 2:])


class BallScene:
    """A Scene of one ball."""

    device = CPU

    def __init__(self) -> None:
        self.radius = torch.full((1,), 0.3, requires_grad=True)
        self.color = torch.full((3,), 0.5, requires_grad=True)
        self.updates = 0

    def tensors(self) -> dict[str, Tensor]:
        return {"radius": self.radius, "color": self.color}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        with torch.no_grad():
            self.radius.copy_(tensors["radius"])
            self.color.copy_(tensors["color"])

    def render(self, cameras: Cameras, backgrounds: Tensor) -> Render:
        return draw_ball(self.radius, self.color, cameras, backgrounds)

    render_surface = render

    def density(self, points: Tensor) -> Tensor:
        return 4 * torch.sigmoid(SHARPNESS * (self.radius - points.norm(dim=-1)))

    def param_groups(self, trains: str, progress: float) -> list[dict[str, Any]]:
        rate = 0.02 * (1 - progress)
        return [
            {"name": "radius", "params": [self.radius], "lr": rate if trains == "all" else 0.0},
            {"name": "color", "params": [self.color], "lr": rate},
        ]

    def regularization(self, cfg: LossConfig) -> Tensor:
        return self.radius.new_zeros(())

    def update(self, step: int, optimizer: Adam, render: Render) -> None:
        self.updates += 1

    def is_finite(self) -> Tensor:
        return self.radius.isfinite().all() & self.color.isfinite().all()

    def files(self) -> dict[str, bytes]:
        return {"ball.json": json.dumps({"radius": self.radius.item(), "color": self.color.tolist()}).encode()}

    def size(self) -> dict[str, int]:
        return {"balls": 1}


class BallPrior:
    """A Prior whose data are pictures of one ball; everything else is noise."""

    num_views, resolution, pixel_latents, normals = 4, 32, True, False
    alphas_cumprod = torch.linspace(0.999, 0.001, 1000)

    def encode_prompt(self, prompt: str, negative: bool = False) -> Tensor:
        return torch.zeros(1)

    def encode_images(self, images: Tensor) -> Tensor:
        return 2 * images - 1

    def decode_latents(self, latents: Tensor) -> Tensor:
        return latents / 2 + 0.5

    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, texts: Sequence[Tensor], cameras: Cameras, backgrounds: Tensor
    ) -> list[Tensor]:
        assert noisy.shape[-2:] == (cameras.height, cameras.width)
        wanted = draw_ball(torch.tensor([RADIUS]), torch.tensor(COLOR), cameras, backgrounds).colors
        alpha, sigma = noise_level(self, timesteps)
        return [(noisy - alpha * (2 * wanted.permute(0, 3, 1, 2) - 1)) / sigma for _ in texts]


def noise_level(prior: Prior, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    abar = prior.alphas_cumprod[timesteps][:, None, None, None]
    return abar.sqrt(), (1 - abar).sqrt()


class CountingPull:
    """An Estimator with a state: latents - x0, and a count of its calls."""

    def __init__(self) -> None:
        self.calls = torch.zeros(1)

    def __call__(
        self, prior: Prior, latents: Tensor, timesteps: Tensor, condition: Condition, generator: Generator
    ) -> Tensor:
        self.calls += 1
        alpha, sigma = noise_level(prior, timesteps)
        noisy = alpha * latents + sigma * torch.randn(latents.shape, generator=generator)
        texts = [condition.prompts.positive]
        (predicted,) = prior.predict_noise(noisy, timesteps, texts, condition.cameras, condition.backgrounds)
        return latents - (noisy - sigma * predicted) / alpha

    def tensors(self) -> dict[str, Tensor]:
        return {"calls": self.calls}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self.calls.copy_(tensors["calls"])


class OnePrior(Priors):
    """Uses this prior, whatever the config names."""

    def __init__(self, prior: Prior) -> None:
        super().__init__(CPU)
        self.prior = prior

    def get(self, cfg: object) -> Prior:
        assert self.prior is not None
        return self.prior

    def holds(self, cfg: object) -> bool:
        return True


def write_off(mesh: TexturedMesh, path: Path) -> None:
    """An exporter: the Object File Format."""
    lines = ["OFF", f"{len(mesh.vertices)} {len(mesh.faces)} 0"]
    lines += [" ".join(f"{x:.6f}" for x in vertex) for vertex in mesh.vertices.tolist()]
    lines += [f"3 {a} {b} {c}" for a, b, c in mesh.faces.tolist()]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(autouse=True, scope="module")
def estimators() -> Iterator[list[CountingPull]]:
    """All estimators that the loop builds; its scenes are balls."""
    built: list[CountingPull] = []

    def build_estimator(cfg: object) -> Estimator:
        built.append(CountingPull())
        return built[-1]

    def build_scene(cfg: Config, generator: Generator, device: torch.device) -> Scene:
        return BallScene()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(step, "build_estimator", build_estimator)
        patched.setattr(loop, "build_scene", build_scene)
        yield built


def make(folder: Path, stop: Callable[[], bool] = never) -> tuple[RunFolder, dict[str, Any] | None]:
    cfg = replace(CONFIG, out=str(folder))
    run = RunFolder.create(cfg)
    return run, pipeline.make_asset(cfg, run, OnePrior(BallPrior()), RecordingObserver(), stop)


@pytest.fixture(scope="module")
def made(estimators: list[CountingPull], tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Any]]:
    run, report = make(tmp_path_factory.mktemp("whole"))
    assert report is not None
    return run, report


def test_the_result_is_the_ball_of_the_prior(made, estimators: list[CountingPull]) -> None:
    run, report = made
    assert report["balls"] == 1
    assert {"ball.json", "mesh.glb", "preview.png", "turntable.mp4"} == set(report["outputs"])
    ball = json.loads((run.path / "ball.json").read_bytes())
    assert ball["radius"] == pytest.approx(RADIUS, abs=0.01)
    assert ball["color"] == pytest.approx(COLOR, abs=0.02)
    assert estimators[0].calls.item() == CONFIG.stages[0].steps / CONFIG.stages[0].prior_every


def test_its_mesh_is_that_ball_and_can_be_exported(made, tmp_path: Path) -> None:
    run, _ = made
    mesh = read_glb(run.path / "mesh.glb")
    assert mesh.vertices.norm(dim=-1).sub(RADIUS).abs().max() < 0.1
    assert mesh.texture.mean((0, 1)).tolist() == pytest.approx(COLOR, abs=0.05)
    write_off(mesh, tmp_path / "ball.off")
    read = trimesh.load_mesh(tmp_path / "ball.off", process=False)
    assert len(read.faces) == len(mesh.faces)
    assert torch.from_numpy(read.vertices).float().sub(mesh.vertices).abs().max() < 1e-5


def test_a_resumed_run_gives_the_same_result(made, estimators: list[CountingPull], tmp_path: Path) -> None:
    blocks = iter(range(10**6))
    run, report = make(tmp_path, stop=lambda: next(blocks) == 11)
    assert report is None and run.load_latest() is not None
    resumed, report = make(tmp_path)
    assert report is not None
    assert (resumed.path / "ball.json").read_bytes() == (made[0].path / "ball.json").read_bytes()
    assert estimators[-1].calls.item() == estimators[0].calls.item()
