"""A mesh that is a red square."""

import torch

from sds3d.interfaces import TexturedMesh


def red_square() -> TexturedMesh:
    """A mesh that is visible only from the front."""
    corners = torch.tensor([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    faces = torch.tensor([[4, 6, 7], [4, 7, 5]])  # x = 0.5
    return TexturedMesh(corners, faces, corners, torch.full((8, 2), 0.5), torch.tensor([1.0, 0, 0]).expand(4, 4, 3))
