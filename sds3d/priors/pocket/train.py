"""Program: train the pocket prior on procedural objects, traced during training, and on the user's meshes.

sds3d prior train --out FOLDER --steps 16000
sds3d prior train --out FOLDER --objects MESHES     # starts from the shipped weights
torchrun --nproc-per-node 4 -m sds3d.priors.pocket.train --out FOLDER     # the batch size is per GPU
"""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch

from sds3d.files import atomic_write, cache_folder
from sds3d.priors.pocket import model
from sds3d.priors.pocket.data import ProceduralObjects
from sds3d.priors.pocket.learner import Learner
from sds3d.priors.pocket.mixed import MixedObjects
from sds3d.priors.pocket.options import TrainingConfig, parse
from sds3d.priors.pocket.words import WORDS, known_words
from sds3d.priors.training import STATE, Progress, load_batches, log_and_save, resume
from sds3d.priors.weights import MANIFEST, file_sha256
from sds3d.procedural.library import UserObject, render_library
from sds3d.procedural.training_pairs import sample_pair

PROGRESS_EVERY = 30.0  # seconds
CAPTIONS = 20_000  # procedural captions, whose words count as known; rarer words are hardly learned


def run(cfg: TrainingConfig) -> None:
    """Train until `cfg.steps`, saving now and then, and write the folder that `PocketConfig.path` takes."""
    rank, world, device = join_processes(cfg.device)
    user_objects = load_user_objects(cfg, device, rank) if cfg.objects else []
    learner = Learner(cfg, device, rank, world)
    resume(learner, cfg.out)
    loader = load_batches(training_data(cfg, learner, user_objects), cfg.workers, device)
    batches = iter(loader)  # the loaders start before the encoder goes to the GPU, which they must not touch
    learner.encoder.to(device)

    def save() -> None:
        learner.save(cfg.out / STATE)
        export(learner, user_objects, cfg.out)

    losses = learner.train(batches)
    if rank == 0:
        log_and_save(losses, learner, Progress(cfg.steps, cfg.log_every, cfg.save_every, digits=5), save)
    else:
        for _ in losses:
            pass
    if world > 1:
        torch.distributed.destroy_process_group()
    if rank == 0:
        print(next_steps(cfg.out, user_objects))


def load_user_objects(cfg: TrainingConfig, device: torch.device, rank: int) -> list[UserObject]:
    """The user's objects; the first process reports which meshes it skipped."""

    def report(text: str) -> None:
        if rank == 0:
            print(text, file=sys.stderr, flush=True)

    assert cfg.objects is not None
    drawings = cache_folder() / "objects"

    def progress(names: list[str]) -> Iterable[str]:
        return shown(names, report) if rank == 0 else names

    return render_library(
        cfg.objects, cfg.seed, device, report, normals=cfg.normals, cache=drawings, progress=progress
    )  # fmt: skip


def shown(
    names: list[str], report: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> Iterator[str]:
    """`names`, with a bar on a terminal, otherwise with a line for `report` every half minute."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(names, "drawing your meshes", console=Console(stderr=True))
        return
    began = said = clock()
    for done, name in enumerate(names):
        now = clock()
        if done and now - said >= PROGRESS_EVERY:
            said = now
            left = (said - began) / done * (len(names) - done)
            report(f"{done} of {len(names)} meshes, about {left:.0f} s left")
        yield name


def training_data(cfg: TrainingConfig, learner: Learner, user_objects: list[UserObject]) -> ProceduralObjects:
    """The batches of the remaining steps."""
    steps, encoder = range(learner.step, cfg.steps), learner.encoder.cpu()
    if user_objects:
        assert cfg.mix is not None  # as there are objects
        return MixedObjects(
            cfg.seed, cfg.batch, steps, encoder, learner.rank, learner.world, user_objects=user_objects, mix=cfg.mix
        )
    return ProceduralObjects(cfg.seed, cfg.batch, steps, encoder, learner.rank, learner.world)


def next_steps(out: Path, user_objects: list[UserObject]) -> str:
    """What to try with the new prior."""
    captions = [caption for one in user_objects for caption in one.captions if caption.isprintable()]
    prompt, folder = shlex.quote((captions or ["a blue chair"])[0]), shlex.quote(str(out))
    return f"""\
finished: {out}
next:
  what it imagines:  sds3d prior preview --prior {folder} -- {prompt}
  an asset by it:    sds3d generate --prior {folder} -- {prompt}"""


def join_processes(device: str) -> tuple[int, int, torch.device]:
    """(rank, number of processes, device) from torchrun's variables; (0, 1, `device`) without them."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1, torch.device(device)
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return torch.distributed.get_rank(), world, torch.device(device)


def export(learner: Learner, user_objects: list[UserObject], out: Path) -> None:
    """Write the averaged network, a copy of the text encoder, the words that the prior knows, and all checksums."""
    model.save_unet(learner.average, out)
    if not (out / WORDS).exists():
        atomic_write(out / WORDS, known_words(captions_seen(learner.cfg, user_objects)))
    if learner.cfg.text.resolve() != (out / "text_encoder").resolve():
        shutil.copytree(learner.cfg.text, out / "text_encoder", dirs_exist_ok=True)
    files = [path for name in ("unet", "scheduler", "text_encoder") for path in sorted((out / name).iterdir())]
    manifest = {str(path.relative_to(out)): file_sha256(path) for path in [*files, out / WORDS]}
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def captions_seen(cfg: TrainingConfig, user_objects: list[UserObject]) -> Iterator[str]:
    """The captions of a training: the user's, many procedural ones, and the words of the prior that it starts from."""
    for one in user_objects:
        yield from one.captions
    if cfg.init and (cfg.init / WORDS).is_file():
        yield (cfg.init / WORDS).read_text(encoding="utf-8")
    if not user_objects or cfg.mix:
        rng = random.Random(cfg.seed)
        for _ in range(CAPTIONS):
            yield sample_pair(rng)[1]


def main(argv: Sequence[str] | None = None) -> None:
    run(parse(argv))


if __name__ == "__main__":
    main()
