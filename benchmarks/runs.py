"""The finished runs of a benchmark's prompts, made as a batch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from sds3d.batch.plan import RUNS
from sds3d.cli.main import main
from sds3d.config.load import load_config
from sds3d.errors import UserError
from sds3d.files import atomic_write
from sds3d.priors.kinds import prior_ids
from sds3d.runs.identity import run_name

NAME = "prompts"


def make_runs(prompts: Sequence[str], config: str, out: Path, workers: int | None = None) -> list[Path]:
    """The run folder of each of `prompts`, in the batch `out`/prompts, which makes those that are not finished.

    Raises UserError after trying all if some failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{NAME}.jsonl"
    atomic_write(file, "".join(json.dumps(prompt) + "\n" for prompt in prompts))
    options = ["--workers", str(workers)] if workers else []
    if code := main(["batch", str(file), "--config", config, *options, f"out={out}"]):
        raise UserError(f"{out / NAME}: the batch ended with exit code {code}; run the command again")
    configs = [load_config(Path(config), [], prompt) for prompt in prompts]
    return [out / NAME / RUNS / run_name(cfg, prior_ids(cfg)) for cfg in configs]


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Adds the option --workers of a program that makes runs."""
    parser.add_argument("--workers", type=int, metavar="N", help="processes that make runs (default: those of a batch)")
