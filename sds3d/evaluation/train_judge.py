"""Program: train the judge on objects that are made up and traced while it learns.

python -m sds3d.evaluation.train_judge --out FOLDER

It goes on where it stopped, with the same command. `sds3d.evaluation.judge_data` says what it sees.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from sds3d.cameras import turntable
from sds3d.errors import UserError
from sds3d.evaluation.judge import Judge, load_towers, save_towers
from sds3d.evaluation.judge_data import Batch, JudgedObjects, draw
from sds3d.evaluation.metrics import r_precision, views_together
from sds3d.evaluation.pool import render_pool
from sds3d.evaluation.towers import RESOLUTION, Towers
from sds3d.files import atomic_write
from sds3d.imaging.png import BACKGROUND
from sds3d.priors.flat import flatten_parameters
from sds3d.procedural.objects.held_out import SIZE, held_out_pool, pool_id

WARM_UP = 200  # steps
VIEWS = 4  # of each object of the pool


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, captions: Tensor) -> Tensor:
    """Symmetric InfoNCE of B unit vectors each (CLIP, arXiv:2103.00020, figure 3).

    Where several objects have the same caption, numbers in `captions` [B] being equal, each of them is right.
    """
    logits = scale * images @ texts.T
    same = (captions[:, None] == captions).to(logits)
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over WARM_UP steps, a tenth of a shorter run, then a cosine to zero."""
    warm_up = min(WARM_UP, max(1, steps // 10))
    return peak * min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))


class Learner:
    """The towers, the optimiser and the step count: all that a checkpoint holds."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.device, self.step = args, torch.device(args.device), 0
        self.sizes: dict[str, Any] = {"channels": args.channels, "text_width": args.text_width}
        torch.manual_seed(args.seed)
        self.towers = Towers(**self.sizes).to(self.device)
        self.weights = flatten_parameters(self.towers)
        self.optimizer = torch.optim.AdamW([self.weights], betas=(0.9, 0.98), weight_decay=0.05)

    def train_step(self, batch: Batch) -> Tensor:
        """One optimiser step; its loss, still on the device."""
        batch = batch.to(self.device)
        generator = torch.Generator(self.device).manual_seed(self.args.seed * 1_000_003 + self.step)
        with torch.no_grad():
            pictures = draw(batch, generator, self.args.rays).contiguous(memory_format=torch.channels_last)
        gradient = self.weights.grad
        assert gradient is not None  # flatten_parameters made it
        gradient.zero_()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            images, texts = self.towers.images(pictures), self.towers.texts(batch.ids)
        loss = contrastive_loss(images, texts, self.towers.scale(), batch.captions)
        loss.backward()
        gradient.mul_((1 / gradient.norm()).clamp(max=1))
        self.optimizer.param_groups[0]["lr"] = learning_rate(self.step, self.args.steps, self.args.lr)
        self.optimizer.step()
        self.step += 1
        return loss.detach()

    def save(self, path: Path) -> None:
        """Everything that the next run needs to go on, in one safetensors file, replaced atomically."""
        moments = self.optimizer.state[self.weights]
        state = {"weights": self.weights.detach(), **{key: moments[key] for key in ("exp_avg", "exp_avg_sq")}}
        state = {name: value.cpu() for name, value in state.items()}
        atomic_write(path, lambda partial: save_file(state, partial, metadata=self._settings()))

    def load(self, path: Path) -> None:
        """Go on from a file of `save`; UserError if it was made with other settings."""
        with safe_open(path, "pt") as file:
            saved = file.metadata()
        settings = self._settings()
        for name in settings.keys() - {"step"}:
            if saved.get(name) != settings[name]:
                raise UserError(
                    f"{path}: expected {name} {settings[name]}, got {saved.get(name)}: "
                    "go on with the options it began with, or choose another --out"
                )
        state = load_file(path, device=str(self.device))
        self.step = int(saved["step"])
        with torch.no_grad():
            self.weights.copy_(state["weights"])
        self.optimizer.state[self.weights] = {
            "step": torch.tensor(float(self.step)),
            "exp_avg": state["exp_avg"],
            "exp_avg_sq": state["exp_avg_sq"],
        }

    def _settings(self) -> dict[str, str]:
        """What a run must have in common with the run that it goes on from, and its step."""
        names = ("steps", "batch", "lr", "seed", "rays")
        fixed = {name: str(getattr(self.args, name)) for name in names}
        return {"step": str(self.step), "sizes": json.dumps(self.sizes), "pool": pool_id(), **fixed}


def run(args: argparse.Namespace) -> None:
    """Train until `args.steps`, saving now and then; `args.out` is then a folder for `load_judge`."""
    learner = Learner(args)
    checkpoint = args.out / "training.safetensors"
    args.out.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        learner.load(checkpoint)
        print(f"resumed at step {learner.step}", flush=True)
    loader = DataLoader(
        JudgedObjects(args.seed, args.batch, range(learner.step, args.steps)),
        batch_size=None,
        num_workers=args.workers,
        pin_memory=learner.device.type == "cuda",
        prefetch_factor=4 if args.workers else None,
    )
    losses, since, saved = [], time.perf_counter(), time.perf_counter()
    for batch in loader:
        losses.append(learner.train_step(batch))
        if learner.step % args.log_every == 0 or learner.step == args.steps:
            loss, now = torch.stack(losses).mean().item(), time.perf_counter()
            milliseconds = 1e3 * (now - since) / len(losses)
            print(json.dumps({"step": learner.step, "loss": round(loss, 4), "ms": round(milliseconds, 1)}), flush=True)
            losses, since = [], now
        if time.perf_counter() - saved > args.save_every or learner.step == args.steps:
            learner.save(checkpoint)
            save_towers(learner.towers, learner.sizes, pool_id(), args.out)
            precision = pool_precision(load_towers(args.out, learner.device), learner.device)
            print(json.dumps({"step": learner.step, "r_precision": round(precision, 4), "pool": SIZE}), flush=True)
            saved = since = time.perf_counter()


def pool_precision(judge: Judge, device: torch.device) -> float:
    """R-precision, the views of an object together, of the pool's true objects: what samples can at best reach."""
    colors, alphas = render_pool(SIZE, turntable(VIEWS, RESOLUTION), device)
    images = judge.embed_images((colors + (1 - alphas) * BACKGROUND).flatten(0, 1)).unflatten(0, (SIZE, VIEWS))
    texts = judge.embed_texts([held.caption for held in held_out_pool()])
    return r_precision(views_together(images), texts, torch.arange(SIZE, device=images.device))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of the program."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(prog="python -m sds3d.evaluation.train_judge", description="train the judge")
    parser.add_argument("--out", type=Path, required=True, help="folder of the judge; an unfinished one is continued")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=1024, help="objects a step, one view and one caption each")
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 128, 256], help="of the image tower's levels")
    parser.add_argument("--text-width", type=int, default=192)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rays", type=int, default=2, help="a pixel, squared")
    parser.add_argument("--workers", type=int, default=12 if cuda else 0, help="processes that make up objects")
    parser.add_argument("--log-every", type=int, default=100, help="steps")
    parser.add_argument("--save-every", type=float, default=60.0, help="seconds")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if cuda else "cpu")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    try:
        run(parse(argv))
    except UserError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
