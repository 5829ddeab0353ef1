"""GLB, the binary form of glTF; the owner of glTF's axes: y up, front +z, meters."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sds3d.errors import UserError
from sds3d.files import read_regular
from sds3d.imaging.png import to_uint8
from sds3d.interfaces import TexturedMesh
from sds3d.mesh.importers.gltf_header import read_header

# World x (front), y (left), z (up) become glTF z, x, y: a rotation, so nothing is mirrored.
WORLD_TO_GLTF = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
MAX_BYTES = 1 << 30  # of a file that is read back; the largest settings make about a third of it
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
    """The mesh of a file that `write_mesh` wrote as GLB, in world axes again; UserError for any other file."""
    try:
        data = read_regular(path, MAX_BYTES)
        _check(data)
        return _read(data)
    except MemoryError:
        raise
    except Exception as error:  # the parsers of trimesh raise any exception on malformed files
        why = f"{type(error).__name__}: {str(error)[:200]}"
        raise UserError(
            f"{path}: expected a GLB file as sds3d writes it, got another or a part of one ({why})"
        ) from error


def _check(data: bytes) -> None:
    """ValueError for what trimesh would spend very long or much memory on: chains of nodes, arrays of any size."""
    header, _ = read_header(data)
    for name, most in (("nodes", 2), ("meshes", 1), ("accessors", 4)):
        if len(header.get(name, [])) > most:
            raise ValueError(f"expected at most {most} {name}, got {len(header[name])}")
    if max(accessor["count"] for accessor in header["accessors"]) > len(data):
        raise ValueError("its arrays are larger than the file")


def _read(data: bytes) -> TexturedMesh:
    import trimesh

    solid: Any
    scene = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False)  # no resolver: reads no other file
    (solid,) = scene.geometry.values()  # force="mesh" would make up its own normals
    picture = np.asarray(solid.visual.material.baseColorTexture.convert("RGB"), np.float32) / 255
    mesh = TexturedMesh(
        vertices=torch.from_numpy(np.asarray(solid.vertices) @ WORLD_TO_GLTF).float(),
        faces=torch.from_numpy(np.asarray(solid.faces)).long(),
        normals=torch.from_numpy(np.asarray(solid.vertex_normals) @ WORLD_TO_GLTF).float(),
        uvs=torch.from_numpy(np.asarray(solid.visual.uv)).float(),
        texture=torch.from_numpy(picture.copy()),
    )
    count = len(mesh.vertices)
    if not (mesh.normals.shape == (count, 3) and mesh.uvs.shape == (count, 2) and mesh.faces.ge(0).all()):
        raise ValueError("its vertices, normals and texture coordinates differ in number")
    if mesh.faces.numel() and int(mesh.faces.max()) >= count:
        raise ValueError("its triangles have corners that it lacks")
    return mesh


def to_gltf(vectors: Tensor) -> np.ndarray:
    """World vectors [N, 3] in glTF's axes, float64."""
    return vectors.cpu().double().numpy() @ WORLD_TO_GLTF.T
