"""Common parts of all training programs: flat weights with AdamW, resuming, the learning rate, progress lines."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sds3d.errors import UserError
from sds3d.files import atomic_write
from sds3d.priors.flat import flatten_parameters

STATE = "training.safetensors"  # in the folder of a training
MOMENTS = ("exp_avg", "exp_avg_sq")


class Trained:
    """A network's weights in one tensor, their AdamW, and the step count: everything that a training state contains.

    `settings` are stored with the state and must be equal where a training resumes. A subclass may add tensors to
    `saved`, which holds what is stored beside the moments of AdamW.
    """

    def __init__(self, network: nn.Module, settings: dict[str, str], **adamw: Any) -> None:
        self.step, self.settings = 0, settings
        self.weights = flatten_parameters(network)
        self.saved = {"weights": self.weights}
        self.optimizer = torch.optim.AdamW([self.weights], **adamw)

    def save(self, path: Path) -> None:
        """Write everything that the next run needs to resume to one safetensors file, replaced atomically."""
        state = self.saved | {name: self.optimizer.state[self.weights][name] for name in MOMENTS}
        state = {name: value.detach().cpu() for name, value in state.items()}
        metadata = {"step": str(self.step), **self.settings}
        atomic_write(path, lambda partial: save_file(state, partial, metadata=metadata))

    def load(self, path: Path) -> None:
        """Resume from a file of `save`; UserError if it was made with other settings, or is damaged."""
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: cannot be read ({error}); delete it to start this training again") from error
        for name, value in self.settings.items():
            if metadata.get(name) != value:
                raise UserError(
                    f"{path}: expected {name} {value}, got {metadata.get(name)}: "
                    "go on with the options it began with, or choose another --out"
                )
        state = load_file(path, device=str(self.weights.device))
        expected = {name: x.shape for name, x in {**self.saved, **dict.fromkeys(MOMENTS, self.weights)}.items()}
        if {name: x.shape for name, x in state.items()} != expected or not metadata.get("step", "").isdecimal():
            raise UserError(f"{path}: is not a state of this training; delete it to start this training again")
        self.step = int(metadata["step"])
        with torch.no_grad():
            for name, tensor in self.saved.items():
                tensor.copy_(state[name])
        on_device = self.optimizer.defaults["capturable"]  # with CUDA graphs the step count is on the GPU
        step = torch.tensor(float(self.step), device=self.weights.device if on_device else "cpu")
        self.optimizer.state[self.weights] = {"step": step, **{name: state[name] for name in MOMENTS}}


def scheduled_rate(step: int, steps: int, peak: float, warm_up: int, flat: float) -> float:
    """Linear warm-up over `warm_up` steps, constant until the fraction `flat` of `steps`, then a cosine to zero."""
    cooldown = max(0.0, (step - flat * steps) / ((1 - flat) * steps))
    return peak * min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * min(1.0, cooldown)))


def resume(trained: Trained, folder: Path) -> None:
    """Loads the state in `folder` if there is one, and prints that; creates the folder otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / STATE).exists():
        trained.load(folder / STATE)
        print(f"resumed at step {trained.step}", flush=True)


def load_batches(data: Dataset, workers: int, device: torch.device) -> DataLoader:
    """A loader of `data`, whose items are batches, with `workers` processes and pinned memory for a GPU."""
    return DataLoader(
        data,
        batch_size=None,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
    )


class Progress(NamedTuple):
    """When a training of `steps` prints its mean loss, rounded to `digits`, and saves."""

    steps: int
    log_every: int  # steps
    save_every: float  # seconds
    digits: int


def log_and_save(losses: Iterable[Tensor], trained: Trained, progress: Progress, save: Callable[[], None]) -> None:
    """Runs the training that yields `losses`, one per step; prints progress as JSON lines and calls `save`.

    The milliseconds of a step leave out the time of saving.
    """
    recent, since, saved = [], time.perf_counter(), time.perf_counter()
    for loss_of_step in losses:
        recent.append(loss_of_step)
        last = trained.step == progress.steps
        if trained.step % progress.log_every == 0 or last:
            loss, now = torch.stack(recent).mean().item(), time.perf_counter()
            line = {"step": trained.step, "loss": round(loss, progress.digits)}
            print(json.dumps(line | {"ms": round(1e3 * (now - since) / len(recent), 1)}), flush=True)
            recent, since = [], now
        if (begun := time.perf_counter()) - saved > progress.save_every or last:
            save()
            saved = time.perf_counter()
            since += saved - begun
