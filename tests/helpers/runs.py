"""Run folders with checkpoints and reports, and ways to spoil their files."""

import json
import os
from pathlib import Path

import torch

from sds3d.files import atomic_write, file_sha256
from sds3d.runs.folder import RunFolder


def tensors(step: int) -> dict[str, torch.Tensor]:
    return {"means": torch.full((5, 3), float(step)), "count": torch.tensor(step), "none": torch.zeros(0, 3)}


def save(run: RunFolder, *steps: int) -> None:
    for step in steps:
        run.log(step, loss=1 / step)
        run.save_checkpoint(step, tensors(step), {"stage": "shape", "elapsed": step * 0.5})


def report(run: RunFolder, *names: str) -> dict[str, str]:
    for name in names:
        (run.path / name).write_text(name)
    outputs = {name: file_sha256(run.path / name) for name in names}
    atomic_write(run.path / "report.json", json.dumps({"config_hash": run.config_hash, "outputs": outputs}))
    return outputs


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)
