"""A textured mesh as files; each format is a module in `exporters/`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, assert_never

import torch

from sds3d.errors import UserError
from sds3d.files import atomic_write
from sds3d.interfaces import TexturedMesh
from sds3d.mesh.exporters.glb import glb_files
from sds3d.mesh.exporters.obj import obj_files

MeshFormat = Literal["glb", "obj"]


def write_mesh(mesh: TexturedMesh, path: Path, format: MeshFormat) -> list[Path]:
    """The files written: `path` and, beside it under the same stem, the files that `format` needs."""
    check(mesh)
    match format:
        case "glb":
            contents = glb_files(mesh, path.stem)
        case "obj":
            contents = obj_files(mesh, path.stem)
        case _:
            assert_never(format)
    for name, content in contents.items():
        atomic_write(path.with_name(name), content)
    return [path.with_name(name) for name in contents]


def check(mesh: TexturedMesh) -> None:
    """Raises UserError for meshes that other programs cannot read: empty or non-finite."""
    if len(mesh.faces) == 0 or len(mesh.vertices) == 0:
        raise UserError("mesh: it has no triangles, so no file was written; raise steps, or try another seed")
    for name in ("vertices", "normals", "uvs", "texture"):
        if not torch.isfinite(getattr(mesh, name)).all():
            raise UserError(f"mesh: its {name} hold NaN or infinity, so no file was written; try another seed")
