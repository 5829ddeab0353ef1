"""From an optimized scene to the files of a finished run: mesh, scene, turntable, preview, report."""

from __future__ import annotations

import json
import platform
import resource
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sds3d import __version__
from sds3d.config.schema import Config, PreviewConfig
from sds3d.files import atomic_write, file_sha256
from sds3d.imaging.png import BACKGROUND, png, to_uint8
from sds3d.priors.kinds import unseen_words_of
from sds3d.runs.folder import RunFolder
from sds3d.stopwatch import Stopwatch

if TYPE_CHECKING:
    from torch import Tensor

    from sds3d.cameras import Cameras
    from sds3d.interfaces import Scene, TexturedMesh

FRAMES_PER_SECOND = 24
FRAMES_AT_ONCE = 8  # bounds the memory


def finish(
    cfg: Config,
    run: RunFolder,
    scene: Scene,
    *,
    seconds: dict[str, float] | None = None,  # of the earlier stages, for the report
    guard: dict[str, int] | None = None,  # counts of non-finite predictions, for the report
    note: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Writes mesh.glb, the scene's files, turntable.mp4, preview.png, then report.json; returns the report."""
    from sds3d.mesh import build_mesh
    from sds3d.mesh.export import write_mesh

    clock = Stopwatch()
    files = scene.files()
    for name, content in files.items():
        atomic_write(run.path / name, content)
    note("extracting the mesh and baking its texture")
    mesh, mesh_report = build_mesh(scene.density, scene.render, cfg.mesh, scene.device)
    clock.lap("mesh")
    write_mesh(mesh, run.path / "mesh.glb", "glb")
    clock.lap("glb")
    note("rendering the turntable and the preview")
    atomic_write(run.path / "preview.png", png(preview_sheet(mesh, cfg.preview)))
    clock.lap("preview")
    atomic_write(run.path / "turntable.mp4", lambda partial: write_turntable(mesh, cfg.preview, partial))
    clock.lap("turntable")
    outputs = ("mesh.glb", *files, "turntable.mp4", "preview.png")
    report = {
        "prompt": cfg.prompt,
        "seed": cfg.seed,
        "config_hash": run.config_hash,
        "priors": dict(zip((stage.name for stage in cfg.stages), run.prior_ids, strict=False)),
        "unseen_words": unseen_words_of(cfg),
        "seconds": {name: round(value, 3) for name, value in {**(seconds or {}), **clock.seconds}.items()},
        "peak_memory_bytes": peak_memory(),
        **scene.size(),
        "bad_answers": {"skipped": 0, "rollbacks": 0} | (guard or {}),
        **mesh_report,
        "versions": versions(),
        "outputs": {name: file_sha256(run.path / name) for name in outputs},
    }
    atomic_write(run.path / "report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return report


def preview_sheet(mesh: TexturedMesh, cfg: PreviewConfig) -> Tensor:
    """Six views around the mesh, two rows of three, [2 H, 3 W, 3] in [0, 1]."""
    import torch

    from sds3d.cameras import turntable

    views = _draw(mesh, turntable(6, cfg.resolution), 3)
    return torch.cat([torch.cat(list(row), 1) for row in views.split(3)])


def write_turntable(mesh: TexturedMesh, cfg: PreviewConfig, path: Path) -> None:
    """An MP4 video (H.264, yuv420p) of one turn around the mesh."""
    import imageio_ffmpeg

    from sds3d.cameras import turntable

    cameras = turntable(cfg.frames, cfg.resolution)
    size = (cfg.resolution, cfg.resolution)
    frames = imageio_ffmpeg.write_frames(
        str(path), size, fps=FRAMES_PER_SECOND, codec="libx264", pix_fmt_out="yuv420p", macro_block_size=2,
        output_params=["-crf", "18", "-movflags", "+faststart"],
    )  # fmt: skip
    frames.send(None)
    try:
        for start in range(0, cfg.frames, FRAMES_AT_ONCE):
            for image in _draw(mesh, cameras[start : start + FRAMES_AT_ONCE], 2):
                frames.send(to_uint8(image).tobytes())
    finally:
        frames.close()


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


def _draw(mesh: TexturedMesh, cameras: Cameras, supersample: int) -> Tensor:
    """The mesh over the background, [C, H, W, 3] on the CPU."""
    import torch

    from sds3d.mesh.render import render_mesh

    device = mesh.vertices.device
    backgrounds = torch.full((len(cameras), 3), BACKGROUND, device=device)
    return render_mesh(mesh, cameras.to(device), backgrounds, supersample=supersample).colors.cpu()
