"""GLB, the binary form of glTF; the owner of glTF's axes: y up, front +z, meters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sds3d.imaging.png import to_uint8
from sds3d.interfaces import TexturedMesh

# World x (front), y (left), z (up) become glTF z, x, y: a rotation, so nothing is mirrored.
WORLD_TO_GLTF = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
METALLIC, ROUGHNESS = 0.0, 0.9  # of the material: the scene says nothing about them


def glb_files(mesh: TexturedMesh, name: str) -> dict[str, bytes]:
    """NAME.glb: the mesh with its normals and a nonmetallic, rough material that has the base-color texture."""
    import trimesh
    from PIL import Image

    picture = Image.fromarray(to_uint8(mesh.texture))
    material = trimesh.visual.material.PBRMaterial(
        name="asset", baseColorTexture=picture, metallicFactor=METALLIC, roughnessFactor=ROUGHNESS
    )
    solid = trimesh.Trimesh(
        vertices=to_gltf(mesh.vertices),
        faces=mesh.faces.cpu().numpy(),
        vertex_normals=to_gltf(mesh.normals),
        visual=trimesh.visual.TextureVisuals(uv=mesh.uvs.cpu().numpy(), material=material),
        process=False,
    )
    parts: dict[str, trimesh.parent.Geometry] = {"asset": solid}
    return {f"{name}.glb": trimesh.Scene(parts).export(file_type="glb", include_normals=True)}


def read_glb(path: Path) -> TexturedMesh:
    """The mesh of a file that `write_mesh` wrote as GLB, in world axes again."""
    import trimesh

    solid: Any
    (solid,) = trimesh.load_scene(path, process=False).geometry.values()  # force="mesh" would make up its own normals
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
