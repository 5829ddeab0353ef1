"""Closed forms and laws that every rasterizer obeys."""

import math

import pytest
import torch

from sds3d.cameras import turntable
from sds3d.interfaces import Splats
from sds3d.renderers import constants, splat_native, splat_op, splat_reference
from sds3d.renderers.rasterizer import Rasterized, View
from tests.helpers.splat_scenes import make_scene, needs_cuda, needs_native, undrawn_splats, view_of


def rasterize_on_gpu(splats, view):
    """Our CUDA kernels with tensors of the CPU."""
    splats = Splats(*(x.cuda() for x in splats))
    view = View(*(x.cuda() if isinstance(x, torch.Tensor) else x for x in view))
    *images, info = splat_op.rasterize(splats, view)
    return Rasterized(*(x.cpu() for x in images), {name: x.cpu() for name, x in info.items()})


BACKENDS = [
    pytest.param(splat_reference.rasterize, torch.float64, 1e-12, id="reference"),
    pytest.param(splat_native.rasterize, torch.float32, 1e-5, id="native", marks=needs_native),
    pytest.param(rasterize_on_gpu, torch.float32, 1e-5, id="cuda", marks=needs_cuda),
]


def one_splat(
    rasterize, dtype, scale=0.1, opacity=0.7, distance=2.5, background=0.0, quat=(1.0, 0, 0, 0), offset=0.0, focal=30.0,
    antialiased=False,
):  # fmt: skip
    """An isotropic splat on the optical axis of a camera with odd width, so that it sits on a pixel's center."""
    viewmats = torch.eye(4, dtype=dtype)[None]
    Ks = torch.tensor([[[focal, 0, 15.5], [0, focal, 15.5], [0, 0, 1]]], dtype=dtype)
    splats = Splats(
        means=torch.tensor([[offset * distance / 30, 0, distance]], dtype=dtype),
        quats=torch.tensor([quat], dtype=dtype),
        scales=torch.as_tensor(scale, dtype=dtype).expand(1, 3),
        opacities=torch.tensor([opacity], dtype=dtype),
        colors=torch.tensor([[0.2, 0.5, 0.9]], dtype=dtype),
    )
    backgrounds = torch.full((1, 3), background, dtype=dtype)
    return rasterize(splats, View(viewmats, Ks, backgrounds, 31, 31, antialiased=antialiased))


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
def test_white_splats_on_white_give_white(rasterize, dtype, tolerance):
    """Light is conserved: the weights of the splats and of the background add up to one."""
    scene = make_scene(200, turntable(2, 33), seed=13)
    scene.colors = torch.ones(200, 3)
    splats = Splats(*(getattr(scene, name).to(dtype) for name in Splats._fields))
    colors, *_ = rasterize(splats, view_of(scene.cameras, dtype=dtype))
    torch.testing.assert_close(colors, torch.ones_like(colors), rtol=0, atol=max(tolerance, 2e-6))


@pytest.mark.parametrize("rasterize, dtype, tolerance", BACKENDS)
def test_splats_outside_of_the_view_and_faint_ones_are_invisible(rasterize, dtype, tolerance):
    for options in ({"distance": 0.049}, {"opacity": 0.99 * constants.ALPHA_MIN}, {"offset": 200.0}):
        colors, alphas, _, _, info = one_splat(rasterize, dtype, background=0.5, **options)
        assert info["radii"].item() == 0
        assert (alphas == 0).all()
        assert (colors == 0.5).all()


@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
@pytest.mark.parametrize("rasterize, dtype, tolerance", BACKENDS)
def test_invisible_splats_have_zero_gradients(rasterize, dtype, tolerance, antialiased):
    """They are on the camera's plane, behind it, outside the image, transparent, or not finite."""
    scene = undrawn_splats()
    results = []
    for count in (22, 12):  # all of them; only the twelve that are drawn
        leaves = Splats(*(getattr(scene, name)[:count].to(dtype).requires_grad_() for name in Splats._fields))
        *images, info = rasterize(leaves, view_of(scene.cameras, dtype=dtype, antialiased=antialiased))
        gradients = torch.autograd.grad(sum(x.square().sum() for x in images), leaves)
        assert (info["radii"][:, 12:] == 0).all()
        results.append((images, gradients))
    (images, gradients), (expected_images, expected_gradients) = results
    for x, y in zip(images, expected_images, strict=True):
        assert x.isfinite().all() and torch.equal(x, y)
    for x, y in zip(gradients, expected_gradients, strict=True):
        assert (x[12:] == 0).all()
        torch.testing.assert_close(x[:12], y, rtol=1e-4, atol=tolerance * float(y.abs().max()))


@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
@pytest.mark.parametrize("rasterize, dtype, tolerance", BACKENDS)
def test_degenerate_splats_have_finite_gradients(rasterize, dtype, tolerance, antialiased):
    """Points, lines, discs, splats without a rotation, opaque ones, and one on the near plane."""
    scene = make_scene(6, turntable(1, 24), seed=28)
    scene.scales[0], scene.scales[1, :2], scene.scales[2, 0] = 0.0, 0.0, 0.0
    scene.quats[3] = 0.0
    scene.opacities[4] = 1.0
    camera_to_world = torch.linalg.inv(scene.cameras.viewmats[0].double())
    scene.means[5] = camera_to_world[:3, 3] + 0.0501 * camera_to_world[:3, 2]
    leaves = Splats(*(getattr(scene, name).to(dtype).requires_grad_() for name in Splats._fields))
    *images, _ = rasterize(leaves, view_of(scene.cameras, dtype=dtype, antialiased=antialiased))
    gradients = torch.autograd.grad(sum(x.square().sum() for x in images), leaves)
    assert all(x.isfinite().all() for x in (*images, *gradients))


@pytest.mark.parametrize(
    "focal", [12.0, 30.0, 120.0]
)  # pixels; the splat's standard deviation is 0.1, 0.24, 0.96 of one
@pytest.mark.parametrize("rasterize, dtype, tolerance", BACKENDS)
def test_antialiased_splat_keeps_its_integral_at_every_resolution(rasterize, dtype, tolerance, focal):
    """The sum of alpha over the pixels is the integral of the splat's Gaussian over the image plane.

    That is 2 pi opacity (f s / z)^2, less what is cut off because it is fainter than ALPHA_MIN: 2 pi ALPHA_MIN times
    the variance. It holds for the mean over the places of the center within a pixel, here 8 x 8.
    """
    opacity, variance = 0.9, (focal * 0.02 / 2.5) ** 2
    grid = (torch.arange(8, dtype=dtype) + 0.5) / 8
    offsets = torch.cartesian_prod(grid, grid)[:, None]
    K = torch.tensor([[focal, 0, 12.0], [0, focal, 12.0], [0, 0, 1]], dtype=dtype)
    viewmats, Ks, black = (
        torch.eye(4, dtype=dtype).repeat(64, 1, 1),
        K.repeat(64, 1, 1),
        torch.zeros(64, 3, dtype=dtype),
    )
    rows = [[0, 0, 2.5]], [[1, 0, 0, 0]], [[0.02, 0.02, 0.02]], [opacity], [[1, 1, 1]]
    splats = Splats(*(torch.tensor(row, dtype=dtype) for row in rows))
    alphas = rasterize(splats, View(viewmats, Ks, black, 25, 25, antialiased=True, means2d_offsets=offsets)).alphas
    expected = 2 * math.pi * (opacity * variance - constants.ALPHA_MIN * (variance + constants.LOW_PASS))
    assert alphas.double().sum().item() / 64 == pytest.approx(expected, rel=0.005)  # the edge of the cut-off


@pytest.mark.parametrize("rasterize, dtype, tolerance", BACKENDS)
def test_antialiased_opacity_of_a_turned_ellipse(rasterize, dtype, tolerance):
    """Scales a and b in the image plane: det(cov) = (a b)^2 and det(cov + L I) = (a^2 + L)(b^2 + L), however turned."""
    quat = (math.cos(0.3), 0.0, 0.0, math.sin(0.3))  # about the optical axis
    scale = torch.tensor([[0.08, 0.01, 0.05]], dtype=dtype)
    _, alphas, _, _, _ = one_splat(rasterize, dtype, scale=scale, opacity=0.8, quat=quat, antialiased=True)
    a, b = (30 * 0.08 / 2.5) ** 2, (30 * 0.01 / 2.5) ** 2
    expected = 0.8 * math.sqrt(a * b / ((a + constants.LOW_PASS) * (b + constants.LOW_PASS)))
    assert alphas[0, 15, 15].item() == pytest.approx(expected, abs=tolerance)


def mushroom(generator):
    """A cap on a stem, of splats as in a finished scene: 0.009 to 0.056 wide, nearly opaque; float64."""
    count = 3000
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=-1)
    cap = directions[:2000] * 0.5
    cap[:, 2] = cap[:, 2].abs() + 0.1
    stem = directions[2000:] * 0.18
    stem[:, 2] = torch.rand(1000, generator=generator, dtype=torch.float64) - 0.6
    scales = 0.022 * (0.7 * torch.randn(count, 3, generator=generator, dtype=torch.float64)).exp()
    quats = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    opacities = torch.full((count,), 0.95, dtype=torch.float64)
    return Splats(torch.cat([cap, stem]), quats, scales, opacities, torch.rand(count, 3, generator=generator).double())


@needs_native
def test_coverage_of_an_object_depends_less_on_the_resolution_when_antialiased():
    """The mean alpha of the images, which is the area of the silhouette, at 64 and at 256 pixels."""
    splats = Splats(*(x.float() for x in mushroom(torch.Generator().manual_seed(0))))
    excess = {}
    for antialiased in (False, True):
        low, high = (
            splat_native.rasterize(
                splats, view_of(turntable(4, size), antialiased=antialiased), normals=False
            ).alphas.mean()
            for size in (64, 256)
        )
        excess[antialiased] = (low - high).item()
    assert abs(excess[True]) < 0.004
    assert excess[False] > 0.01  # splats that become wider than the object's details


@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
def test_reference_gradients_match_finite_differences(antialiased):
    # At 0.01 to 0.1 pixel^2, the compensation is between 0.1 and 0.5; at 0.3 to 0.5 world units, it is near 1.
    scale = (0.08, 0.2) if antialiased else (0.3, 0.5)
    scene = make_scene(4, turntable(1, 6), scale=scale, opacity=(0.4, 0.8), spread=0.25, seed=14)
    inputs = [scene.means, scene.quats, scene.scales, scene.opacities, scene.colors]

    def images(*leaves):
        view = view_of(scene.cameras, dtype=torch.float64, backgrounds=leaves[5], antialiased=antialiased)
        return splat_reference.rasterize(Splats(*leaves[:5]), view)[:4]

    backgrounds = torch.full((1, 3), 0.3, dtype=torch.float64)
    assert torch.autograd.gradcheck(images, [x.requires_grad_() for x in (*inputs, backgrounds)])
