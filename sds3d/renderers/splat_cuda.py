"""Gaussian splatting on CUDA by our own kernels, all views in one launch: the launches, without autograd."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_float, c_int32, c_uint32, c_void_p
from dataclasses import dataclass

import torch
from torch import Tensor

from sds3d.native import cuda as cuda_kernels
from sds3d.renderers.constants import NEAR_PLANE

MAX_SIZE = 65535  # pixels; the kernels keep pixel coordinates in 16 bits
SMALL_IMAGE = 128  # pixels; up to here tiles of 8 x 8 keep more of the GPU busy
FEW_TILES = 2048  # so few lists are sorted by larger blocks
BLOCKS = 528  # of splat_project and splat_scatter, four for each multiprocessor of an H100
MAX_SPLATS_PER_BLOCK = 4096  # beyond it, more blocks
MAX_SHARED_COUNTERS = 12288  # tiles of a view that a block counts in shared memory: 48 KB
MAX_CAPACITY = 0xFFFFFFFF  # when it is not known yet
HEADROOM = 1.5  # of the tile lists in a captured graph, over what was needed before
SPARE = 1024  # entries, and so many more
MOMENTS = {"colors": 9, "depths": 10, "normals": 13}  # enum Moment of scene.cuh: floats that a pixel adds to a splat


class Params(ctypes.Structure):
    """The argument of every kernel: struct Params of cuda_ext/splat/scene.cuh, where each field is described."""

    _fields_ = [
        *((name, c_int32) for name in ("num_splats", "num_views", "width", "height", "tile", "tiles_x", "tiles_y")),
        ("capacity", c_uint32),
        ("splats_per_block", c_int32),
        ("shared_counters", c_int32),
        ("near_plane", c_float),
        *((name, c_int32) for name in ("raw", "deterministic", "gradient_stride")),
        *(
            (name, c_void_p)
            for name in (
                "means", "quats", "scales", "opacities", "colors", "viewmats", "Ks", "backgrounds", "means2d_offsets",
                "records", "splat_normals", "radii", "cursors", "tile_starts", "keys", "status",
                "out_colors", "out_alphas", "out_depths", "out_normals", "transmittances", "lasts",
                "v_colors", "v_alphas", "v_depths", "v_normals", "gradients",
            )
        ),
        ("v_parameters", c_void_p * 5),
        ("v_means2d", c_void_p),
        ("means2d_grad_norm", c_void_p),
        ("averages", c_void_p * 5),
        ("square_averages", c_void_p * 5),
        ("learning_rates", c_void_p),
        ("steps", c_void_p),
        *((name, c_float) for name in ("beta1", "beta2", "epsilon")),
        ("stat_gradients", c_void_p),
        ("stat_counts", c_void_p),
    ]  # fmt: skip


@dataclass(frozen=True)
class View:
    """How a scene is looked at: what the kernels need beside the splats."""

    viewmats: Tensor  # [C, 4, 4]
    Ks: Tensor  # [C, 3, 3]
    backgrounds: Tensor  # [C, 3]
    width: int
    height: int
    near_plane: float = NEAR_PLANE
    offsets: Tensor | None = None  # [C, N, 2] pixels

    @property
    def tile(self) -> int:
        """Pixels along a side of a tile."""
        return 8 if max(self.width, self.height) <= SMALL_IMAGE else 16

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles in a row and in a column."""
        return -(-self.width // self.tile), -(-self.height // self.tile)


@dataclass(frozen=True)
class Drawing:
    """The images, and what the way back needs. Empty normals [0] were not drawn."""

    colors: Tensor  # [C, H, W, 3]
    alphas: Tensor  # [C, H, W, 1]
    depths: Tensor  # [C, H, W, 1]
    normals: Tensor  # [C, H, W, 3] or [0]
    radii: Tensor  # [C, N] pixels
    bins: Tensor  # [2 + T + T + 1] int32: status, what was counted, where each tile's list starts
    records: Tensor  # [C, N, 8]
    splat_normals: Tensor  # [C, N, 4] or [0]
    pixels: (
        Tensor  # [2, C, H, W] int32: the bits of the transmittance left; the position of the last splat drawn, or -1
    )
    keys: Tensor  # [M] int64, sorted in each tile

    @property
    def status(self) -> Tensor:
        """[2] int32: how many keys there are, and 1 if they were more than there was room for."""
        return self.bins[:2]

    @property
    def tile_starts(self) -> Tensor:
        """[T + 1] int32: where in `keys` the list of each tile starts, and the end of the last."""
        return self.bins[2 + (len(self.bins) - 3) // 2 :]

    def tensors(self) -> tuple[Tensor, ...]:
        """In the order of the fields."""
        return (
            self.colors, self.alphas, self.depths, self.normals, self.radii,
            self.bins, self.records, self.splat_normals, self.pixels, self.keys,
        )  # fmt: skip


def draw(splats: Sequence[Tensor], view: View, *, raw: bool, normals: bool, capacity: int | None = None) -> Drawing:
    """Draw `splats` (means, quats, scales, opacities, colors); `raw`: the last three before exp, sigmoid, sigmoid.

    With `capacity`, so many keys have room and nothing is read back from the GPU: the drawing is whole unless `status`
    says otherwise. Without, there are as many as there must be.
    """
    means = splats[0]
    C, N, H, W = len(view.viewmats), len(means), view.height, view.width
    num_tiles = C * view.tiles[0] * view.tiles[1]
    bins = torch.zeros(2 * num_tiles + 3, dtype=torch.int32, device=means.device)
    radii, records = means.new_empty(C, N), means.new_empty(C, N, 8)
    splat_normals = means.new_empty((C, N, 4) if normals else 0)
    params = _params(splats, view, raw)
    _point(params, records=records, splat_normals=splat_normals, radii=radii)
    params.status, params.cursors, params.tile_starts = _bin_pointers(bins)
    params.capacity = MAX_CAPACITY if capacity is None else capacity
    kernels = cuda_kernels.load("splat", means.device)
    per_block = min(max(C * N // BLOCKS, 1), MAX_SPLATS_PER_BLOCK)
    params.splats_per_block = -(-per_block // 256) * 256
    params.shared_counters = num_tiles // C <= MAX_SHARED_COUNTERS
    blocks = (-(-N // params.splats_per_block), C, 1)
    shared = 4 * num_tiles // C if params.shared_counters else 0
    if N:
        kernels["splat_project"](blocks, 256, params, shared)
    kernels["splat_scan"]((1, 1, 1), 1024, params)
    # The GPU counts meanwhile.
    colors, alphas, depths = (means.new_empty(C, H, W, channels) for channels in (3, 1, 1))
    image_normals = means.new_empty((C, H, W, 3) if normals else 0)
    pixels = torch.empty(2, C, H, W, dtype=torch.int32, device=means.device)
    _point(params, out_colors=colors, out_alphas=alphas, out_depths=depths, out_normals=image_normals)
    params.transmittances, params.lasts = pixels.data_ptr(), pixels.data_ptr() + 2 * pixels.numel()
    if capacity is None:
        params.capacity = capacity = int(bins[0])
    keys = torch.empty(capacity, dtype=torch.int64, device=means.device)
    params.keys = keys.data_ptr()
    if capacity:
        kernels["splat_scatter"](blocks, 256, params, shared)
        kernels["splat_sort"]((num_tiles, 1, 1), 1024 if num_tiles <= FEW_TILES else 256, params)
    blend = "splat_blend_normals" if normals else "splat_blend"
    kernels[blend]((num_tiles, 1, 1), view.tile**2, params)
    return Drawing(colors, alphas, depths, image_normals, radii, bins, records, splat_normals, pixels, keys)


def _bin_pointers(bins: Tensor) -> tuple[int, int, int]:
    """Of status, cursors and tile_starts."""
    first = bins.data_ptr()
    return first, first + 8, first + 8 + 2 * (bins.numel() - 3)


def gradients(
    splats: Sequence[Tensor],
    view: View,
    drawing: Drawing,
    cotangents: Sequence[Tensor | None],
    *,
    grad_norm: Tensor,
    deterministic: bool,
) -> tuple[list[Tensor], Tensor | None]:
    """Gradients of the five parameters and of `view.offsets`; means2d_grad_norm [N] goes into `grad_norm`.

    `cotangents` are those of colors, alphas, depths and normals; all have their layout.
    """
    params, keep = _blend_backward(splats, view, drawing, cotangents, raw=False, deterministic=deterministic)
    out = [torch.empty_like(x) for x in splats]
    v_offsets = None if view.offsets is None else torch.empty_like(view.offsets)
    params.v_parameters = (c_void_p * 5)(*map(_pointer, out))
    _point(params, v_means2d=v_offsets, means2d_grad_norm=grad_norm)
    if len(grad_norm):
        grid = (-(-len(grad_norm) // 128), 1, 1)
        cuda_kernels.load("splat", grad_norm.device)["splat_project_backward"](grid, 128, params)
    del keep
    return out, v_offsets


@dataclass(frozen=True)
class AdamState:
    """What `adam_step` reads and moves; parameters and moments in the order of `splats`."""

    averages: Sequence[Tensor]
    square_averages: Sequence[Tensor]
    learning_rates: Tensor  # [5]
    steps: Tensor  # [] float32, done so far
    betas: tuple[float, float]
    epsilon: float
    stat_gradients: Tensor  # [N] += means2d_grad_norm
    stat_counts: Tensor  # [N] += views that saw the splat
    others: Sequence[Tensor | None] = (None,) * 5  # gradients of raw parameters that do not come from the drawing


def adam_step(
    splats: Sequence[Tensor],  # raw, moved in place
    view: View,
    drawing: Drawing,
    cotangents: Sequence[Tensor | None],
    state: AdamState,
    *,
    deterministic: bool,
) -> None:
    """The way back and a step of Adam in one; nothing moves if the drawing's lists overflowed."""
    params, keep = _blend_backward(splats, view, drawing, cotangents, raw=True, deterministic=deterministic)
    params.v_parameters = (c_void_p * 5)(*map(_pointer, state.others))
    params.averages = (c_void_p * 5)(*map(_pointer, state.averages))
    params.square_averages = (c_void_p * 5)(*map(_pointer, state.square_averages))
    params.beta1, params.beta2 = state.betas
    params.epsilon = state.epsilon
    _point(
        params, learning_rates=state.learning_rates, steps=state.steps, stat_gradients=state.stat_gradients,
        stat_counts=state.stat_counts,
    )  # fmt: skip
    if len(splats[0]):
        grid = (-(-len(splats[0]) // 128), 1, 1)
        cuda_kernels.load("splat", splats[0].device)["splat_adam"](grid, 128, params)
    del keep


def _blend_backward(
    splats: Sequence[Tensor],
    view: View,
    drawing: Drawing,
    cotangents: Sequence[Tensor | None],
    *,
    raw: bool,
    deterministic: bool,
) -> tuple[Params, Tensor]:
    """Arguments for the kernels that follow, and the sums over pixels that they read."""
    v_colors, v_alphas, v_depths, v_normals = cotangents
    kind = "normals" if v_normals is not None else "depths" if v_depths is not None else "colors"
    C, N = drawing.radii.shape
    num_records = len(drawing.keys) if deterministic else C * N
    sums = splats[0].new_zeros(num_records, MOMENTS[kind])
    params = _params(splats, view, raw)
    params.capacity = len(drawing.keys)
    params.deterministic, params.gradient_stride = deterministic, MOMENTS[kind]
    _point(
        params, records=drawing.records, splat_normals=drawing.splat_normals, radii=drawing.radii, keys=drawing.keys,
        out_depths=drawing.depths, v_colors=v_colors, v_alphas=v_alphas, v_depths=v_depths, v_normals=v_normals,
        gradients=sums,
    )  # fmt: skip
    params.status, params.cursors, params.tile_starts = _bin_pointers(drawing.bins)
    first = drawing.pixels.data_ptr()
    params.transmittances, params.lasts = first, first + 2 * drawing.pixels.numel()
    name = {"colors": "splat_blend_backward", "depths": "splat_blend_backward_depth"}.get(
        kind, "splat_blend_backward_normals"
    )
    threads = view.tile**2
    shared = 4 * threads * MOMENTS[kind] if deterministic else 0
    if len(drawing.keys):
        kernel = cuda_kernels.load("splat", splats[0].device)[name]
        kernel(((drawing.bins.numel() - 3) // 2, 1, 1), threads, params, shared)
    return params, sums


def _params(splats: Sequence[Tensor], view: View, raw: bool) -> Params:
    means, quats, scales, opacities, colors = splats
    return Params(
        len(means), len(view.viewmats), view.width, view.height, view.tile, *view.tiles,
        0, 0, 0, view.near_plane, raw, 0, 0,
        means.data_ptr(), quats.data_ptr(), scales.data_ptr(), opacities.data_ptr(), colors.data_ptr(),
        view.viewmats.data_ptr(), view.Ks.data_ptr(), view.backgrounds.data_ptr(), _pointer(view.offsets),
    )  # fmt: skip


def _point(params: Params, **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        setattr(params, name, _pointer(tensor))


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
