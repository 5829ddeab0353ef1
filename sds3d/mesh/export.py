"""Files of a mesh; the owner of glTF's axes: y up, front +z, metres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.imaging.png import to_uint8
from sds3d.interfaces import TexturedMesh

# World x (front), y (left), z (up) become glTF z, x, y: a rotation, so nothing is mirrored.
WORLD_TO_GLTF = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])


def write_glb(mesh: TexturedMesh, path: Path) -> None:
    """One binary glTF file with normals and an unmetallic, rough base-colour material."""
    import trimesh
    from PIL import Image

    check(mesh)
    picture = Image.fromarray(to_uint8(mesh.texture))
    material = trimesh.visual.material.PBRMaterial(
        name="asset", baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=0.9
    )
    solid = trimesh.Trimesh(
        vertices=to_gltf(mesh.vertices),
        faces=mesh.faces.cpu().numpy(),
        vertex_normals=to_gltf(mesh.normals),
        visual=trimesh.visual.TextureVisuals(uv=mesh.uvs.cpu().numpy(), material=material),
        process=False,
    )
    parts: dict[str, trimesh.parent.Geometry] = {"asset": solid}
    path.write_bytes(trimesh.Scene(parts).export(file_type="glb", include_normals=True))


def read_glb(path: Path) -> TexturedMesh:
    """The mesh of a file that `write_glb` wrote, in world axes again."""
    import trimesh

    solid: Any = trimesh.load_scene(path, process=False).geometry["asset"]  # force="mesh" would make up its own normals
    picture = np.asarray(solid.visual.material.baseColorTexture.convert("RGB"), np.float32) / 255
    return TexturedMesh(
        vertices=torch.from_numpy(np.asarray(solid.vertices) @ WORLD_TO_GLTF).float(),
        faces=torch.from_numpy(np.asarray(solid.faces)).long(),
        normals=torch.from_numpy(np.asarray(solid.vertex_normals) @ WORLD_TO_GLTF).float(),
        uvs=torch.from_numpy(np.asarray(solid.visual.uv)).float(),
        texture=torch.from_numpy(picture.copy()),
    )


def to_gltf(vectors: Tensor) -> np.ndarray:
    """World vectors [N, 3] in glTF's axes, float64."""
    return vectors.cpu().double().numpy() @ WORLD_TO_GLTF.T


def check(mesh: TexturedMesh) -> None:
    """Raises UserError for what other programs cannot read: nothing at all, or numbers that are not."""
    if len(mesh.faces) == 0 or len(mesh.vertices) == 0:
        raise UserError("mesh: it has no triangles, so no file was written; raise steps, or try another seed")
    for name in ("vertices", "normals", "uvs", "texture"):
        if not torch.isfinite(getattr(mesh, name)).all():
            raise UserError(f"mesh: its {name} hold NaN or infinity, so no file was written; try another seed")
