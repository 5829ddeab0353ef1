"""The C structs of cuda_ext/api.h, and how a struct gets the addresses of tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_float, c_int32, c_void_p
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pointer(tensor: Tensor | None) -> int | None:
    """The address of a tensor's first element, None (null) without a tensor."""
    return None if tensor is None else tensor.data_ptr()


def pointers(tensors: Sequence[Tensor | None]) -> ctypes.Array:
    """The addresses of `tensors` as a C array."""
    return (c_void_p * len(tensors))(*map(pointer, tensors))


def fields(kind: type, *names: str) -> list[tuple[str, type]]:
    """Fields of one C type, for `_fields_`."""
    return [(name, kind) for name in names]


class Struct(ctypes.Structure):
    """A C struct with pointers to tensors, which must stay alive for as long as C reads them."""

    def point(self, **tensors: Tensor | None) -> None:
        """Makes each field named point to its tensor."""
        for name, tensor in tensors.items():
            setattr(self, name, pointer(tensor))


class Scene(Struct):
    """sds3d_splat_scene"""

    _fields_ = [
        *fields(c_int32, "num_splats", "num_views", "width", "height"),
        *fields(c_float, "near_plane"),
        *fields(c_int32, "antialiased"),
        *fields(c_void_p, "means", "quats", "scales", "opacities", "colors"),
        *fields(c_void_p, "viewmats", "Ks", "backgrounds", "means2d_offsets"),
    ]


class Images(Struct):
    """sds3d_splat_images"""

    _fields_ = fields(c_void_p, "colors", "alphas", "depths", "normals", "radii")


class Cotangents(Struct):
    """sds3d_splat_cotangents"""

    _fields_ = fields(c_void_p, "colors", "alphas", "depths", "normals")


class Gradients(Struct):
    """sds3d_splat_gradients"""

    _fields_ = [
        *fields(c_void_p, "means", "quats", "scales", "opacities", "colors"),
        *fields(c_void_p, "means2d", "means2d_grad_norm"),
    ]
