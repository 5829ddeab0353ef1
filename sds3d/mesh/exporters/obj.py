"""Wavefront OBJ with its material and texture."""

from __future__ import annotations

from sds3d.imaging.png import png
from sds3d.interfaces import TexturedMesh
from sds3d.mesh.exporters.glb import to_gltf


def obj_files(mesh: TexturedMesh, name: str) -> dict[str, bytes]:
    """NAME.png, NAME.mtl and NAME.obj; the axes are those of glTF, y up, as OBJ readers expect."""
    vertices, normals = to_gltf(mesh.vertices), to_gltf(mesh.normals)
    lines = [f"mtllib {name}.mtl", "usemtl asset"]
    for (x, y, z), (u, v), (nx, ny, nz) in zip(vertices, mesh.uvs.tolist(), normals, strict=True):
        lines += [f"v {x:.6f} {y:.6f} {z:.6f}", f"vt {u:.6f} {v:.6f}", f"vn {nx:.4f} {ny:.4f} {nz:.4f}"]
    lines += ["f " + " ".join(f"{i}/{i}/{i}" for i in face) for face in (mesh.faces + 1).tolist()]
    material = f"newmtl asset\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nmap_Kd {name}.png\n"
    return {
        f"{name}.png": png(mesh.texture),
        f"{name}.mtl": material.encode(),
        f"{name}.obj": ("\n".join(lines) + "\n").encode(),
    }
