"""Program: train the pocket prior on objects that are made up and traced while it learns.

sds3d prior train --out FOLDER --steps 16000
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sds3d.cameras import sample_orbits
from sds3d.priors.pocket import model
from sds3d.priors.pocket.objects import sample_object
from sds3d.priors.pocket.parts import pack
from sds3d.priors.pocket.text import TextEncoder
from sds3d.priors.pocket.tracer import trace
from sds3d.priors.weights import MANIFEST, file_sha256

ELEVATION_DEG = (-20.0, 60.0)
DISTANCE, FOV_DEG = 2.7, 40.0
DROP_PROMPT = 0.1  # share of objects trained without text, for classifier-free guidance (arXiv:2207.12598)


class MadeUpObjects(Dataset):
    """Batch k of a run is a function of (seed, k) alone, so any number of loader processes gives the same run."""

    def __init__(self, seed: int, batch: int, steps: range, encoder: TextEncoder) -> None:
        self.seed, self.batch, self.steps, self.encoder = seed, batch, steps, encoder

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Packed parts [B, MAX_PARTS, NUM_COLUMNS] and token ids [B, MAX_TOKENS] of one training step."""
        rng = random.Random(f"{self.seed}/{self.steps[index]}")
        parts, prompts = [], []
        for _ in range(self.batch):
            pieces, captions = sample_object(rng)
            parts.append(torch.from_numpy(pack(pieces)))
            prompts.append("" if rng.random() < DROP_PROMPT else rng.choice(captions))
        return torch.stack(parts), self.encoder.tokenize(prompts)


def training_views(parts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images [B * V, 3, H, W] of the objects over one random colour each, and the network's condition [B * V, 19]."""
    objects = len(parts)
    cameras = sample_orbits(
        objects, model.NUM_VIEWS, model.RESOLUTION, ELEVATION_DEG, (DISTANCE, DISTANCE), (FOV_DEG, FOV_DEG), generator
    )
    grey = torch.rand(objects, 1, generator=generator).expand(-1, 3)
    colour = torch.rand(objects, 3, generator=generator)
    backgrounds = torch.where(torch.rand(objects, 1, generator=generator) < 0.5, grey, colour)
    backgrounds = backgrounds.repeat_interleave(model.NUM_VIEWS, 0)
    condition = model.condition_vectors(cameras, backgrounds).to(parts.device, non_blocking=True)
    rgba = trace(parts, cameras).flatten(0, 1).movedim(-1, 1)
    images = rgba[:, :3] + (1 - rgba[:, 3:]) * backgrounds.to(parts.device)[..., None, None]
    return images, condition


def v_prediction_loss(
    unet: nn.Module,
    latents: Tensor,
    context: Tensor,
    condition: Tensor,
    alphas_cumprod: Tensor,
    timesteps: Tensor,
    noise: Tensor,
) -> Tensor:
    """Mean squared error of v = sqrt(abar) noise - sqrt(1 - abar) x0 (arXiv:2202.00512, appendix D)."""
    alphas = alphas_cumprod[timesteps][:, None, None, None]
    noisy = alphas.sqrt() * latents + (1 - alphas).sqrt() * noise
    target = alphas.sqrt() * noise - (1 - alphas).sqrt() * latents
    predicted = unet(noisy, timesteps, context, class_labels=condition).sample
    return nn.functional.mse_loss(predicted.float(), target)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 300 steps, flat, then a cosine to zero over the last 40 % of the run."""
    cooldown = max(0.0, (step - 0.6 * steps) / (0.4 * steps))
    return peak * min(1.0, (step + 1) / 300) * 0.5 * (1 + math.cos(math.pi * min(1.0, cooldown)))


class Trainer:
    """The network, its running average, the optimiser and the step count: all that a checkpoint holds."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.step = args, 0
        self.device = torch.device(args.device)
        torch.manual_seed(args.seed)
        self.unet = model.build_unet(tuple(args.channels), args.layers).to(
            self.device, memory_format=torch.channels_last
        )
        self.average = model.build_unet(tuple(args.channels), args.layers).to(
            self.device, memory_format=torch.channels_last
        )
        self.average.load_state_dict(self.unet.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.unet.parameters(), lr=args.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=self.device.type == "cuda"
        )
        self.encoder = TextEncoder(args.text).to(self.device)
        self.alphas_cumprod = model.build_scheduler().alphas_cumprod.to(self.device)
        torch.backends.cudnn.benchmark = True  # the default convolution algorithms are slow here
        self.forward = self.unet if args.compile == "off" else torch.compile(self.unet, mode=args.compile)

    def train_step(self, parts: Tensor, ids: Tensor) -> Tensor:
        """One optimiser step on B objects x 4 views; the loss, still on the device."""
        generator = torch.Generator().manual_seed(self.args.seed * 1_000_003 + self.step)
        noise_generator = torch.Generator(self.device).manual_seed(self.args.seed * 1_000_003 + self.step)
        with torch.no_grad():
            images, condition = training_views(parts.to(self.device, non_blocking=True), generator)
            latents = model.images_to_latents(images).contiguous(memory_format=torch.channels_last)
            context = self.encoder(ids.to(self.device, non_blocking=True)).repeat_interleave(model.NUM_VIEWS, 0)
            u = (torch.rand((), generator=generator) + torch.arange(len(parts)) / len(parts)) % 1  # stratified
            timesteps = (u * 1000).long().repeat_interleave(model.NUM_VIEWS).to(self.device)
            noise = torch.randn(latents.shape, generator=noise_generator, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = v_prediction_loss(self.forward, latents, context, condition, self.alphas_cumprod, timesteps, noise)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.args.steps, self.args.lr)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(self.args.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.unet.parameters()), 1 - decay)
        return loss.detach()

    def save(self, path: Path) -> None:
        """Everything that the next run needs to go on, in one safetensors file, replaced atomically."""
        names = [name for name, _ in self.unet.named_parameters()]
        state = {f"unet.{k}": v for k, v in self.unet.state_dict().items()}
        state |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"{key}.{names[index]}": moments[key] for key in ("exp_avg", "exp_avg_sq")}
        state = {k: v.detach().cpu().contiguous() for k, v in state.items()}
        temporary = path.with_suffix(".tmp")
        save_file(state, temporary, metadata={"step": str(self.step), "seed": str(self.args.seed)})
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a file of `save`."""
        from safetensors import safe_open

        state = load_file(path, device=str(self.device))
        with safe_open(path, "pt") as file:
            self.step = int(file.metadata()["step"])
        for prefix, network in (("unet.", self.unet), ("average.", self.average)):
            network.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        for name, parameter in self.unet.named_parameters():
            if f"exp_avg.{name}" in state:
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(self.step), device=self.device if self.device.type == "cuda" else "cpu"),
                    **{
                        key: torch.empty_like(parameter).copy_(state[f"{key}.{name}"])
                        for key in ("exp_avg", "exp_avg_sq")
                    },
                }


def run(args: argparse.Namespace) -> None:
    """Train until `args.steps`, saving now and then, and write the folder that `PocketConfig.path` takes."""
    trainer = Trainer(args)
    checkpoint = args.out / "training.safetensors"
    args.out.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        trainer.load(checkpoint)
        print(f"resumed at step {trainer.step}", flush=True)
    steps = range(trainer.step, args.steps)
    loader = DataLoader(
        MadeUpObjects(args.seed, args.batch, steps, trainer.encoder.cpu()),
        batch_size=None,
        num_workers=args.workers,
        pin_memory=trainer.device.type == "cuda",
        prefetch_factor=4 if args.workers else None,
    )
    batches: Iterator[Sequence[Tensor]] = iter(loader)
    trainer.encoder.to(trainer.device)
    losses, since, saved = [], time.perf_counter(), time.perf_counter()
    for parts, ids in batches:
        losses.append(trainer.train_step(parts, ids))
        if trainer.step % args.log_every == 0 or trainer.step == args.steps:
            loss = torch.stack(losses).mean().item()
            now = time.perf_counter()
            print(
                json.dumps(
                    {"step": trainer.step, "loss": round(loss, 5), "ms": round(1e3 * (now - since) / len(losses), 1)}
                ),
                flush=True,
            )
            losses, since = [], now
        if time.perf_counter() - saved > args.save_every or trainer.step == args.steps:
            trainer.save(checkpoint)
            export(trainer, args.out)
            saved = time.perf_counter()


def export(trainer: Trainer, out: Path) -> None:
    """Write the averaged network, a copy of the text encoder beside it, and the checksums of both."""
    model.save_unet(trainer.average, out)
    if trainer.args.text.resolve() != (out / "text_encoder").resolve():
        shutil.copytree(trainer.args.text, out / "text_encoder", dirs_exist_ok=True)
    files = [path for name in ("unet", "scheduler", "text_encoder") for path in sorted((out / name).iterdir())]
    manifest = {str(path.relative_to(out)): file_sha256(path) for path in files}
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of the program."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(prog="sds3d prior train", description="train the pocket prior")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the new prior; an unfinished one is continued"
    )
    parser.add_argument(
        "--text", type=Path, default=Path(__file__).parent / "weights" / "text_encoder", help="text encoder"
    )
    parser.add_argument("--steps", type=int, default=16000)
    parser.add_argument("--batch", type=int, default=64, help="objects a step, four views each")
    parser.add_argument("--channels", type=int, nargs="+", default=[96, 192, 256])
    parser.add_argument("--layers", type=int, default=1, help="residual blocks a level")
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--ema", type=float, default=0.9995)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=12 if cuda else 0, help="processes that make up objects")
    parser.add_argument(
        "--compile",
        choices=("off", "default", "reduce-overhead"),
        default="reduce-overhead" if cuda else "off",
        help="torch.compile mode",
    )
    parser.add_argument("--log-every", type=int, default=100, help="steps")
    parser.add_argument("--save-every", type=float, default=120.0, help="seconds")
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    run(parse(argv))


if __name__ == "__main__":
    main()
