"""Preview images of a scene, and PNG encoding."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sds3d.interfaces import Renderer

BACKGROUND = 0.93  # light gray


def render_row(renderer: Renderer, device: torch.device, num_views: int = 4, resolution: int = 128) -> Tensor:
    """Views around the scene side by side, [H, num_views W, 3] in [0, 1]."""
    import torch

    from sds3d.cameras import turntable

    with torch.no_grad():
        backgrounds = torch.full((num_views, 3), BACKGROUND, device=device)
        views = renderer(turntable(num_views, resolution).to(device), backgrounds).colors
    return torch.cat(list(views), 1)


def png(image: Tensor) -> bytes:
    """A PNG file of `image` [H, W, 3] in [0, 1]."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(file, "PNG")
    return file.getvalue()


def to_uint8(image: Tensor) -> Any:
    """`image` [..., H, W, 3] in [0, 1] as uint8 numpy on the CPU."""
    return (image.clamp(0, 1) * 255).round().byte().cpu().contiguous().numpy()
