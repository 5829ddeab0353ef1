"""A function on a regular grid."""

import torch

from sds3d.mesh.extract import Field


def grid_field(function, size=64, extent=1.0):
    axis = torch.linspace(-extent, extent, size)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
    return Field(function(points), torch.full((3,), -extent), 2 * extent / (size - 1))
