"""Density -> watertight isosurface whose silhouettes agree with the renders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from sds3d.cameras import Cameras, pixel_rays
from sds3d.errors import UserError

Density = Callable[[Tensor], Tensor]  # points [P, 3] -> [P]

EXTENT = 1.05  # half side of the cube that is searched, world units
COARSE = 40  # samples a side of the first look
HULL = 0.25  # alpha below which a pixel shows haze at most
CHUNK = 1 << 18  # points a query
SMOOTHING = 0.7  # standard deviation of the blur of the field, grid cells
SLACK = 0.02  # of silhouette IoU that is given up for a surface closer to what is seen
KEEP_VOLUME = 0.02  # components smaller than this fraction of the largest are floaters


@dataclass(frozen=True)
class Field:
    """Values on a regular grid, [X, Y, Z], the first sample at `origin` [3]."""

    values: Tensor
    origin: Tensor
    spacing: float

    def sample(self, points: Tensor) -> Tensor:
        """Trilinear values [...] at `points` [..., 3]; 0 outside."""
        span = torch.tensor(self.values.shape, device=points.device) - 1
        grid = (2 * (points - self.origin) / (self.spacing * span) - 1).flip(-1).reshape(1, 1, 1, -1, 3)
        volume = self.values[None, None]
        return F.grid_sample(volume, grid, padding_mode="zeros", align_corners=True).reshape(points.shape[:-1])


def carved_density(density: Density, alphas: Tensor, cameras: Cameras, grid: int) -> Field:
    """`density` times the visual hull of `alphas`, on a grid that fits tightly, `grid` samples along its longest side.

    Where the hull is empty the product is 0 and the density is not evaluated, so haze costs no time and does not
    change the shape.
    """
    device = alphas.device
    axis = torch.linspace(-EXTENT, EXTENT, COARSE, device=device)
    points = _positions([axis] * 3, torch.arange(COARSE**3, device=device))
    inside = points[visual_hull(points, alphas, cameras) > HULL]
    if len(inside) == 0:
        raise UserError("mesh: the scene is empty (nothing solid is visible), so there is nothing to mesh")
    margin = 2 * EXTENT / (COARSE - 1)
    low, high = inside.amin(0) - margin, inside.amax(0) + margin
    spacing = float((high - low).max()) / (grid - 1)
    counts = [int(n) for n in ((high - low) / spacing + 0.5).long() + 1]
    axes = [low[k] + spacing * torch.arange(counts[k], device=device) for k in range(3)]
    values = torch.empty(math.prod(counts), device=device)
    for start in range(0, len(values), CHUNK):
        cells = torch.arange(start, min(start + CHUNK, len(values)), device=device)
        hull = visual_hull(_positions(axes, cells), alphas, cameras)
        values[start : start + CHUNK] = torch.where(hull > HULL, hull, 0)
    for cells in _nonzero(values):
        values[cells] *= _finite(density, _positions(axes, cells))
    return Field(values.view(counts), low, spacing)


def visual_hull(points: Tensor, alphas: Tensor, cameras: Cameras) -> Tensor:
    """The second lowest of the views' `alphas` [C, H, W, 1] at each of `points` [P, 3]; [P].

    The second lowest, so that one view through a thin spot cannot drill a hole. Points outside an image count as 1.
    """
    lowest = points.new_ones(2, len(points))
    for view in range(len(cameras)):
        pixels, _ = cameras[view : view + 1].project(points)
        grid = cameras.grid(pixels[0])
        image = alphas[view, None, None, ..., 0]
        alpha = F.grid_sample(image, grid[None, None], padding_mode="border", align_corners=False).flatten()
        alpha = torch.where((grid.abs() < 1).all(1), alpha, 1)
        second = torch.minimum(lowest[1], torch.maximum(lowest[0], alpha))
        lowest = torch.stack([torch.minimum(lowest[0], alpha), second])
    return lowest[1]


def blur(field: Field) -> Field:
    """`field` after a Gaussian of SMOOTHING cells, against the grid's terraces."""
    values = ndimage.gaussian_filter(field.values.cpu().numpy(), SMOOTHING)
    return Field(torch.from_numpy(values).to(field.values), field.origin, field.spacing)


def ray_maxima(field: Field, cameras: Cameras) -> Tensor:
    """The largest value along each pixel's ray, [C, H, W]; `> t` is the silhouette of the isosurface at any t."""
    origins, directions = pixel_rays(cameras)
    upper = field.origin + field.spacing * (torch.tensor(field.values.shape, device=origins.device) - 1)
    hits = torch.stack([(field.origin - origins) / directions, (upper - origins) / directions])  # slabs
    enter, leave = hits.amin(0).amax(-1), hits.amax(0).amin(-1)
    maxima = torch.zeros_like(enter)
    crossed = enter < leave
    count = int((leave - enter).max().clamp(min=0) / field.spacing) + 1
    enter, origins, directions = enter[crossed], origins[crossed], directions[crossed]
    best = torch.zeros_like(enter)
    for k in range(count):
        points = origins + (enter + (k + 0.5) * field.spacing)[:, None] * directions
        best = torch.maximum(best, field.sample(points))
    maxima[crossed] = best
    return maxima


def best_threshold(maxima: Tensor, masks: Tensor, low: float, high: float) -> tuple[float, float]:
    """The highest threshold between `low` and `high` whose silhouettes `maxima > t` match `masks`, and its IoU.

    Both [C, H, W]; to match is to come within SLACK of the best IoU. Splats are soft: at the threshold of the best
    IoU the surface floats above what frontal views show, and colors baked from several views disagree. The highest
    that still matches lies closer to it.
    """
    candidates = torch.linspace(np.log(low), np.log(high), 64).exp().tolist()
    ious = [_iou(maxima > t, masks) for t in candidates]
    chosen = max(i for i, iou in enumerate(ious) if iou >= max(ious) - SLACK)
    return candidates[chosen], ious[chosen]


def isosurface(field: Field, level: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Watertight vertices [V, 3] in world units, faces [F, 3] counter-clockwise from outside, the components kept."""
    from skimage.measure import marching_cubes

    values = np.pad(field.values.cpu().numpy(), 1)  # so that the surface closes where it touches the border
    solid, num_kept = _solid(values > level)
    np.maximum(values, level * 1.02, out=values, where=solid)
    np.minimum(values, level * 0.98, out=values, where=~solid)
    vertices, faces, _, _ = marching_cubes(values, level, gradient_direction="ascent")
    origin = field.origin.cpu().numpy()
    return (vertices - 1) * field.spacing + origin, faces.astype(np.int64), num_kept


def _solid(inside: np.ndarray) -> tuple[np.ndarray, int]:
    """`inside` [X, Y, Z] with its voids filled and without floaters, and the number of components left.

    Plane by plane: NumPy copies what it counts, and what it takes indices from, to 64 bits.
    """
    labels, count = ndimage.label(inside)
    if count == 0:
        raise UserError("mesh: the isosurface is empty, so there is nothing to mesh")
    counts = (np.bincount(plane.ravel(), minlength=count + 1) for plane in labels)
    sizes = sum(counts, start=np.zeros(count + 1, np.int64))
    sizes[0] = 0  # outside
    kept = sizes >= max(1, KEEP_VOLUME * sizes.max())
    solid = np.stack([kept[plane] for plane in labels])
    del labels
    return ndimage.binary_fill_holes(solid), int(kept.sum())


def _iou(a: Tensor, b: Tensor) -> float:
    return float((a & b).sum() / (a | b).sum().clamp(min=1))


def _positions(axes: Sequence[Tensor], cells: Tensor) -> Tensor:
    """The points [P, 3] with flat indices `cells` [P] on the grid that three `axes` span."""
    indices = torch.unravel_index(cells, [len(axis) for axis in axes])
    return torch.stack([axis[index] for axis, index in zip(axes, indices, strict=True)], -1)


def _nonzero(values: Tensor) -> Iterator[Tensor]:
    """The indices of nonzero `values` [P], ascending, in parts of CHUNK; only those already returned may change."""
    found = torch.zeros(0, dtype=torch.int64, device=values.device)
    for start in range(0, len(values), CHUNK):
        found = torch.cat([found, start + values[start : start + CHUNK].nonzero()[:, 0]])
        if len(found) >= CHUNK:
            yield found[:CHUNK]
            found = found[CHUNK:]
    if len(found):
        yield found


@torch.no_grad()
def _finite(density: Density, points: Tensor) -> Tensor:
    values = density(points)
    if not torch.isfinite(values).all():
        raise UserError("mesh: the density holds NaN or infinity; the optimization diverged, lower its learning rates")
    return values
