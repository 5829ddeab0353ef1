"""Closed forms and laws that every rasterizer obeys."""

import math

import pytest
import torch

from sds3d.cameras import turntable
from sds3d.interfaces import Splats
from sds3d.renderers import constants, splat_native, splat_op, splat_reference
from sds3d.renderers.rasterizer import View
from tests.helpers.splat_scenes import make_scene, needs_cuda, needs_native, view_of


def rasterize_on_gpu(splats, view):
    """Our CUDA kernels with tensors of the CPU."""
    splats = Splats(*(x.cuda() for x in splats))
    view = View(*(x.cuda() if isinstance(x, torch.Tensor) else x for x in view))
    *images, info = splat_op.rasterize(splats, view)
    return *(x.cpu() for x in images), {name: x.cpu() for name, x in info.items()}


BACKENDS = [
    pytest.param(splat_reference.rasterize, torch.float64, 1e-12, id="reference"),
    pytest.param(splat_native.rasterize, torch.float32, 1e-5, id="native", marks=needs_native),
    pytest.param(rasterize_on_gpu, torch.float32, 1e-5, id="cuda", marks=needs_cuda),
]


def one_splat(rasterize, dtype, scale=0.1, opacity=0.7, distance=2.5, background=0.0, quat=(1.0, 0, 0, 0), offset=0.0):
    """An isotropic splat on the optical axis of a camera with odd width, so that it sits on a pixel's center."""
    viewmats = torch.eye(4, dtype=dtype)[None]
    Ks = torch.tensor([[[30.0, 0, 15.5], [0, 30.0, 15.5], [0, 0, 1]]], dtype=dtype)
    splats = Splats(
        means=torch.tensor([[offset * distance / 30, 0, distance]], dtype=dtype),
        quats=torch.tensor([quat], dtype=dtype),
        scales=torch.as_tensor(scale, dtype=dtype).expand(1, 3),
        opacities=torch.tensor([opacity], dtype=dtype),
        colors=torch.tensor([[0.2, 0.5, 0.9]], dtype=dtype),
    )
    return rasterize(splats, View(viewmats, Ks, torch.full((1, 3), background, dtype=dtype), 31, 31))


@pytest.mark.parametrize("rasterize, dtype, tolerance", BACKENDS)
def test_isotropic_splat_is_a_round_gaussian(rasterize, dtype, tolerance):
    colors, alphas, depths, _, info = one_splat(rasterize, dtype, scale=0.1, opacity=0.7, background=0.25)
    variance = (30 * 0.1 / 2.5) ** 2 + constants.LOW_PASS
    axis = torch.arange(31, dtype=torch.float64) - 15
    expected = 0.7 * torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * variance))
    expected[expected < constants.ALPHA_MIN] = 0
    torch.testing.assert_close(alphas[0, ..., 0].double(), expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(
        colors[0, 15, 15].double(), 0.7 * torch.tensor([0.2, 0.5, 0.9]).double() + 0.3 * 0.25, rtol=0, atol=1e-6
    )
    seen = expected > 0
    torch.testing.assert_close(
        depths[0, ..., 0].double()[seen], torch.full_like(expected[seen], 2.5), rtol=1e-4, atol=0
    )
    assert (depths[0, ..., 0][~seen] == 0).all()
    reach = math.sqrt(2 * variance * math.log(0.7 * 255))
    assert info["radii"].item() == math.ceil(reach)


@pytest.mark.parametrize("rasterize, dtype, tolerance", BACKENDS)
def test_depth_of_an_opaque_splat_is_its_z(rasterize, dtype, tolerance):
    _, alphas, depths, _, _ = one_splat(rasterize, dtype, opacity=1.0, distance=3.2)
    assert alphas[0, 15, 15].item() == pytest.approx(constants.ALPHA_MAX, abs=1e-6)
    assert depths[0, 15, 15].item() == pytest.approx(3.2, rel=tolerance)


@pytest.mark.parametrize("rasterize, dtype, tolerance", BACKENDS)
def test_normal_is_the_shortest_axis_facing_the_camera(rasterize, dtype, tolerance):
    """A disc turned by 30 degrees about the image's x axis."""
    half = math.radians(30) / 2
    quat = (math.cos(half), math.sin(half), 0.0, 0.0)
    scale = torch.tensor([[0.2, 0.2, 0.01]])
    _, alphas, _, normals, _ = one_splat(rasterize, dtype, scale=scale, opacity=1.0, quat=quat)
    direction = normals[0, 15, 15] / alphas[0, 15, 15]
    expected = torch.tensor([0, math.sin(2 * half), -math.cos(2 * half)], dtype=dtype)
    torch.testing.assert_close(direction, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rasterize, dtype, tolerance", BACKENDS)
def test_white_splats_on_white_are_white(rasterize, dtype, tolerance):
    """Light is conserved: the weights of the splats and of the background add up to one."""
    scene = make_scene(200, turntable(2, 33), seed=13)
    scene.colors = torch.ones(200, 3)
    splats = Splats(*(getattr(scene, name).to(dtype) for name in Splats._fields))
    colors, *_ = rasterize(splats, view_of(scene.cameras, dtype=dtype))
    torch.testing.assert_close(colors, torch.ones_like(colors), rtol=0, atol=max(tolerance, 2e-6))


@pytest.mark.parametrize("rasterize, dtype, tolerance", BACKENDS)
def test_near_plane_and_faint_splats_are_not_seen(rasterize, dtype, tolerance):
    for options in ({"distance": 0.049}, {"opacity": 0.99 * constants.ALPHA_MIN}, {"offset": 200.0}):
        colors, alphas, _, _, info = one_splat(rasterize, dtype, background=0.5, **options)
        assert info["radii"].item() == 0
        assert (alphas == 0).all()
        assert (colors == 0.5).all()


def test_reference_gradients_match_finite_differences():
    scene = make_scene(4, turntable(1, 6), scale=(0.3, 0.5), opacity=(0.4, 0.8), spread=0.25, seed=14)
    inputs = [scene.means, scene.quats, scene.scales, scene.opacities, scene.colors]

    def images(*leaves):
        view = view_of(scene.cameras, dtype=torch.float64, backgrounds=leaves[5])
        return splat_reference.rasterize(Splats(*leaves[:5]), view)[:4]

    backgrounds = torch.full((1, 3), 0.3, dtype=torch.float64)
    assert torch.autograd.gradcheck(images, [x.requires_grad_() for x in (*inputs, backgrounds)])
