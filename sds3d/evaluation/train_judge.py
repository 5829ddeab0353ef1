"""Program: train the judge on procedural objects, traced during training.

python -m sds3d.evaluation.train_judge --out FOLDER

The same command resumes a stopped training. `sds3d.evaluation.judge_data` makes the training data.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sds3d.cameras import turntable
from sds3d.errors import UserError
from sds3d.evaluation.judge import Judge, load_towers, save_towers
from sds3d.evaluation.judge_data import Batch, JudgedObjects, render_batch
from sds3d.evaluation.metrics import r_precision, views_together
from sds3d.evaluation.pool import render_pool
from sds3d.evaluation.towers import RESOLUTION, Towers
from sds3d.files import user_path
from sds3d.imaging.png import BACKGROUND
from sds3d.priors.training import STATE, Progress, Trained, load_batches, log_and_save, resume, scheduled_rate
from sds3d.procedural.objects.held_out import SIZE, held_out_pool, pool_id

WARM_UP = 200  # steps
VIEWS = 4  # of each object of the pool


@dataclass(frozen=True)
class JudgeConfig:
    """A training of the judge."""

    out: Path  # folder of the judge
    steps: int
    batch: int  # objects per step, one view and one caption each
    channels: list[int]  # of the image tower's levels
    text_width: int
    lr: float
    seed: int
    rays: int  # per pixel, squared
    workers: int  # processes that generate objects
    log_every: int  # steps
    save_every: float  # seconds
    device: str


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, captions: Tensor) -> Tensor:
    """Symmetric InfoNCE of B unit vectors each (CLIP, arXiv:2103.00020, figure 3).

    Objects with the same number in `captions` [B] have the same caption; each of them is a correct match.
    """
    logits = scale * images @ texts.T
    same = (captions[:, None] == captions).to(logits)
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over WARM_UP steps, a tenth of a shorter run, then a cosine to zero."""
    warm_up = min(WARM_UP, max(1, steps // 10))
    return scheduled_rate(step, steps, peak, warm_up, flat=0.0)


class Learner(Trained):
    """The towers, their optimizer and the step count."""

    def __init__(self, cfg: JudgeConfig) -> None:
        self.cfg, self.device = cfg, torch.device(cfg.device)
        self.sizes: dict[str, Any] = {"channels": cfg.channels, "text_width": cfg.text_width}
        torch.manual_seed(cfg.seed)
        self.towers = Towers(**self.sizes).to(self.device)
        fixed = {name: str(getattr(cfg, name)) for name in ("steps", "batch", "lr", "seed", "rays")}
        settings = {"sizes": json.dumps(self.sizes), "pool": pool_id(), **fixed}
        super().__init__(self.towers, settings, betas=(0.9, 0.98), weight_decay=0.05)

    def train_step(self, batch: Batch) -> Tensor:
        """The loss of one optimizer step, still on the device."""
        batch = batch.to(self.device)
        generator = torch.Generator(self.device).manual_seed(self.cfg.seed * 1_000_003 + self.step)
        with torch.no_grad():
            pictures = render_batch(batch, generator, self.cfg.rays).contiguous(memory_format=torch.channels_last)
        gradient = self.weights.grad
        assert gradient is not None  # flatten_parameters made it
        gradient.zero_()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            images, texts = self.towers.images(pictures), self.towers.texts(batch.ids)
        loss = contrastive_loss(images, texts, self.towers.scale(), batch.captions)
        loss.backward()
        gradient.mul_((1 / gradient.norm()).clamp(max=1))
        self.optimizer.param_groups[0]["lr"] = learning_rate(self.step, self.cfg.steps, self.cfg.lr)
        self.optimizer.step()
        self.step += 1
        return loss.detach()


def run(cfg: JudgeConfig) -> None:
    """Train until `cfg.steps`, saving every `cfg.save_every` seconds; `load_judge` reads the folder `cfg.out`."""
    learner = Learner(cfg)
    resume(learner, cfg.out)
    batches = load_batches(
        JudgedObjects(cfg.seed, cfg.batch, range(learner.step, cfg.steps)), cfg.workers, learner.device
    )

    def save() -> None:
        learner.save(cfg.out / STATE)
        save_towers(learner.towers, learner.sizes, pool_id(), cfg.out)
        precision = pool_precision(load_towers(cfg.out, learner.device), learner.device)
        print(json.dumps({"step": learner.step, "r_precision": round(precision, 4), "pool": SIZE}), flush=True)

    losses = (learner.train_step(batch) for batch in batches)
    log_and_save(losses, learner, Progress(cfg.steps, cfg.log_every, cfg.save_every, digits=4), save)


def pool_precision(judge: Judge, device: torch.device) -> float:
    """R-precision of the pool's true objects with the views of each together: an upper bound for samples."""
    colors, alphas = render_pool(SIZE, turntable(VIEWS, RESOLUTION), device)
    images = judge.embed_images((colors + (1 - alphas) * BACKGROUND).flatten(0, 1)).unflatten(0, (SIZE, VIEWS))
    texts = judge.embed_texts([held.caption for held in held_out_pool()])
    return r_precision(views_together(images), texts, torch.arange(SIZE, device=images.device))


def parse(argv: Sequence[str] | None) -> JudgeConfig:
    """The options of the program."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(prog="python -m sds3d.evaluation.train_judge", description="train the judge")
    parser.add_argument("--out", type=user_path, required=True, help="folder of the judge; continued if unfinished")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=1024, help="objects per step, one view and one caption each")
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 128, 256], help="of the image tower's levels")
    parser.add_argument("--text-width", type=int, default=192)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rays", type=int, default=2, help="per pixel, squared")
    parser.add_argument("--workers", type=int, default=12 if cuda else 0, help="processes that generate objects")
    parser.add_argument("--log-every", type=int, default=100, help="steps")
    parser.add_argument("--save-every", type=float, default=60.0, help="seconds")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if cuda else "cpu")
    return JudgeConfig(**vars(parser.parse_args(argv)))


def main(argv: Sequence[str] | None = None) -> None:
    try:
        run(parse(argv))
    except UserError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
