"""sds3d export: the asset of a finished run in other formats: glb and obj hold the mesh, ply the scene."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from sds3d.files import user_path


def main(argv: list[str]) -> int:
    """Writes the files and prints their paths; returns the exit code."""
    parser = argparse.ArgumentParser("sds3d export", description=__doc__)
    parser.add_argument("run", type=user_path, metavar="RUN", help="the folder of a finished run")
    parser.add_argument("--format", default="glb", metavar="LIST", help="such as glb,obj,ply (default: glb)")
    parser.add_argument("--to", type=user_path, metavar="DIR", help="where the files go (default: RUN/export)")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    args = parser.parse_args(argv)

    from sds3d.errors import UserError
    from sds3d.mesh.export import MeshFormat
    from sds3d.runs.folder import check_is_run, outputs_of

    known = (*get_args(MeshFormat), "ply")
    formats = [name.strip() for name in args.format.split(",")]
    for name in formats:
        if name not in known:
            raise UserError(f"--format: expected some of {', '.join(known)}, got {name!r}")
    check_is_run(args.run)
    outputs = outputs_of(args.run)
    if not outputs:
        raise UserError(f"{args.run} is not finished, so there is nothing to export yet; run `sds3d resume {args.run}`")
    scene = next((args.run / name for name in outputs if name.endswith(".ply")), None)
    if scene is None and "ply" in formats:
        raise UserError(f"--format: {args.run} has no .ply file; choose {' or '.join(get_args(MeshFormat))}")
    for path in export(args.run, scene, formats, args.to or args.run / "export"):
        print(path)
    return 0


def export(run: Path, scene: Path | None, formats: list[str], folder: Path) -> list[Path]:
    """The files written to `folder`: asset.glb; asset.obj, asset.mtl and asset.png; asset.ply."""
    from sds3d.files import refused
    from sds3d.mesh.export import MeshFormat, write_mesh
    from sds3d.mesh.exporters.glb import read_glb

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(error, folder) from error
    glb, written = run / "mesh.glb", []
    for name in get_args(MeshFormat):
        path = folder / f"asset.{name}"
        if name in formats:
            written += _copy(glb, path) if name == "glb" else write_mesh(read_glb(glb), path, name)
    if scene is not None and "ply" in formats:
        written += _copy(scene, folder / "asset.ply")
    return written


def _copy(source: Path, path: Path) -> list[Path]:
    from sds3d.files import atomic_write

    atomic_write(path, source.read_bytes())
    return [path]
