"""Gaussian splatting on CUDA by our own kernels, all views in one launch: the launches, without autograd."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_float, c_int32, c_uint32, c_void_p
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sds3d.interfaces import Splats
from sds3d.native import cuda as cuda_kernels
from sds3d.native.abi import Struct, fields, pointers
from sds3d.renderers.rasterizer import View

SMALL_IMAGE = 128  # pixels; images up to this size have tiles of 8 x 8, which keep more of the GPU busy
FEW_TILES = 2048  # up to this number, larger blocks sort the lists
BLOCKS = 528  # of splat_project and splat_scatter: four for each multiprocessor of an H100
MAX_SPLATS_PER_BLOCK = 4096  # more splats have more blocks
MAX_SHARED_COUNTERS = 12288  # tiles of a view that a block counts in shared memory: 48 KB
MAX_ENTRIES = 0x7FFFFFFF  # of all tile lists together, as in bin.cuh
HEADROOM = 1.5  # capacity of the tile lists in a captured graph, relative to the most entries so far
SPARE = 1024  # entries in addition
MOMENTS = {"colors": 9, "depths": 10, "normals": 13}  # enum Moment of scene.cuh: floats that a pixel adds to a splat


class Params(Struct):
    """The argument of every kernel: struct Params of cuda_ext/splat/scene.cuh, where each field is described."""

    _fields_ = [
        *fields(c_int32, "num_splats", "num_views", "width", "height", "tile", "tiles_x", "tiles_y"),
        *fields(c_uint32, "capacity"),
        *fields(c_int32, "splats_per_block", "shared_counters"),
        *fields(c_float, "near_plane"),
        *fields(c_int32, "antialiased", "raw", "deterministic", "gradient_stride"),
        *fields(c_void_p, "means", "quats", "scales", "opacities", "colors"),
        *fields(c_void_p, "viewmats", "Ks", "backgrounds", "means2d_offsets"),
        *fields(c_void_p, "records", "splat_normals", "radii", "cursors", "tile_starts", "keys", "status"),
        *fields(c_void_p, "out_colors", "out_alphas", "out_depths", "out_normals", "transmittances", "lasts"),
        *fields(c_void_p, "v_colors", "v_alphas", "v_depths", "v_normals", "gradients"),
        *fields(c_void_p * 5, "v_parameters"),
        *fields(c_void_p, "v_means2d", "means2d_grad_norm"),
        *fields(c_void_p * 5, "exp_avg", "exp_avg_sq"),
        *fields(c_void_p, "learning_rates", "steps"),
        *fields(c_float, "beta1", "beta2", "epsilon"),
        *fields(c_void_p, "stat_gradients", "stat_counts"),
    ]


def tile_size(width: int, height: int) -> int:
    """Pixels along a side of a tile."""
    return 8 if max(width, height) <= SMALL_IMAGE else 16


def tile_grid(width: int, height: int) -> tuple[int, int]:
    """Tiles in a row and in a column."""
    tile = tile_size(width, height)
    return -(-width // tile), -(-height // tile)


class Drawing(NamedTuple):
    """The images, and what the backward pass needs. Empty normals [0] were not rasterized.

    The results of the operator sds3d::splat, in the same order.
    """

    colors: Tensor  # [C, H, W, 3]
    alphas: Tensor  # [C, H, W, 1]
    depths: Tensor  # [C, H, W, 1]
    normals: Tensor  # [C, H, W, 3] or [0]
    radii: Tensor  # [C, N] pixels
    bins: Tensor  # [2 + T + T + 1] int32: status, splats counted for each tile, where each tile's list starts
    records: Tensor  # [C, N, 8]
    splat_normals: Tensor  # [C, N, 4] or [0]
    # [2, C, H, W] int32: bits of the transmittance behind all splats; position of the last splat blended, or -1
    pixels: Tensor
    keys: Tensor  # [M] int64, sorted in each tile

    @property
    def status(self) -> Tensor:
        """[2] int32: the number of keys needed, at most MAX_ENTRIES, and 1 if it exceeds the capacity."""
        return self.bins[:2]

    @property
    def tile_starts(self) -> Tensor:
        """[T + 1] int32: where in `keys` the list of each tile starts, and the end of the last."""
        return self.bins[2 + (len(self.bins) - 3) // 2 :]


class Cotangents(NamedTuple):
    """Gradients of the loss with respect to the images, contiguous, in their shapes."""

    colors: Tensor | None = None
    alphas: Tensor | None = None
    depths: Tensor | None = None
    normals: Tensor | None = None


def roomy(entries: int) -> int:
    """The capacity for later drawings of a scene whose lists now have so many `entries`."""
    return min(int(HEADROOM * entries) + SPARE, MAX_ENTRIES)


def rasterize(splats: Splats, view: View, *, raw: bool, normals: bool, capacity: int | None = None) -> Drawing:
    """The images of `splats`, and what the backward pass needs; with `raw`, the splats are raw (see interfaces.Splats).

    With `capacity`, so many keys are allocated and nothing is read back from the GPU: the drawing is complete unless
    `status` reports an overflow. Without it, the exact number is read back; MemoryError if it exceeds MAX_ENTRIES.
    """
    means = splats.means
    C, N, H, W = len(view.viewmats), len(means), view.height, view.width
    columns, rows = tile_grid(W, H)
    num_tiles = C * columns * rows
    bins = torch.zeros(2 * num_tiles + 3, dtype=torch.int32, device=means.device)
    radii, records = means.new_empty(C, N), means.new_empty(C, N, 8)
    splat_normals = means.new_empty((C, N, 4) if normals else 0)
    params = _params(splats, view, raw)
    params.point(records=records, splat_normals=splat_normals, radii=radii)
    params.status, params.cursors, params.tile_starts = _bin_pointers(bins)
    params.capacity = MAX_ENTRIES if capacity is None else capacity
    kernels = cuda_kernels.load("splat", means.device)
    per_block = min(max(C * N // BLOCKS, 1), MAX_SPLATS_PER_BLOCK)
    params.splats_per_block = -(-per_block // 256) * 256
    params.shared_counters = num_tiles // C <= MAX_SHARED_COUNTERS
    blocks = (-(-N // params.splats_per_block), C, 1)
    shared = 4 * num_tiles // C if params.shared_counters else 0
    if N:
        kernels["splat_project"](blocks, 256, params, shared)
    kernels["splat_scan"]((1, 1, 1), 1024, params)
    # Allocate while the GPU counts.
    colors, alphas, depths = (means.new_empty(C, H, W, channels) for channels in (3, 1, 1))
    image_normals = means.new_empty((C, H, W, 3) if normals else 0)
    pixels = torch.empty(2, C, H, W, dtype=torch.int32, device=means.device)
    params.point(out_colors=colors, out_alphas=alphas, out_depths=depths, out_normals=image_normals)
    params.transmittances, params.lasts = _pixel_pointers(pixels)
    if capacity is None:
        capacity, overflow = bins[:2].tolist()
        if overflow:
            raise MemoryError(
                f"rasterizing {N} splats in {C} views of {W} x {H}: over {MAX_ENTRIES} pairs of splat and tile"
            )
        params.capacity = capacity
    keys = torch.empty(capacity, dtype=torch.int64, device=means.device)
    params.keys = keys.data_ptr()
    if capacity:
        kernels["splat_scatter"](blocks, 256, params, shared)
        kernels["splat_sort"]((num_tiles, 1, 1), 1024 if num_tiles <= FEW_TILES else 256, params)
    blend = "splat_blend_normals" if normals else "splat_blend"
    kernels[blend]((num_tiles, 1, 1), params.tile**2, params)
    return Drawing(colors, alphas, depths, image_normals, radii, bins, records, splat_normals, pixels, keys)


def gradients(
    splats: Splats, view: View, drawing: Drawing, cotangents: Cotangents, *, grad_norm: Tensor, deterministic: bool
) -> tuple[Splats, Tensor | None]:
    """Gradients of the splats and of `view.means2d_offsets`; means2d_grad_norm [N] goes into `grad_norm`."""
    params, sums = _blend_backward(splats, view, drawing, cotangents, raw=False, deterministic=deterministic)
    out = Splats(*map(torch.empty_like, splats))
    v_offsets = None if view.means2d_offsets is None else torch.empty_like(view.means2d_offsets)
    params.v_parameters = pointers(out)
    params.point(v_means2d=v_offsets, means2d_grad_norm=grad_norm)
    if len(grad_norm):
        grid = (-(-len(grad_norm) // 128), 1, 1)
        cuda_kernels.load("splat", grad_norm.device)["splat_project_backward"](grid, 128, params)
    del sums  # only now: the kernel reads them
    return out, v_offsets


@dataclass(frozen=True)
class AdamState:
    """What `adam_step` reads and updates; all `Splats` are those of raw parameters."""

    exp_avg: Splats
    exp_avg_sq: Splats
    learning_rates: Tensor  # [5]
    steps: Tensor  # [] float32, done so far
    betas: tuple[float, float]
    epsilon: float
    stat_gradients: Tensor  # [N] += means2d_grad_norm
    stat_counts: Tensor  # [N] += views that saw the splat
    others: Sequence[Tensor | None] = (None,) * 5  # gradients of loss terms that do not depend on the images


def adam_step(
    splats: Splats,  # raw, updated in place
    view: View,
    drawing: Drawing,
    cotangents: Cotangents,
    state: AdamState,
    *,
    deterministic: bool,
) -> None:
    """The backward pass and a step of Adam in one; nothing changes if the drawing's lists overflowed."""
    params, sums = _blend_backward(splats, view, drawing, cotangents, raw=True, deterministic=deterministic)
    params.v_parameters = pointers(state.others)
    params.exp_avg = pointers(state.exp_avg)
    params.exp_avg_sq = pointers(state.exp_avg_sq)
    params.beta1, params.beta2 = state.betas
    params.epsilon = state.epsilon
    params.point(
        learning_rates=state.learning_rates, steps=state.steps, stat_gradients=state.stat_gradients,
        stat_counts=state.stat_counts,
    )  # fmt: skip
    if len(splats.means):
        grid = (-(-len(splats.means) // 128), 1, 1)
        cuda_kernels.load("splat", splats.means.device)["splat_adam"](grid, 128, params)
    del sums  # only now: the kernel reads them


def _blend_backward(
    splats: Splats, view: View, drawing: Drawing, cotangents: Cotangents, *, raw: bool, deterministic: bool
) -> tuple[Params, Tensor]:
    """The arguments of the kernels that follow, and the sums over pixels that they read."""
    means = splats.means
    kind = "normals" if cotangents.normals is not None else "depths" if cotangents.depths is not None else "colors"
    C, N = drawing.radii.shape
    num_records = len(drawing.keys) if deterministic else C * N
    sums = means.new_zeros(num_records, MOMENTS[kind])
    params = _params(splats, view, raw)
    params.capacity = len(drawing.keys)
    params.deterministic, params.gradient_stride = deterministic, MOMENTS[kind]
    params.point(
        records=drawing.records, splat_normals=drawing.splat_normals, radii=drawing.radii, keys=drawing.keys,
        out_depths=drawing.depths, v_colors=cotangents.colors, v_alphas=cotangents.alphas, v_depths=cotangents.depths,
        v_normals=cotangents.normals, gradients=sums,
    )  # fmt: skip
    params.status, params.cursors, params.tile_starts = _bin_pointers(drawing.bins)
    params.transmittances, params.lasts = _pixel_pointers(drawing.pixels)
    name = {"colors": "splat_blend_backward", "depths": "splat_blend_backward_depth"}.get(
        kind, "splat_blend_backward_normals"
    )
    threads = params.tile**2
    shared = 4 * threads * MOMENTS[kind] if deterministic else 0
    if len(drawing.keys):
        kernel = cuda_kernels.load("splat", means.device)[name]
        kernel(((drawing.bins.numel() - 3) // 2, 1, 1), threads, params, shared)
    return params, sums


def _params(splats: Splats, view: View, raw: bool) -> Params:
    size = (view.width, view.height)
    params = Params(
        len(splats.means), len(view.viewmats), *size, tile_size(*size), *tile_grid(*size), near_plane=view.near_plane,
        antialiased=view.antialiased, raw=raw,
    )  # fmt: skip
    params.point(**splats._asdict(), viewmats=view.viewmats, Ks=view.Ks)
    params.point(backgrounds=view.backgrounds, means2d_offsets=view.means2d_offsets)
    return params


def _bin_pointers(bins: Tensor) -> tuple[int, int, int]:
    """Addresses of status, cursors and tile_starts."""
    first = bins.data_ptr()
    return first, first + 8, first + 8 + 2 * (bins.numel() - 3)


def _pixel_pointers(pixels: Tensor) -> tuple[int, int]:
    """Addresses of transmittances and lasts."""
    first = pixels.data_ptr()
    return first, first + 2 * pixels.numel()
