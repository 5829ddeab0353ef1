"""Pictures of meshes in the look of the tracer, so that a prior can learn user objects and procedural ones together."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from sds3d.cameras import Cameras
from sds3d.imaging.srgb import to_srgb
from sds3d.mesh.importers.solid import Solid
from sds3d.mesh.raster import interpolate, rasterize
from sds3d.mesh.render import sample_texture, supersampled

LIGHT = (0.502, 0.301, 0.811)  # of cuda_ext/procedural/trace.h
RADIUS = 0.9  # of procedural objects, see parts.normalize


def normalize(solid: Solid) -> Solid:
    """The same triangles, their bounding box centered at 0, scaled so that the farthest vertex is at RADIUS."""
    used = solid.vertices[solid.faces.flatten()].double()
    middle = (used.amin(0) + used.amax(0)) / 2
    reach = (used - middle).norm(dim=1).max()
    return replace(solid, vertices=((solid.vertices.double() - middle) * (RADIUS / reach)).float())


def render_solid(solid: Solid, cameras: Cameras, samples: int = 2, normals: bool = False) -> Tensor:
    """Premultiplied colors and coverage [C, H, W, 4] in [0, 1]; each pixel is the mean of `samples`^2 samples.

    With `normals`, [C, H, W, 7]: three more channels, as `trace` defines them. Views are rendered one by one, which
    bounds the memory.
    """

    def render(view: Cameras) -> Tensor:
        return _layers(solid, view, normals)

    return torch.cat([supersampled(render, cameras[i : i + 1], samples) for i in range(len(cameras))])


def _layers(solid: Solid, camera: Cameras, with_normals: bool) -> Tensor:
    """Shaded color, coverage and, with `with_normals`, normal of every pixel center, [1, H, W, 4 or 7]."""
    chosen, corners = _facing_faces(solid, camera)
    if not len(chosen):
        return solid.colors.new_zeros(1, camera.height, camera.width, 7 if with_normals else 4)
    faces = torch.arange(corners.numel(), device=corners.device).view(-1, 3)
    vertices = solid.vertices[corners].flatten(0, 1)
    fragments = rasterize(vertices, faces, camera)
    face = fragments.faces[fragments.mask]  # [P] of the samples that hit a triangle
    columns = torch.cat([column[corners] for column in (solid.normals, solid.colors, solid.uvs)], 2).flatten(0, 1)
    values = interpolate(columns, faces, fragments)[fragments.mask]
    normals, colors, uvs = values.split([3, 3, 2], 1)
    normals = _facing(normals, vertices[faces[face]])
    materials = solid.materials[chosen[face]]
    shaded = _shade(_textured(solid, colors, uvs, materials), normals)
    drawn = torch.cat([shaded, torch.ones_like(shaded[:, :1]), *([normals] if with_normals else [])], 1)
    layers = drawn.new_zeros(*fragments.mask.shape, drawn.shape[1])
    layers[fragments.mask] = drawn
    return layers


def _facing_faces(solid: Solid, camera: Cameras) -> tuple[Tensor, Tensor]:
    """Which faces can cover a pixel center of the only view [T], and their corners, counterclockwise in it [T, 3].

    Both sides of a face are drawn: files seldom say which is the front. A face of a large mesh is mostly smaller than a
    pixel, so that few remain for `rasterize`.
    """
    a, b, c = solid.faces.T.contiguous()
    x, y = camera.project(solid.vertices)[0][0].T.contiguous()
    xs, ys = (x[a], x[b], x[c]), (y[a], y[b], y[c])
    covers = torch.ones_like(a, dtype=torch.bool)
    for (p, q, r), size in ((xs, camera.width), (ys, camera.height)):
        first = (torch.minimum(torch.minimum(p, q), r) - 0.5).ceil().clamp(min=0)
        last = (torch.maximum(torch.maximum(p, q), r) - 0.5).floor().clamp(max=size - 1)
        covers &= first <= last
    chosen = covers.nonzero()[:, 0]
    area = (xs[1] - xs[0]) * (ys[2] - ys[0]) - (ys[1] - ys[0]) * (xs[2] - xs[0])
    faces = solid.faces[chosen]
    # y points down, so that counterclockwise is negative
    return chosen, torch.where(area[chosen, None] > 0, faces.flip(1), faces)


def _facing(normals: Tensor, corners: Tensor) -> Tensor:
    """Unit `normals` [P, 3] flipped to the visible side of their triangles; where they are 0, the triangle's normal.

    `corners` [P, 3, 3] are counterclockwise as seen by the camera, which determines the side: in files, neither the
    order of corners nor the sign of normals is reliable.
    """
    a, b, c = corners.unbind(1)
    flat = F.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    smooth = F.normalize(normals, dim=1)
    side = (smooth * flat).sum(1, keepdim=True).sign()
    return torch.where(side == 0, flat, side * smooth)


def _textured(solid: Solid, colors: Tensor, uvs: Tensor, materials: Tensor) -> Tensor:
    """sRGB colors [P, 3] of vertex `colors` [P, 3] times the textures at `uvs` [P, 2]."""
    texels = torch.ones_like(colors)
    for index in materials.unique().tolist():
        here = materials == index
        texels[here] = sample_texture(solid.textures[index], uvs[here] % 1)
    return to_srgb((colors * texels).clamp(0, 1))


def _shade(colors: Tensor, normals: Tensor) -> Tensor:
    """Matte `colors` [P, 3] as trace.h shades them: hemisphere light and one key light, but no contact shadow."""
    key = (normals @ torch.tensor(LIGHT, device=normals.device)).clamp(min=0)
    return (colors * (0.62 + 0.14 * normals[:, 2] + 0.30 * key)[:, None]).clamp(0, 1)
