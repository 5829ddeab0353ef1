"""Scenes of splats, their renders, and comparisons of two renders."""

import math
from dataclasses import dataclass

import pytest
import torch

from sds3d.cameras import Cameras, turntable
from sds3d.interfaces import Splats
from sds3d.native import cpu as native
from sds3d.renderers.rasterizer import View, check_shapes

NAMES = (*Splats._fields, "backgrounds", "means2d_offsets")
needs_native = pytest.mark.skipif(native.load_library() is None, reason=str(native.status()))
needs_cuda = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


@dataclass
class Scene:
    """The splats and cameras of a test, float64."""

    means: torch.Tensor
    quats: torch.Tensor
    scales: torch.Tensor
    opacities: torch.Tensor
    colors: torch.Tensor
    cameras: Cameras


def uniform(shape, low, high, generator):
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def make_scene(num, cameras, scale=(0.02, 0.15), opacity=(0.05, 0.95), spread=0.5, seed=0):
    g = torch.Generator().manual_seed(seed)
    return Scene(
        means=uniform((num, 3), -spread, spread, g),
        quats=torch.randn(num, 4, generator=g, dtype=torch.float64),
        scales=uniform((num, 3), *scale, g),
        opacities=uniform((num,), *opacity, g),
        colors=uniform((num, 3), 0, 1, g),
        cameras=cameras,
    )


def oblong_cameras(num_views=2, width=50, height=37):
    """Views with unequal focal lengths and a principal point off the center."""
    square = turntable(num_views, 40)
    K = torch.tensor([[66.0, 0, 0.45 * width], [0, 54.0, 0.57 * height], [0, 0, 1]])
    return Cameras(square.viewmats, K.expand(num_views, 3, 3).contiguous(), width, height)


def behind_cameras(cameras):
    """The same cameras looking the other way."""
    flip = torch.diag(torch.tensor([-1.0, 1, -1, 1]))
    return Cameras(flip @ cameras.viewmats, cameras.Ks, cameras.width, cameras.height)


def needles(cameras):
    scene = make_scene(80, cameras, seed=3)
    scene.scales[:, 0] = 0.5
    scene.scales[:, 1:] *= 0.02
    return scene


def huge(cameras):
    """Splats wider than the image, some of them next to the camera or almost at it."""
    return make_scene(30, cameras, scale=(0.5, 2.0), opacity=(0.05, 0.5), spread=1.8, seed=4)


def partly_empty(cameras):
    """One view that sees everything and one that sees nothing."""
    both = zip(cameras[:1].viewmats, behind_cameras(cameras)[1:].viewmats, strict=True)
    viewmats = torch.stack([x for pair in both for x in pair])
    return make_scene(40, Cameras(viewmats, cameras.Ks, cameras.width, cameras.height), seed=15)


SCENES = {
    "typical": lambda: make_scene(150, turntable(3, 40)),
    "oblong": lambda: make_scene(120, oblong_cameras(), seed=1),
    "large tiles": lambda: make_scene(60, oblong_cameras(1, 150, 67), seed=8),
    "one splat": lambda: make_scene(1, turntable(1, 24), seed=2),
    "needles": lambda: needles(turntable(2, 40)),
    "huge": lambda: huge(turntable(2, 40)),
    "smaller than a pixel": lambda: make_scene(400, oblong_cameras(), scale=(0.001, 0.02), opacity=(0.3, 1.0), seed=26),
    "faint": lambda: make_scene(150, turntable(2, 40), opacity=(0.0, 0.02), seed=5),
    "opaque": lambda: make_scene(300, turntable(2, 40), opacity=(0.98, 1.0), seed=6),
    "behind": lambda: make_scene(20, behind_cameras(turntable(2, 24)), seed=7),
    "empty": lambda: make_scene(0, turntable(2, 24)),
    "partly empty": lambda: partly_empty(turntable(2, 24)),
}


def view_of(cameras, device="cpu", dtype=torch.float32, backgrounds=None, means2d_offsets=None, antialiased=False):
    """The views of `cameras` with `backgrounds`, by default white."""
    viewmats, Ks = cameras.viewmats.to(device, dtype), cameras.Ks.to(device, dtype)
    backgrounds = torch.ones(len(cameras), 3, device=device, dtype=dtype) if backgrounds is None else backgrounds
    size = (cameras.width, cameras.height)
    return View(viewmats, Ks, backgrounds, *size, antialiased=antialiased, means2d_offsets=means2d_offsets)


def splats_of(scene, device="cpu"):
    return Splats(*(getattr(scene, name).to(device, torch.float32) for name in Splats._fields))


def leaves_of(scene, device="cpu"):
    return Splats(*(x.requires_grad_() for x in splats_of(scene, device)))


def draw(rasterize, scene, dtype, device="cpu", offsets=True, normals=True, antialiased=False, seed=0, **options):
    """Images, gradients of their sum weighted by random cotangents, and info."""
    g = torch.Generator().manual_seed(seed)
    C, N = len(scene.cameras), len(scene.means)
    splats = (scene.means, scene.quats, scene.scales, scene.opacities, scene.colors)
    backgrounds = torch.rand(C, 3, generator=g, dtype=torch.float64)
    leaves = [x.to(device, dtype).requires_grad_() for x in (*splats, backgrounds)]
    if offsets:
        means2d_offsets = 0.3 * torch.randn(C, N, 2, generator=g, dtype=torch.float64)
        leaves.append(means2d_offsets.to(device, dtype).requires_grad_())
    view = view_of(scene.cameras, device, dtype, leaves[5], leaves[6] if offsets else None, antialiased)
    splats = Splats(*leaves[:5])
    check_shapes(splats, view)
    *images, info = rasterize(splats, view, **options)
    images = images if normals else images[:3]
    cotangents = [torch.randn(x.shape, generator=g, dtype=torch.float64).to(device, dtype) for x in images]
    # The expected depth divides by alpha, so where alpha is tiny its gradient amplifies rounding without bound.
    cotangents[2] = cotangents[2] * images[1].detach()
    gradients = torch.autograd.grad(images, leaves, cotangents, allow_unused=True)
    gradients = [torch.zeros_like(x) if v is None else v for x, v in zip(leaves, gradients, strict=True)]
    return [x.detach() for x in images], gradients, info


def flatten(drawn):
    images, gradients, info = drawn
    return [*images, *gradients, *info.values()]


def assert_same_drawing(actual, expected, image_tolerance=2e-5, gradient_tolerance=2e-4):
    """Float32 against float64: rounding of sums over some hundred splats, relative to the largest value."""
    names = ("colors", "alphas", "depths", "normals")
    for name, x, y in zip(names, actual[0], expected[0], strict=False):
        torch.testing.assert_close(x.cpu().double(), y, rtol=0, atol=image_tolerance * max(1, y.abs().max()), msg=name)
    for name, x, y in zip(NAMES, actual[1], expected[1], strict=False):
        error = (x.cpu().double() - y).norm()
        assert error <= gradient_tolerance * y.norm() + 1e-12, f"v_{name}: {error / y.norm():.2e}"
    for name in ("radii", "means2d_grad_norm"):
        x, y = actual[2][name].cpu().double(), expected[2][name]
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4 * float(y.sum() / max(1, y.numel())), msg=name)


def with_broken_splats(rasterize, device="cpu", **options):
    """Renders of a scene alone, and together with splats that have NaN or infinity."""
    scene = make_scene(24, turntable(2, 24), seed=11)
    expected = draw(rasterize, scene, torch.float32, device, offsets=False, **options)
    broken = make_scene(27, turntable(2, 24), seed=11)
    for name in NAMES[:5]:
        getattr(broken, name)[:24] = getattr(scene, name)
    broken.means[24] = math.nan
    broken.scales[25] = math.inf
    broken.opacities[26] = math.nan
    return expected, draw(rasterize, broken, torch.float32, device, offsets=False, **options)


def undrawn_splats():
    """Twelve ordinary splats, then ten that must be invisible for different reasons; the camera is at 0, along z."""
    cameras = Cameras(torch.eye(4)[None], turntable(1, 24).Ks, 24, 24)
    scene = make_scene(22, cameras, seed=27)
    scene.means[:, 2] += 2.5
    scene.means[12, 2], scene.means[13, 2], scene.means[14, 2] = 0.0, -1.0, 0.049
    scene.means[15, 0] = 50.0  # outside the image
    scene.opacities[16], scene.opacities[17] = 0.0, 0.5 / 255
    scene.means[18], scene.scales[19], scene.opacities[20] = math.nan, math.inf, math.nan
    scene.means[21] = math.inf
    return scene


def image_wide_splats(num, device):
    """`num` equal splats that touch each of the 256 x 256 tiles of an image of 4096 x 4096 pixels, and the view."""
    camera = turntable(1, 4096).to(device)
    rows = torch.tensor([[0.0, 0, 0], [100.0, 100, 100], [0.5, 0.5, 0.5]], device=device)
    means, scales, colors = (row.repeat(num, 1) for row in rows)
    quats = torch.tensor([[1.0, 0, 0, 0]], device=device).repeat(num, 1)
    splats = Splats(means, quats, scales, torch.full((num,), 0.9, device=device), colors)
    return splats, view_of(camera, device)
