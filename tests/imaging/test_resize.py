"""Resizing of images."""

import pytest
import torch

from sds3d.imaging.resize import resize


@pytest.mark.parametrize("before, after", [(128, 64), (96, 64), (48, 64), (64, 64)])
def test_resizing_is_bilinear_and_antialiased(before, after):
    images = torch.rand(2, 3, before, before, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(images, size=after, mode="bilinear", antialias=True)
    torch.testing.assert_close(resize(images, after), expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(resize(torch.full_like(images, 0.3), after), torch.full_like(expected, 0.3))
