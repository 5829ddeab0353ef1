"""A small triangle rasterizer in torch, for views and for UV space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sds3d.cameras import Cameras

CANDIDATES = 1 << 21  # pixel-triangle pairs tested at a time: bounds the memory
NEAR = 0.01  # world units; triangles that reach behind this plane are dropped, not clipped
EMPTY = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Fragments:
    """The nearest triangle of every pixel."""

    faces: Tensor  # [C, H, W] int64, -1 where nothing is hit
    barycentrics: Tensor  # [C, H, W, 3], perspective-correct, 0 where nothing is hit
    depths: Tensor  # [C, H, W] camera-space z, 0 where nothing is hit

    @property
    def mask(self) -> Tensor:
        """True where a triangle is hit, [C, H, W]."""
        return self.faces >= 0


@dataclass(frozen=True)
class Triangles:
    """Projected triangles to be drawn into images."""

    corners: Tensor  # [T, 3, 2] pixels
    depths: Tensor  # [T, 3] camera-space z of the corners, positive
    view: Tensor  # [T] index of the image that a triangle belongs to
    face: Tensor  # [T] index that its fragments report


def rasterize(vertices: Tensor, faces: Tensor, cameras: Cameras) -> Fragments:
    """The front-facing triangles of `faces` [F, 3] over `vertices` [V, 3] as seen by each camera."""
    pixels, depths = cameras.project(vertices)
    corners, corner_depths = pixels[:, faces], depths[:, faces]  # [C, F, 3, 2], [C, F, 3]
    a, b = corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    # Image y points down, so a triangle that is counter-clockwise from outside has negative area here.
    visible = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0] < 0) & (corner_depths > NEAR).all(-1)
    view, face = visible.nonzero(as_tuple=True)
    triangles = Triangles(corners[view, face], corner_depths[view, face], view, face)
    return _resolve(triangles, len(cameras), cameras.height, cameras.width)


def rasterize_uv(uvs: Tensor, faces: Tensor, size: int) -> Fragments:
    """The triangle of every texel of a `size` x `size` texture, row 0 at v = 1; one view, C = 1."""
    corners = torch.stack([uvs[:, 0], 1 - uvs[:, 1]], -1)[faces] * size
    face = torch.arange(len(faces), device=faces.device)
    triangles = Triangles(corners, torch.ones_like(corners[..., 0]), torch.zeros_like(face), face)
    return _resolve(triangles, 1, size, size)


def interpolate(values: Tensor, faces: Tensor, fragments: Fragments) -> Tensor:
    """Vertex `values` [V, K] at every pixel, [C, H, W, K]; 0 where nothing is hit."""
    corners = values[faces[fragments.faces.clamp(min=0)]]  # [C, H, W, 3, K]
    return (corners * fragments.barycentrics[..., None]).sum(-2)


def _resolve(triangles: Triangles, num_views: int, height: int, width: int) -> Fragments:
    """Depth-tested fragments; a tie goes to the lower triangle, so the result does not depend on the order of work."""
    corners = triangles.corners
    limits = torch.tensor([width, height], device=corners.device)
    low = (corners.amin(1) - 0.5).ceil().clamp(min=0)  # first and last pixel whose center can be inside
    high = torch.minimum((corners.amax(1) - 0.5).floor(), limits - 1)
    extent = (high - low + 1).amax(1)
    keys = torch.full((num_views * height * width,), EMPTY, device=corners.device)
    edges, inverse = _planes(triangles, low)
    size = 1
    while size < 2 * max(height, width):
        bucket = ((extent > size // 2) & (extent <= size) & (high >= low).all(1)).nonzero()[:, 0]
        offset_y, offset_x = (
            t.reshape(-1) for t in torch.meshgrid(*[torch.arange(size, device=corners.device)] * 2, indexing="ij")
        )
        for index in bucket.split(max(1, CANDIDATES // size**2)):
            x, y = low[index, 0, None].long() + offset_x, low[index, 1, None].long() + offset_y
            inside = (x < width) & (y < height)
            for k in range(3):
                a, b, c = edges[index, k].T[..., None]
                inside &= a * offset_x + b * offset_y + c >= 0
            tri, slot = inside.nonzero(as_tuple=True)
            chosen = index[tri]
            a, b, c = inverse[chosen].T
            depths = 1 / (a * offset_x[slot] + b * offset_y[slot] + c)
            # Positive floats sort like their bits, so one 64-bit minimum finds the nearest depth and its triangle.
            key = (depths.view(torch.int32).long() << 32) | chosen
            pixels = (triangles.view[chosen] * height + y[tri, slot]) * width + x[tri, slot]
            keys.scatter_reduce_(0, pixels, key, "amin")
        size *= 2
    return _fragments(keys.view(num_views, height, width), triangles, edges, low)


def _planes(triangles: Triangles, low: Tensor) -> tuple[Tensor, Tensor]:
    """Screen-space barycentrics [T, 3, 3] and inverse depth [T, 3] as planes (a, b, c) over pixels from `low`."""
    local = triangles.corners - (low + 0.5)[:, None]
    p, q = local.roll(-1, 1), local.roll(-2, 1)
    a, b = p[..., 1] - q[..., 1], q[..., 0] - p[..., 0]
    c = p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]
    area = c.sum(1, keepdim=True)
    area = torch.where(area.abs() < 1e-12, torch.full_like(area, torch.inf), area)  # degenerate: nothing is inside
    edges = torch.stack([a, b, c], -1) / area[..., None]
    edges[torch.isinf(area[:, 0])] = -1.0
    return edges, (edges / triangles.depths[..., None]).sum(1)


def _fragments(keys: Tensor, triangles: Triangles, edges: Tensor, low: Tensor) -> Fragments:
    """What the `keys` [C, H, W] (depth bits above, triangle below) found; `edges`, `low` as in `_planes`."""
    shape, keys = keys.shape, keys.flatten()
    _, height, width = shape
    hit = (keys != EMPTY).nonzero()[:, 0]
    chosen = keys[hit] & 0xFFFFFFFF
    x = (hit % width - low[chosen, 0])[:, None]
    y = (hit // width % height - low[chosen, 1])[:, None]
    a, b, c = edges[chosen].unbind(-1)
    weights = (a * x + b * y + c).clamp(min=0) / triangles.depths[chosen]
    total = weights.sum(1, keepdim=True)
    faces = torch.full_like(keys, -1)
    faces[hit] = triangles.face[chosen]
    barycentrics = triangles.depths.new_zeros(len(keys), 3)
    barycentrics[hit] = weights / total
    depths = triangles.depths.new_zeros(len(keys))
    depths[hit] = (keys[hit] >> 32).int().view(torch.float32)
    return Fragments(faces.view(shape), barycentrics.view(*shape, 3), depths.view(shape))
