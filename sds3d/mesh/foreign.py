"""Meshes that other programs wrote, as GLB, glTF or OBJ, in world axes; the files are untrusted input."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sds3d.errors import UserError
from sds3d.mesh.importers.beside import Beside, read_file
from sds3d.mesh.importers.gltf import read_gltf
from sds3d.mesh.importers.obj import read_obj
from sds3d.mesh.importers.solid import Solid

SUFFIXES = (".glb", ".gltf", ".obj")
# Mesh files that users have but that are not read; some hold no colors, others have no open reader.
OTHER_SUFFIXES = (".3mf", ".abc", ".blend", ".dae", ".fbx", ".max", ".off", ".ply", ".stl", ".usd", ".usda", ".usdc",
                  ".usdz", ".x3d")  # fmt: skip


def read_solid(name: str, files: Mapping[str, Path]) -> Solid:
    """The mesh `name` of `files`: all files, by their paths relative to a folder, that it may refer to.

    Raises UserError with the problem, without the name of the file.
    """
    data = read_file(files[name])
    beside = Beside(posixpath.dirname(name), files)
    read = read_obj if name.lower().endswith(".obj") else read_gltf
    try:
        with np.errstate(all="ignore"):  # make_solid refuses what is not finite
            return read(data, beside)
    except UserError:
        raise
    except Exception as error:  # malformed files can raise any exception
        raise UserError(f"cannot be read ({type(error).__name__}: {str(error)[:200]!r})") from error
