"""Normals from depths, and what a prior that sees them is shown."""

import math

import pytest
import torch
from tiny_prior import write_tiny_prior

from sds3d.cameras import Cameras, pixel_rays, turntable
from sds3d.config import RendererConfig
from sds3d.interfaces import Render
from sds3d.normals import COVERED, depth_normals, normal_images
from sds3d.priors.pocket.prior import PocketPrior
from sds3d.renderers import build_renderer
from sds3d.targets import shown

CAMERAS = turntable(4, 48, elevation_deg=20.0)


def in_double(cameras: Cameras) -> Cameras:
    return Cameras(cameras.viewmats.double(), cameras.Ks.double(), cameras.width, cameras.height)


def camera_z(along: torch.Tensor, cameras: Cameras) -> torch.Tensor:
    """Depths [C, H, W, 1] of the points `along` [C, H, W] world units along the pixels' rays."""
    _, directions = pixel_rays(cameras)
    forward = cameras.viewmats[:, 2, :3][:, None, None]
    return (along * (directions * forward).sum(-1))[..., None]


def ball(cameras: Cameras, radius: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depths and alphas of a ball at the origin, and its normals times alpha."""
    origins, directions = pixel_rays(cameras)
    middle = (origins * directions).sum(-1)
    half = middle.square() - origins.square().sum(-1) + radius**2
    seen = half > 0
    along = torch.where(seen, -middle - half.clamp_min(0).sqrt(), 0.0)
    normals = torch.where(seen[..., None], (origins + along[..., None] * directions) / radius, 0.0)
    return camera_z(along, cameras), seen[..., None].to(along), normals


def angles_deg(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(torch.nn.functional.cosine_similarity(a, b, dim=-1).clamp(-1, 1).acos())


def test_normals_of_a_plane_are_exact_up_to_its_border():
    """Differences of points of a plane lie in it, central or one-sided; 1e-7 is the rounding of the cameras."""
    cameras = in_double(CAMERAS[:1])
    normal = torch.nn.functional.normalize(torch.tensor([0.9, 0.3, 0.4], dtype=torch.float64), dim=0)
    origins, directions = pixel_rays(cameras)
    along = (0.1 - (origins * normal).sum(-1)) / (directions * normal).sum(-1)
    alphas = torch.zeros(1, 48, 48, 1, dtype=torch.float64)
    alphas[:, 10:40, 5:30] = 0.5  # coverage is a weight
    alphas[:, 20:, 10:12] = COVERED / 2
    got = depth_normals(camera_z(along, cameras), alphas, cameras)
    covered = alphas[..., 0] >= COVERED
    torch.testing.assert_close(got[covered], (0.5 * normal).expand_as(got[covered]), atol=1e-7, rtol=0)
    assert (got[~covered] == 0).all()


def test_normals_of_a_ball():
    """In closed form, away from its rim: the error of central differences falls with the square of the pixel's size."""
    errors = []
    for resolution in (64, 128):
        cameras = in_double(turntable(4, resolution, elevation_deg=20.0))
        depths, alphas, expected = ball(cameras, 0.6)
        _, directions = pixel_rays(cameras)
        facing = -(expected * directions).sum(-1) > 0.5
        errors.append(angles_deg(depth_normals(depths, alphas, cameras), expected)[facing].max().item())
    assert errors[1] < 0.5
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


class Shell:
    """Flat solid splats on a sphere."""

    def __init__(self, radius: float, count: int) -> None:
        index = torch.arange(count) + 0.5
        z, angle = 1 - 2 * index / count, math.pi * (1 + math.sqrt(5)) * index  # a spiral that fills it evenly
        normals = torch.stack([(1 - z * z).sqrt() * angle.cos(), (1 - z * z).sqrt() * angle.sin(), z], -1)
        # turns z to the normal
        quats = torch.stack([1 + normals[:, 2], -normals[:, 1], normals[:, 0], torch.zeros(count)], -1)
        spacing = radius * math.sqrt(4 * math.pi / count)
        scales = torch.tensor([spacing, spacing, 0.1 * spacing]).expand(count, 3)
        self.splats = (radius * normals, quats, scales, torch.full((count,), 0.95), torch.full((count, 3), 0.5))

    def activated(self) -> tuple[torch.Tensor, ...]:
        return self.splats


def test_normals_of_a_rendered_shell():
    """Off by as much as the renderer's depths are too near where a surface is seen aslant.

    Those are of the splats' centres, and of overlapping splats the nearer ones are seen. It falls with their size.
    """
    cameras = turntable(4, 64, elevation_deg=20.0)
    _, _, expected = ball(cameras, 0.6)
    _, directions = pixel_rays(cameras)
    facing = -(expected * directions).sum(-1) > 0.5
    means = []
    for count in (1500, 6000):  # the latter half as large
        render = build_renderer(RendererConfig(), Shell(0.6, count), "cpu")(cameras, torch.zeros(4, 3))
        got = depth_normals(render.depths, render.alphas, cameras)
        means.append(angles_deg(got, expected)[facing].mean().item())
    assert means[0] < 8 and means[1] < 0.7 * means[0]


def test_normals_face_the_camera_whatever_the_depths_are():
    depths = torch.rand(4, 48, 48, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 5 + 0.1
    alphas = torch.rand(4, 48, 48, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cameras = in_double(CAMERAS)
    normals = depth_normals(depths, alphas, cameras)
    _, directions = pixel_rays(cameras)
    drawn = normals.norm(dim=-1) > 0
    assert drawn.float().mean() > 0.8
    torch.testing.assert_close(normals.norm(dim=-1)[drawn], alphas[..., 0][drawn])
    assert ((normals * directions).sum(-1)[drawn] < 0).all()


def test_the_gradient_is_that_of_the_formula_and_goes_to_the_depths_alone():
    """Also beside empty pixels, and for a pixel that has no neighbour in its row, where there is nothing to follow."""
    cameras = in_double(turntable(1, 6))
    depths = 2 + torch.rand(1, 6, 6, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alphas = torch.ones_like(depths)
    alphas[0, 0] = alphas[0, 3:5, 4] = alphas[0, 5, [0, 2, 4]] = 0
    depths[alphas == 0] = 0
    leaf, weights = depths.requires_grad_(), alphas.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: depth_normals(x, alphas.detach(), cameras), leaf)
    normals = depth_normals(leaf, weights, cameras)
    assert (normals[0, 5, [1, 3, 5]] == 0).all()
    loss = normals.square().sum() + normals.sum()
    of_depths, of_alphas = torch.autograd.grad(loss, (leaf, weights), allow_unused=True)
    assert of_alphas is None and torch.isfinite(of_depths).all() and (of_depths[alphas == 0] == 0).all()
    assert (of_depths != 0).sum() > 10


def test_a_prior_of_normals_is_shown_both_and_one_of_colours_the_same_as_before(tmp_path):
    depths, alphas, normals = ball(turntable(4, 128), 0.6)
    colors = torch.rand(4, 128, 128, 3, generator=torch.Generator().manual_seed(0))
    render = Render(colors, alphas, depths)
    folders = [write_tiny_prior(tmp_path / str(draws), draws) for draws in (True, False)]
    with_normals, plain = (PocketPrior(folder, torch.device("cpu")) for folder in folders)
    both, alone = (shown(prior, render, turntable(4, 128)) for prior in (with_normals, plain))
    assert both.shape == (4, 6, 64, 64) and alone.shape == (4, 3, 64, 64)
    torch.testing.assert_close(both[:, :3], alone)
    latents = with_normals.encode_images(both)
    assert latents.shape == (4, 24, 32, 32)
    assert (latents[:, 12:, 0] == 0).all()  # the first row sees nothing
    middle = both[0, 3:, 31:33, 31:33].mean((1, 2))
    expected = normal_images(normals[0, 63:65, 63:65].mean((0, 1)))
    torch.testing.assert_close(middle, expected, atol=0.01, rtol=0)  # averages over pixels four times as small
