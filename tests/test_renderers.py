"""Rasterizers against closed forms, laws, and the float64 reference."""

import math
import warnings
from dataclasses import dataclass

import pytest
import torch

from sds3d import native, renderers
from sds3d.cameras import Cameras, turntable
from sds3d.config import RendererConfig
from sds3d.errors import UserError
from sds3d.renderers import constants, splat_gsplat, splat_native, splat_reference

NAMES = ("means", "quats", "scales", "opacities", "colors", "backgrounds", "means2d_offsets")
needs_native = pytest.mark.skipif(native.load_library() is None, reason=str(native.status()))


@dataclass
class Scene:
    """The splats of one test and where they are seen from, float64."""

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
    """Views with unequal focal lengths and a principal point off the centre."""
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
    """Splats wider than the image, some of them beside or almost at the camera."""
    return make_scene(30, cameras, scale=(0.5, 2.0), opacity=(0.05, 0.5), spread=1.8, seed=4)


SCENES = {
    "typical": lambda: make_scene(150, turntable(3, 40)),
    "oblong": lambda: make_scene(120, oblong_cameras(), seed=1),
    "large tiles": lambda: make_scene(60, oblong_cameras(1, 150, 67), seed=8),
    "one splat": lambda: make_scene(1, turntable(1, 24), seed=2),
    "needles": lambda: needles(turntable(2, 40)),
    "huge": lambda: huge(turntable(2, 40)),
    "faint": lambda: make_scene(150, turntable(2, 40), opacity=(0.0, 0.02), seed=5),
    "opaque": lambda: make_scene(300, turntable(2, 40), opacity=(0.98, 1.0), seed=6),
    "behind": lambda: make_scene(20, behind_cameras(turntable(2, 24)), seed=7),
    "empty": lambda: make_scene(0, turntable(2, 24)),
}


def draw(rasterize, scene, dtype, device="cpu", offsets=True, normals=True, seed=0, **options):
    """Images, gradients of their sum weighted by random cotangents, and info."""
    g = torch.Generator().manual_seed(seed)
    C, N = len(scene.cameras), len(scene.means)
    splats = (scene.means, scene.quats, scene.scales, scene.opacities, scene.colors)
    backgrounds = torch.rand(C, 3, generator=g, dtype=torch.float64)
    leaves = [x.to(device, dtype).requires_grad_() for x in (*splats, backgrounds)]
    if offsets:
        means2d_offsets = 0.3 * torch.randn(C, N, 2, generator=g, dtype=torch.float64)
        leaves.append(means2d_offsets.to(device, dtype).requires_grad_())
        options["means2d_offsets"] = leaves[6]
    cameras = scene.cameras
    *images, info = rasterize(
        *leaves[:5],
        cameras.viewmats.to(device, dtype),
        cameras.Ks.to(device, dtype),
        cameras.width,
        cameras.height,
        backgrounds=leaves[5],
        **options,
    )
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


@needs_native
@pytest.mark.parametrize("use_simd", [True, False], ids=["simd", "baseline"])
@pytest.mark.parametrize("name", SCENES)
def test_native_matches_reference(name, use_simd):
    scene = SCENES[name]()
    expected = draw(splat_reference.rasterize, scene, torch.float64)
    assert_same_drawing(draw(splat_native.rasterize, scene, torch.float32, use_simd=use_simd), expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", SCENES)
def test_gsplat_matches_reference(name):
    pytest.importorskip("gsplat")
    scene = SCENES[name]()
    expected = draw(splat_reference.rasterize, scene, torch.float64, offsets=False, normals=False)
    actual = draw(splat_gsplat.rasterize, scene, torch.float32, "cuda", offsets=False, normals=False)
    # It rounds radii outwards for each axis and skips nothing that counts here.
    actual[2]["radii"] = expected[2]["radii"].clone()
    assert_same_drawing(actual, expected, image_tolerance=1e-4, gradient_tolerance=2e-3)


@needs_native
@pytest.mark.parametrize("use_simd", [True, False], ids=["simd", "baseline"])
def test_native_is_bitwise_independent_of_threads(use_simd):
    scene = make_scene(700, turntable(3, 50), scale=(0.01, 0.3), seed=9)
    first = draw(splat_native.rasterize, scene, torch.float32, num_threads=1, use_simd=use_simd)
    for num_threads in (2, 2, 3, 5):
        again = draw(splat_native.rasterize, scene, torch.float32, num_threads=num_threads, use_simd=use_simd)
        for x, y in zip(flatten(first), flatten(again), strict=True):
            assert torch.equal(x, y)


@needs_native
def test_native_without_geometry_cotangents_has_the_same_gradient():
    """Colours and alpha alone take a shorter backward kernel."""
    scene = make_scene(100, turntable(2, 40), seed=10)
    gradients = []
    for weight in (None, 0.0):
        splats = [scene.means, scene.quats, scene.scales, scene.opacities, scene.colors]
        leaves = [x.float().requires_grad_() for x in splats]
        cameras = scene.cameras
        colors, alphas, depths, normals, _ = splat_native.rasterize(
            *leaves, cameras.viewmats, cameras.Ks, 40, 40, backgrounds=torch.ones(2, 3)
        )
        loss = colors.square().sum() + alphas.sum()
        if weight is not None:
            loss = loss + weight * (depths.sum() + normals.sum())
        gradients.append(torch.autograd.grad(loss, leaves))
    for x, y in zip(*gradients, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5 * float(y.abs().max()))


@needs_native
def test_native_draws_no_broken_splat():
    """A splat with NaN or infinity leaves the others as they are, and its neighbours' gradients finite."""
    scene = make_scene(24, turntable(2, 24), seed=11)
    expected = draw(splat_native.rasterize, scene, torch.float32, offsets=False)
    broken = make_scene(27, turntable(2, 24), seed=11)
    for name in ("means", "quats", "scales", "opacities", "colors"):
        getattr(broken, name)[:24] = getattr(scene, name)
    broken.means[24] = math.nan
    broken.scales[25] = math.inf
    broken.opacities[26] = math.nan
    images, gradients, _ = draw(splat_native.rasterize, broken, torch.float32, offsets=False)
    for x, y in zip(images, expected[0], strict=True):
        assert torch.equal(x, y)
    for x, y in zip(gradients[:5], expected[1][:5], strict=True):
        assert torch.equal(x[:24], y)


@needs_native
def test_native_backward_twice_and_interleaved():
    """The state of one drawing survives another drawing and a first backward."""
    scene = make_scene(60, turntable(2, 24), seed=12)
    means = scene.means.float().requires_grad_()

    def colors(shift):
        rest = (scene.quats, scene.scales, scene.opacities, scene.colors)
        cameras = scene.cameras
        drawn = splat_native.rasterize(
            means + shift,
            *(x.float() for x in rest),
            cameras.viewmats,
            cameras.Ks,
            24,
            24,
            backgrounds=torch.ones(2, 3),
        )
        return drawn[0].square().sum()

    alone = torch.autograd.grad(colors(0.0), means)[0]
    first, second = colors(0.0), colors(0.1)
    torch.autograd.grad(second, means)
    once = torch.autograd.grad(first, means, retain_graph=True)[0]
    assert torch.equal(once, torch.autograd.grad(first, means)[0])
    assert torch.equal(once, alone)


@needs_native
def test_cutoffs_are_the_same_in_python_and_cpp():
    import ctypes

    values = (ctypes.c_float * 5)()
    native.load_library().sds3d_splat_cutoffs(ctypes.byref(values))
    names = ("LOW_PASS", "ALPHA_MAX", "ALPHA_MIN", "TRANSMITTANCE_MIN", "FRUSTUM_MARGIN")
    expected = torch.tensor([getattr(constants, name) for name in names])
    assert torch.equal(torch.tensor(list(values)), expected)


BACKENDS = [
    pytest.param(splat_reference.rasterize, torch.float64, 1e-12, id="reference"),
    pytest.param(splat_native.rasterize, torch.float32, 1e-5, id="native", marks=needs_native),
]


def one_splat(rasterize, dtype, scale=0.1, opacity=0.7, distance=2.5, background=0.0, quat=(1.0, 0, 0, 0), offset=0.0):
    """An isotropic splat on the optical axis of a camera with odd width, so that it sits on a pixel's centre."""
    viewmats = torch.eye(4, dtype=dtype)[None]
    Ks = torch.tensor([[[30.0, 0, 15.5], [0, 30.0, 15.5], [0, 0, 1]]], dtype=dtype)
    scales = torch.as_tensor(scale, dtype=dtype).expand(1, 3)
    return rasterize(
        torch.tensor([[offset * distance / 30, 0, distance]], dtype=dtype),
        torch.tensor([quat], dtype=dtype),
        scales,
        torch.tensor([opacity], dtype=dtype),
        torch.tensor([[0.2, 0.5, 0.9]], dtype=dtype),
        viewmats,
        Ks,
        31,
        31,
        backgrounds=torch.full((1, 3), background, dtype=dtype),
    )


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
    splats = [x.to(dtype) for x in (scene.means, scene.quats, scene.scales, scene.opacities)]
    white = torch.ones(200, 3, dtype=dtype)
    cameras = scene.cameras
    colors, *_ = rasterize(
        *splats,
        white,
        cameras.viewmats.to(dtype),
        cameras.Ks.to(dtype),
        33,
        33,
        backgrounds=torch.ones(2, 3, dtype=dtype),
    )
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
    cameras = scene.cameras
    inputs = [scene.means, scene.quats, scene.scales, scene.opacities, scene.colors]

    def images(means, quats, scales, opacities, colors, backgrounds):
        return splat_reference.rasterize(
            means, quats, scales, opacities, colors, cameras.viewmats.double(), cameras.Ks.double(), 6, 6,
            backgrounds=backgrounds,
        )[:4]  # fmt: skip

    backgrounds = torch.full((1, 3), 0.3, dtype=torch.float64)
    assert torch.autograd.gradcheck(images, [x.requires_grad_() for x in (*inputs, backgrounds)])


def test_shapes_are_checked():
    scene = make_scene(3, turntable(1, 8))
    with pytest.raises(ValueError, match=r"quats: expected \[3, 4\] for N=3 splats and C=1 views, got \[2, 4\]"):
        scene.quats = scene.quats[:2]
        draw(splat_reference.rasterize, scene, torch.float64)


class FixedSplats:
    def __init__(self, scene):
        self.scene = scene

    def activated(self):
        s = self.scene
        return tuple(x.float() for x in (s.means, s.quats, s.scales, s.opacities, s.colors))


@pytest.mark.parametrize("backend", ["torch", pytest.param("native", marks=needs_native)])
def test_build_renderer_draws_the_scene(backend):
    scene = make_scene(20, turntable(2, 16))
    render = renderers.build_renderer(RendererConfig(backend), FixedSplats(scene), "cpu")
    drawn = render(scene.cameras, torch.zeros(2, 3))
    assert drawn.colors.shape == drawn.normals.shape == (2, 16, 16, 3)
    assert drawn.alphas.shape == drawn.depths.shape == (2, 16, 16, 1)
    assert drawn.info["radii"].shape == (2, 20)
    assert drawn.info["means2d_grad_norm"].shape == (20,)


def test_impossible_backends_say_why(monkeypatch):
    with pytest.raises(UserError, match="native draws on the cpu only"):
        renderers.resolve_backend("native", "cuda")
    with pytest.raises(UserError, match="gsplat needs device=cuda"):
        renderers.resolve_backend("gsplat", "cpu")
    with pytest.raises(UserError, match="expected auto, native, gsplat or torch, got 'opengl'"):
        renderers.resolve_backend("opengl", "cpu")
    monkeypatch.setattr(renderers, "_has_gsplat", lambda: False)
    with pytest.raises(UserError, match="gsplat is not installed"):
        renderers.resolve_backend("gsplat", "cuda")


def test_auto_falls_back_to_torch_with_one_warning(monkeypatch):
    monkeypatch.setattr(native, "load_library", lambda: None)
    monkeypatch.setattr(native, "status", lambda: native.NativeStatus(None, "missing", "no C++ compiler found (test)"))
    renderers._warn_once.cache_clear()
    with pytest.warns(UserWarning, match=r"no C\+\+ compiler found \(test\)"):
        assert renderers.resolve_backend("auto", "cpu") == "torch"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert renderers.resolve_backend("auto", "cpu") == "torch"
    with pytest.raises(UserError, match=r"no C\+\+ compiler found \(test\)"):
        renderers.resolve_backend("native", "cpu")


def test_library_is_compiled_whole_or_not_at_all(tmp_path):
    (tmp_path / "splat").mkdir()
    (tmp_path / "splat" / "broken.cpp").write_text("this is not C++")
    compiler = native.find_compiler()
    if compiler is None:
        pytest.skip("no C++ compiler")
    target = tmp_path / "cache" / native.library_name(tmp_path)
    with pytest.raises(OSError, match="failed"):
        native.compile_library(tmp_path, target, compiler)
    assert list(target.parent.iterdir()) == []


def test_library_name_follows_the_sources(tmp_path):
    (tmp_path / "splat").mkdir()
    source = tmp_path / "splat" / "a.cpp"
    source.write_text("int a;")
    before = native.library_name(tmp_path)
    source.write_text("int b;")
    assert native.library_name(tmp_path) != before
