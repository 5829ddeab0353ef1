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
    if args.to is None and (args.run / "export").is_symlink():
        raise UserError(f"{args.run / 'export'} is a link; remove it, or name the folder that it leads to with --to")
    for path in export(args.run, scene, formats, args.to or args.run / "export"):
        print(path)
    return 0


def export(run: Path, scene: Path | None, formats: list[str], folder: Path) -> list[Path]:
    """The files written to `folder`: asset.glb; asset.obj, asset.mtl and asset.png; asset.ply.

    UserError, before anything is written, if the mesh or the scene is damaged although the report lists it.
    """
    from sds3d.errors import UserError
    from sds3d.mesh.export import MeshFormat, write_mesh
    from sds3d.mesh.exporters.glb import read_glb

    glb = run / "mesh.glb"
    try:
        mesh = read_glb(glb) if {*get_args(MeshFormat)} & {*formats} else None
        splats = _read_ply(scene) if scene is not None and "ply" in formats else None
    except UserError as error:
        raise UserError(
            f"{error}; to make it again, delete {run / 'report.json'} and run `sds3d resume {run}`"
        ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}; choose another folder with --to DIR") from error
    written = []
    for name in get_args(MeshFormat):
        path = folder / f"asset.{name}"
        if mesh is not None and name in formats:
            written += _put(glb.read_bytes(), path) if name == "glb" else write_mesh(mesh, path, name)
    return written + (_put(splats, folder / "asset.ply") if splats is not None else [])


def _put(content: bytes, path: Path) -> list[Path]:
    from sds3d.files import atomic_write

    atomic_write(path, content)
    return [path]


def _read_ply(path: Path) -> bytes:
    """The content of a scene's file; UserError unless it is a whole PLY file."""
    from sds3d.errors import UserError
    from sds3d.representations.ply_size import check_ply

    try:
        check_ply(data := path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}") from error
    return data
