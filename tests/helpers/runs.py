"""Run folders with checkpoints and reports, and ways to spoil their files."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import torch

from sds3d.config.schema import Config
from sds3d.files import atomic_write, file_sha256
from sds3d.priors.kinds import prior_ids
from sds3d.runs.folder import RunFolder

OUTPUTS = ("mesh.glb", "splats.ply", "turntable.mp4", "preview.png")
EMPTY_PLY = b"ply\nformat binary_little_endian 1.0\nelement vertex 0\nend_header\n"


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


def finished_run(folder: Path, prompt: str = "a red mushroom") -> tuple[Config, RunFolder]:
    """A run whose outputs are there, with a textured triangle for a mesh."""
    import numpy as np
    import trimesh
    from PIL import Image

    cfg = Config(prompt=prompt, out=str(folder))
    run = RunFolder.create(cfg, prior_ids(cfg))
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=picture)
    visual = trimesh.visual.TextureVisuals(uv=np.array([[0, 0], [1, 0], [0, 0.75]]), material=material)
    trimesh.Trimesh(np.eye(3), [[0, 1, 2]], visual=visual, process=False).export(run.path / "mesh.glb")
    (run.path / "splats.ply").write_bytes(EMPTY_PLY)
    for name in OUTPUTS[2:]:
        (run.path / name).write_text(name)
    outputs = {name: file_sha256(run.path / name) for name in OUTPUTS}
    atomic_write(run.path / "report.json", json.dumps({"config_hash": run.config_hash, "outputs": outputs}))
    return cfg, run


def replace_output(run: RunFolder, name: str, content: bytes) -> None:
    """Puts `content` in the place of an output, listed with its sha256."""
    (run.path / name).write_bytes(content)
    found = json.loads((run.path / "report.json").read_text(encoding="utf-8"))
    found["outputs"][name] = file_sha256(run.path / name)
    (run.path / "report.json").write_text(json.dumps(found), encoding="utf-8")


def snapshot(folder: Path) -> dict[str, tuple[int, ...]]:
    """Inode, mode, size and times of change of everything in `folder`, which is not followed through links."""
    paths = [folder, *folder.rglob("*")]
    stats = {str(path): path.lstat() for path in paths}
    return {name: (x.st_ino, x.st_mode, x.st_size, x.st_mtime_ns, x.st_ctime_ns) for name, x in stats.items()}


def reseal(path: Path, change: Callable[[dict], object]) -> None:
    """Changes state.json of a checkpoint and gives it the checksum of the new content."""
    head = json.loads((path / "state.json").read_text())
    change(head)
    (path / "state.json").write_text(json.dumps({**head, "sha256": checksum(head)}))


def checksum(head: dict) -> str:
    head.pop("sha256", None)
    return hashlib.sha256(json.dumps(head, sort_keys=True).encode()).hexdigest()


def replace_tensors(path: Path, content: bytes) -> None:
    """Replaces the tensors by `content`, with its size and sha256 in the list."""
    (path / "tensors.safetensors").write_bytes(content)
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    reseal(path, lambda head: head["files"].update({"tensors.safetensors": entry}))
