"""The loop: render, ask the prior what it would rather see, move the scene towards that."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from sds3d.adam import Adam
from sds3d.cameras import sample_orbits
from sds3d.config import Config, StageConfig
from sds3d.devices import resolve_device
from sds3d.interfaces import Prior, Renderer
from sds3d.loading import no_collection
from sds3d.pictures import png, splat_row
from sds3d.priors import build_prior
from sds3d.renderers import build_renderer, resolve_backend
from sds3d.representations import build_representation
from sds3d.representations.gaussians import NAMES, Gaussians
from sds3d.runs import Checkpoint, RunFolder
from sds3d.steps import Block, Inputs, Steps


class Progress(Protocol):
    """What the loop tells of its way."""

    def start(self, total_steps: int, initial: int) -> None: ...
    def stage(self, name: str) -> None: ...
    def advance(self, step: int, **numbers: float) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass(frozen=True)
class TrainResult:
    """The scene as far as it got."""

    scene: Gaussians
    renderer: Renderer
    finished: bool
    step: int
    seconds: dict[str, float]  # wall time of loading and of each stage, earlier sessions of the run included


def train(cfg: Config, run: RunFolder, progress: Progress, stop: Callable[[], bool]) -> TrainResult:
    """Optimise a scene for `cfg.prompt`, from the newest checkpoint of `run` if it has one.

    When `stop()` becomes true, saves a checkpoint at the end of the current block and returns with finished False.
    """
    started = time.perf_counter()
    device = resolve_device(cfg.device)
    total_steps = sum(stage.steps for stage in cfg.stages)
    checkpoint = run.load_latest()
    for message in checkpoint.messages if checkpoint else ():
        progress.note(message)
    scene = build_representation(cfg.representation, total_steps, step_generator(cfg.seed, "init", 0))
    optimizer = restore(scene, checkpoint, device)
    renderer = build_renderer(cfg.renderer, scene, device)
    with no_collection():
        prior = build_prior(cfg.prior, device)
    steps = build_steps(cfg, scene, renderer, prior, optimizer)
    seconds = dict(checkpoint.state["seconds"]) if checkpoint else {}
    seconds["load"] = seconds.get("load", 0.0) + time.perf_counter() - started
    step = checkpoint.step if checkpoint else 0
    progress.start(total_steps, step)
    saved_step, saved_at = step, time.perf_counter()

    for block in blocks(cfg.stages, step):
        stage = cfg.stages[block.stage_index]
        begun = time.perf_counter()
        progress.stage(stage.name)
        inputs = draw_inputs(cfg.seed, stage, block, prior, device)
        distance = steps.run(stage, block, inputs)
        step = block.step + block.length
        numbers = {
            "loss": distance.item(),
            "gaussians": len(scene),
            "t": inputs.timesteps[0].item() / len(prior.alphas_cumprod),
        }
        run.log(step, **numbers)
        progress.advance(step, **numbers)
        seconds[stage.name] = seconds.get(stage.name, 0.0) + time.perf_counter() - begun
        stopping = stop() and step < total_steps
        due = (
            step - saved_step >= cfg.checkpoint.every_steps
            or time.perf_counter() - saved_at >= cfg.checkpoint.every_seconds
        )
        if due or stopping or step == total_steps:
            run.save_checkpoint(step, state_tensors(scene, optimizer), {"seconds": seconds})
            run.save_preview(step, png(splat_row(renderer, device)))
            saved_step, saved_at = step, time.perf_counter()
        if stopping:
            return TrainResult(scene, renderer, False, step, seconds)
    return TrainResult(scene, renderer, True, step, seconds)


def blocks(stages: tuple[StageConfig, ...], first_step: int) -> Iterator[Block]:
    """The blocks of all stages from `first_step` on, which is a block's first step or the end."""
    begin = 0
    for index, stage in enumerate(stages):
        for offset in range(0, stage.steps, stage.prior_every):
            if begin + offset >= first_step:
                length = min(stage.prior_every, stage.steps - offset)
                yield Block(index, begin + offset, length, offset / stage.steps)
        begin += stage.steps


def build_steps(cfg: Config, scene: Gaussians, renderer: Renderer, prior: Prior, optimizer: Adam) -> Steps:
    """Recorded steps where our own CUDA kernels draw and `cfg.capture` is on, else plain ones."""
    device = scene.means.device
    if cfg.capture and device.type == "cuda" and resolve_backend(cfg.renderer.backend, device) == "native":
        from sds3d.captured_steps import CapturedSteps

        return CapturedSteps(cfg, scene, renderer, prior, optimizer)
    return Steps(cfg, scene, renderer, prior, optimizer)


def draw_inputs(seed: int, stage: StageConfig, block: Block, prior: Prior, device: torch.device) -> Inputs:
    """The views, backgrounds, timesteps and noise of `block`."""
    generator = step_generator(seed, stage.name, block.step)
    cameras = sample_orbits(
        stage.num_orbits, prior.num_views, stage.resolution,
        stage.cameras.elevation_deg, stage.cameras.distance, stage.cameras.fov_deg, generator,
    )  # fmt: skip
    backgrounds = torch.rand(stage.num_orbits, 3, generator=generator).repeat_interleave(prior.num_views, 0)
    timesteps = sample_timesteps(stage, prior, block.progress, generator)
    if device.type == "cuda":  # noise is drawn where it is used
        generator = torch.Generator(device).manual_seed(generator.initial_seed())
    return Inputs(cameras.to(device), backgrounds.to(device), timesteps.to(device), generator)


def step_generator(seed: int, stage: str, step: int) -> torch.Generator:
    """A CPU generator that depends on its arguments alone, so a resumed run draws what an uninterrupted one does."""
    digest = hashlib.sha256(f"{seed}/{stage}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def sample_timesteps(stage: StageConfig, prior: Prior, progress: float, generator: torch.Generator) -> Tensor:
    """One timestep for each orbit, repeated for its views, [num_orbits * num_views] long; uniform between the ramps."""
    low, high = stage.t_min.at(progress), stage.t_max.at(progress)
    fractions = low + (high - low) * torch.rand(stage.num_orbits, generator=generator)
    count = len(prior.alphas_cumprod)
    return (fractions * count).long().clamp(1, count - 1).repeat_interleave(prior.num_views)


def restore(scene: Gaussians, checkpoint: Checkpoint | None, device: torch.device) -> Adam:
    """Bring `scene` to `device` and, if there is a checkpoint, to its state; the optimiser that goes on from there."""
    if checkpoint:
        for name in NAMES:
            setattr(scene, name, torch.nn.Parameter(checkpoint.tensors[f"scene.{name}"]))
    scene.to(device)
    scene.densifier.reset(scene)
    optimizer = Adam(scene.param_groups(), betas=(0.9, 0.99), eps=1e-15)
    if checkpoint:
        scene.densifier.gradients = checkpoint.tensors["densify.gradients"].to(device)
        scene.densifier.counts = checkpoint.tensors["densify.counts"].to(device)
        for group in optimizer.param_groups:
            prefix = f"adam.{group['name']}."
            state: dict[str, Any] = {
                k.removeprefix(prefix): v.to(device) for k, v in checkpoint.tensors.items() if k.startswith(prefix)
            }
            optimizer.state[group["params"][0]] = state
    return optimizer


def state_tensors(scene: Gaussians, optimizer: Adam) -> dict[str, Tensor]:
    """All tensors that `restore` needs, by name."""
    tensors = {f"scene.{name}": tensor for name, tensor in scene.tensors().items()}
    tensors |= {"densify.gradients": scene.densifier.gradients, "densify.counts": scene.densifier.counts}
    for group in optimizer.param_groups:
        for key, value in optimizer.state[group["params"][0]].items():
            tensors[f"adam.{group['name']}.{key}"] = value
    return tensors
