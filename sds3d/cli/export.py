"""sds3d export: the asset of a finished run in other formats: glb and obj hold the mesh, ply the scene."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

FORMATS = ("glb", "obj", "ply")


def main(argv: list[str]) -> int:
    """Writes the files and prints their paths; returns the exit code."""
    parser = argparse.ArgumentParser("sds3d export", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run")
    parser.add_argument("--format", default="glb", metavar="LIST", help="of glb, obj, ply, with commas (default: glb)")
    parser.add_argument("--to", type=Path, metavar="DIR", help="where the files go (default: RUN/export)")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    args = parser.parse_args(argv)

    from sds3d.errors import UserError
    from sds3d.runs.folder import check_is_run, outputs_of

    formats = [name.strip() for name in args.format.split(",")]
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"--format: expected some of {', '.join(FORMATS)}, got {name!r}")
    check_is_run(args.run)
    outputs = outputs_of(args.run)
    if not outputs:
        raise UserError(f"{args.run} is not finished, there is nothing to export yet; run `sds3d resume {args.run}`")
    scene = next((args.run / name for name in outputs if name.endswith(".ply")), None)
    if scene is None and "ply" in formats:
        raise UserError(f"--format: {args.run} has no .ply file; choose glb or obj")
    for path in export(args.run, scene, formats, args.to or args.run / "export"):
        print(path)
    return 0


def export(run: Path, scene: Path | None, formats: list[str], folder: Path) -> list[Path]:
    """The files written to `folder`: asset.glb; asset.obj, asset.mtl and asset.png; asset.ply."""
    from sds3d.files import atomic_write, refused

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(error, folder) from error
    contents: dict[str, bytes] = {}
    if "glb" in formats:
        contents["asset.glb"] = (run / "mesh.glb").read_bytes()
    if "obj" in formats:
        contents |= obj_files(run / "mesh.glb")
    if scene is not None and "ply" in formats:
        contents["asset.ply"] = scene.read_bytes()
    for name, content in contents.items():
        atomic_write(folder / name, content)
    return [folder / name for name in contents]


def obj_files(glb: Path) -> dict[str, bytes]:
    """asset.obj, asset.mtl and asset.png of the mesh in a GLB file; y stays up, as obj readers expect."""
    import io

    import trimesh

    mesh: Any
    (mesh,) = trimesh.load_scene(glb, process=False).geometry.values()  # force="mesh" would make new normals
    picture = io.BytesIO()
    mesh.visual.material.baseColorTexture.convert("RGB").save(picture, "PNG")
    corners = zip(mesh.vertices, mesh.visual.uv, mesh.vertex_normals, strict=True)
    lines = ["mtllib asset.mtl", "usemtl asset"]
    for (x, y, z), (u, v), (nx, ny, nz) in corners:
        lines += [f"v {x:.6f} {y:.6f} {z:.6f}", f"vt {u:.6f} {v:.6f}", f"vn {nx:.4f} {ny:.4f} {nz:.4f}"]
    lines += ["f " + " ".join(f"{i}/{i}/{i}" for i in face) for face in mesh.faces + 1]
    material = "newmtl asset\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nmap_Kd asset.png\n"
    return {
        "asset.png": picture.getvalue(),
        "asset.mtl": material.encode(),
        "asset.obj": ("\n".join(lines) + "\n").encode(),
    }
