"""From an optimized scene to the files of a finished run: mesh, scene, turntable, preview, report."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import resource
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sds3d import __version__
from sds3d.config.schema import Config, MeshConfig, PreviewConfig
from sds3d.errors import UserError, memory_for
from sds3d.files import atomic_write
from sds3d.imaging.film import write_film
from sds3d.imaging.png import BACKGROUND, png, to_uint8
from sds3d.priors.kinds import unseen_words_of
from sds3d.runs.folder import RunFolder
from sds3d.runs.parts import Parts
from sds3d.stopwatch import Stopwatch

if TYPE_CHECKING:
    from torch import Tensor

    from sds3d.cameras import Cameras
    from sds3d.interfaces import Scene, TexturedMesh

FRAMES_AT_ONCE = 8  # bounds the memory
NOT_AS_WRITTEN = "does not read back as it was written; is the disk failing?"


def finish(
    cfg: Config,
    run: RunFolder,
    scene: Scene,
    *,
    seconds: dict[str, float] | None = None,  # of the earlier stages, for the report
    nonfinite: dict[str, Any] | None = None,  # counts of non-finite predictions, for the report
    unread_texts: dict[str, str] | None = None,  # kinds.unread_texts_of, for the report
    note: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Writes the scene's files, mesh.glb, preview.png, turntable.mp4, then report.json; returns the report.

    Each file is read back before the report lists it. After a UserError the files before it stay, and the next call
    makes only the others.
    """
    import torch

    files = scene.files()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    parts = Parts(run.path, {"version": __version__, "config_hash": run.config_hash, **digests})
    made = _write_files(cfg, run.path, scene, files, parts, note)
    mesh_report = made.pop("report")
    outputs = ("mesh.glb", *files, "turntable.mp4", "preview.png")
    report = {
        "prompt": cfg.prompt,
        "seed": cfg.seed,
        "config_hash": run.config_hash,
        "priors": dict(zip((stage.name for stage in cfg.stages), run.prior_ids, strict=False)),
        "unseen_words": unseen_words_of(cfg),
        "unread_texts": unread_texts or {},
        "seconds": {name: round(value, 3) for name, value in {**(seconds or {}), **made}.items()},
        "peak_memory_bytes": peak_memory(),
        "rasterize_mode": cfg.renderer.rasterize_mode,
        **scene.size(),
        "nonfinite_predictions": {"skipped": 0, "rollbacks": 0, "stages": {}} | (nonfinite or {}),
        **mesh_report,
        "versions": versions(),
        "cpu_threads": torch.get_num_threads(),
        "outputs": {name: parts.digest(name) for name in outputs},
    }
    atomic_write(run.path / "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    parts.forget()
    return report


def preview_sheet(mesh: TexturedMesh, cfg: PreviewConfig) -> Tensor:
    """Six views around the mesh, two rows of three, [2 H, 3 W, 3] in [0, 1]."""
    import torch

    from sds3d.cameras import turntable

    views = _draw(mesh, turntable(6, cfg.resolution), 3)
    return torch.cat([torch.cat(list(row), 1) for row in views.split(3)])


def write_turntable(mesh: TexturedMesh, cfg: PreviewConfig, path: Path) -> None:
    """An MP4 film of one turn around the mesh."""
    from sds3d.cameras import turntable

    cameras = turntable(cfg.frames, cfg.resolution)
    starts = range(0, cfg.frames, FRAMES_AT_ONCE)
    images = (image for start in starts for image in _draw(mesh, cameras[start : start + FRAMES_AT_ONCE], 2))
    write_film((to_uint8(image).tobytes() for image in images), (cfg.resolution, cfg.resolution), path)


def peak_memory() -> dict[str, int]:
    """Peak bytes of host and GPU memory of this process."""
    import torch

    unit = 1 if platform.system() == "Darwin" else 1024
    peak = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if torch.cuda.is_available():
        peak["cuda"] = torch.cuda.max_memory_allocated()
    return peak


def versions() -> dict[str, str]:
    """The software versions that the result may depend on."""
    import torch

    return {"sds3d": __version__, "python": platform.python_version(), "torch": torch.__version__}


def _write_files(
    cfg: Config, folder: Path, scene: Scene, files: dict[str, bytes], parts: Parts, note: Callable[[str], None]
) -> dict[str, Any]:
    """Writes those of the files that `parts` lacks; returns their seconds and, as `report`, that of the mesh."""
    from sds3d.mesh.exporters.glb import read_glb

    for name, content in files.items():
        parts.make(name, partial(_write_whole, content))
    with _memory_for(folder, "mesh.glb", "mesh.grid, mesh.faces, mesh.texture_size or mesh.bake_resolution"):
        made = parts.make("mesh.glb", partial(_write_mesh, scene, cfg.mesh, note))
    mesh = read_glb(folder / "mesh.glb").to(scene.device)  # so that it does not matter which attempt wrote it
    note("rendering the turntable and the preview")
    kept = [*files, "mesh.glb", "preview.png"]
    with _memory_for(folder, "preview.png", "preview.resolution"):
        made |= parts.make("preview.png", partial(_write_preview, mesh, cfg.preview))
    with _memory_for(folder, "turntable.mp4", "preview.resolution"):
        return made | parts.make("turntable.mp4", partial(_write_film, mesh, cfg.preview, kept))


def _memory_for(folder: Path, name: str, keys: str) -> AbstractContextManager[None]:
    """In this block, a lack of memory is a UserError that names the file and the settings `keys`."""
    again = f"end other programs, then `sds3d resume {folder}` makes only what is missing"
    return memory_for(f"{folder / name}", f"{again}; or begin a run with lower {keys}")


def _write_mesh(scene: Scene, cfg: MeshConfig, note: Callable[[str], None], path: Path) -> dict[str, Any]:
    """Writes the mesh of `scene`; returns the seconds of its parts and, as `report`, what was measured on it."""
    from sds3d.mesh import build_mesh
    from sds3d.mesh.export import write_mesh
    from sds3d.mesh.exporters.glb import read_glb

    clock = Stopwatch()
    note("extracting the mesh and baking its texture")
    mesh, report = build_mesh(scene.density, scene.render, cfg, scene.device)
    clock.lap("mesh")
    write_mesh(mesh, path, "glb")
    if not (read_glb(path).faces == mesh.faces.cpu()).all():
        raise UserError(f"{path}: {NOT_AS_WRITTEN}")
    clock.lap("glb")
    return {"report": report, **clock.seconds}


def _write_preview(mesh: TexturedMesh, cfg: PreviewConfig, path: Path) -> dict[str, Any]:
    clock = Stopwatch()
    _write_whole(png(preview_sheet(mesh, cfg)), path)
    clock.lap("preview")
    return clock.seconds


def _write_film(mesh: TexturedMesh, cfg: PreviewConfig, kept: Sequence[str], path: Path) -> dict[str, Any]:
    """Writes the turntable; the UserError says that the files `kept` are there all the same."""
    clock = Stopwatch()
    try:
        atomic_write(path, lambda partial: write_turntable(mesh, cfg, partial))
    except UserError as error:
        names = ", ".join(kept)
        raise UserError(f"no {path}: {error}; {names} are kept, and the same command makes only the film") from error
    clock.lap("turntable")
    return clock.seconds


def _write_whole(content: bytes, path: Path) -> dict[str, Any]:
    """Writes `content` and reads it back; UserError unless it is what the suffix says and the file is the same."""
    from PIL import Image

    from sds3d.representations.ply_size import check_ply

    try:
        if path.suffix == ".png":
            Image.open(io.BytesIO(content)).load()
        elif path.suffix == ".ply":
            check_ply(content)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} was not written, for it would be damaged: {error}") from error
    atomic_write(path, content)
    if path.read_bytes() != content:
        raise UserError(f"{path}: {NOT_AS_WRITTEN}")
    return {}


def _draw(mesh: TexturedMesh, cameras: Cameras, supersample: int) -> Tensor:
    """The mesh over the background, [C, H, W, 3] on the CPU."""
    import torch

    from sds3d.mesh.render import render_mesh

    device = mesh.vertices.device
    backgrounds = torch.full((len(cameras), 3), BACKGROUND, device=device)
    return render_mesh(mesh, cameras.to(device), backgrounds, supersample=supersample).colors.cpu()
