"""Rasterizers against closed forms, laws, and the float64 reference."""

import inspect
import math
import warnings
from dataclasses import dataclass

import pytest
import torch

import sds3d
from sds3d import renderers
from sds3d.cameras import Cameras, turntable
from sds3d.config.schema import RendererConfig
from sds3d.errors import UserError
from sds3d.interfaces import Splats
from sds3d.native import cpu as native
from sds3d.native import cuda as cuda_kernels
from sds3d.renderers import constants, splat_cuda, splat_gsplat, splat_native, splat_op, splat_reference
from sds3d.renderers.rasterizer import View, check_shapes

NAMES = (*Splats._fields, "backgrounds", "means2d_offsets")
needs_native = pytest.mark.skipif(native.load_library() is None, reason=str(native.status()))
needs_cuda = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


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
    "faint": lambda: make_scene(150, turntable(2, 40), opacity=(0.0, 0.02), seed=5),
    "opaque": lambda: make_scene(300, turntable(2, 40), opacity=(0.98, 1.0), seed=6),
    "behind": lambda: make_scene(20, behind_cameras(turntable(2, 24)), seed=7),
    "empty": lambda: make_scene(0, turntable(2, 24)),
    "partly empty": lambda: partly_empty(turntable(2, 24)),
}


def view_of(cameras, device="cpu", dtype=torch.float32, backgrounds=None, means2d_offsets=None):
    """What a rasterizer is told of the cameras; in front of white, if nothing else is said."""
    viewmats, Ks = cameras.viewmats.to(device, dtype), cameras.Ks.to(device, dtype)
    backgrounds = torch.ones(len(cameras), 3, device=device, dtype=dtype) if backgrounds is None else backgrounds
    return View(viewmats, Ks, backgrounds, cameras.width, cameras.height, means2d_offsets=means2d_offsets)


def splats_of(scene, device="cpu"):
    return Splats(*(getattr(scene, name).to(device, torch.float32) for name in Splats._fields))


def leaves_of(scene, device="cpu"):
    return Splats(*(x.requires_grad_() for x in splats_of(scene, device)))


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
    view = view_of(scene.cameras, device, dtype, leaves[5], leaves[6] if offsets else None)
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


@needs_native
@pytest.mark.parametrize("use_simd", [True, False], ids=["simd", "baseline"])
@pytest.mark.parametrize("name", SCENES)
def test_native_matches_reference(name, use_simd):
    scene = SCENES[name]()
    expected = draw(splat_reference.rasterize, scene, torch.float64)
    assert_same_drawing(draw(splat_native.rasterize, scene, torch.float32, use_simd=use_simd), expected)


class TestCuda:
    """Our own kernels on a GPU."""

    pytestmark = needs_cuda

    @pytest.mark.parametrize("deterministic", [False, True], ids=["fast", "deterministic"])
    @pytest.mark.parametrize("name", SCENES)
    def test_matches_reference(self, name, deterministic):
        scene = SCENES[name]()
        expected = draw(splat_reference.rasterize, scene, torch.float64)
        actual = draw(splat_op.rasterize, scene, torch.float32, "cuda", deterministic=deterministic)
        assert_same_drawing(actual, expected, gradient_tolerance=1e-4)

    @pytest.mark.parametrize("seed", range(8))
    def test_matches_reference_on_random_scenes(self, seed):
        """Every kind of splat in one scene, in images of sizes that no tile divides."""
        g = torch.Generator().manual_seed(seed)
        width, height = torch.randint(20, 180, (2,), generator=g).tolist()
        scene = make_scene(200, oblong_cameras(3, width, height), scale=(0.005, 0.2), spread=0.9, seed=100 + seed)
        scene.scales[:40, 0] *= 10  # needles
        scene.scales[40:50] *= 20  # huge
        scene.opacities[50:90] = uniform((40,), 0, 0.01, g)
        scene.opacities[90:120] = uniform((30,), 0.99, 1, g)
        scene.means[120:130] *= 6  # some of them behind the camera
        expected = draw(splat_reference.rasterize, scene, torch.float64)
        assert_same_drawing(draw(splat_op.rasterize, scene, torch.float32, "cuda"), expected, gradient_tolerance=1e-4)

    def test_long_lists_are_sorted(self):
        """More splats on a tile than are sorted in shared memory, at depths that differ in the last bits."""
        scene = make_scene(9000, turntable(1, 8), scale=(0.05, 0.3), opacity=(0.004, 0.02), spread=0.3, seed=16)
        expected = draw(splat_reference.rasterize, scene, torch.float64, offsets=False)
        actual = draw(splat_op.rasterize, scene, torch.float32, "cuda", offsets=False)
        # Of a single faint splat, whether rounding lifts a pixel over the cut-off decides it.
        actual[2]["means2d_grad_norm"] = expected[2]["means2d_grad_norm"]
        assert_same_drawing(actual, expected, gradient_tolerance=1e-4)

    def test_lists_are_in_the_order_of_depth_and_then_of_index(self):
        scene = make_scene(20_000, turntable(2, 40), seed=17)
        scene.means[10_000:] = scene.means[:10_000]
        splats, view = splats_of(scene, "cuda"), view_of(scene.cameras, "cuda")
        drawing = splat_cuda.rasterize(splats, view, raw=False, normals=False)
        starts = drawing.tile_starts.tolist()
        assert starts[-1] == len(drawing.keys) == drawing.status[0].item() > 20_000
        for begin, end in zip(starts[:-1], starts[1:], strict=True):
            assert (drawing.keys[begin:end].diff() > 0).all()

    def test_deterministic_is_equal_bit_for_bit(self):
        scene = make_scene(3000, turntable(3, 150), scale=(0.01, 0.3), seed=9)
        first = draw(splat_op.rasterize, scene, torch.float32, "cuda", deterministic=True)
        for _ in range(3):
            again = draw(splat_op.rasterize, scene, torch.float32, "cuda", deterministic=True)
            for x, y in zip(flatten(first), flatten(again), strict=True):
                assert torch.equal(x, y)

    def test_draws_no_broken_splat(self):
        expected, actual = with_broken_splats(splat_op.rasterize, "cuda", deterministic=True)
        for x, y in zip(actual[0], expected[0], strict=True):
            assert torch.equal(x, y)
        for x, y in zip(actual[1][:5], expected[1][:5], strict=True):
            assert torch.equal(x[:24], y)

    def test_depth_and_normals_do_not_change_the_other_gradients(self):
        """Colours and alpha alone take a shorter backward kernel, with depth another one."""
        scene = make_scene(100, turntable(2, 40), seed=10)
        results = []
        for weights in ((0, 0), (1e-30, 0), (1e-30, 1e-30)):
            leaves, view = leaves_of(scene, "cuda"), view_of(scene.cameras, "cuda")
            colors, alphas, depths, normals, _ = splat_op.rasterize(leaves, view, deterministic=True)
            loss = colors.square().sum() + alphas.sum()
            loss = loss + sum(w * x.sum() for w, x in zip(weights, (depths, normals), strict=True) if w)
            results.append(torch.autograd.grad(loss, leaves))
        for other in results[1:]:
            for x, y in zip(results[0], other, strict=True):
                torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6 * float(y.abs().max()))

    def test_captured_drawing_follows_its_inputs_and_owns_up_to_overflow(self):
        scene = make_scene(500, turntable(2, 64), seed=18)
        leaves, view = leaves_of(scene, "cuda"), view_of(scene.cameras, "cuda")

        def both():
            colors, alphas, _, _, info = splat_op.rasterize(leaves, view, deterministic=True)
            return colors, *torch.autograd.grad(colors.square().sum() + alphas.sum(), leaves), info["overflow"]

        splat_op._largest.clear()
        with pytest.raises(RuntimeError, match="call it once before"), torch.cuda.graph(torch.cuda.CUDAGraph()):
            both()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            both()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = both()
        with torch.no_grad():
            leaves.means.add_(0.05)
        graph.replay()
        assert captured[-1].item() == 0
        for x, y in zip(captured[:-1], both()[:-1], strict=True):
            assert torch.equal(x, y)
        with torch.no_grad():
            leaves.scales.mul_(6)
        graph.replay()
        assert captured[-1].item() == 1
        assert all(x.isfinite().all() for x in captured[:-1])

    def test_raw_parameters_and_adam_match_autograd_and_torch(self):
        """The fused step against activations, gradients and Adam one after the other."""
        scene = make_scene(300, turntable(2, 48), seed=19)
        raw = [scene.means, scene.quats, scene.scales.log(), scene.opacities.logit(), scene.colors.logit()]
        parameters = [x.float().cuda().requires_grad_() for x in raw]
        fused = Splats(*(x.detach().clone() for x in parameters))
        view = view_of(scene.cameras, "cuda", backgrounds=torch.rand(2, 3, device="cuda"))
        rates = torch.tensor([1e-3, 2e-3, 3e-3, 4e-3, 5e-3], device="cuda")
        groups = [{"params": [x], "lr": rate} for x, rate in zip(parameters, rates, strict=True)]
        optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True, capturable=True)
        zeros = [Splats(*map(torch.zeros_like, fused)) for _ in range(2)]
        stats = [torch.zeros(300, device="cuda") for _ in range(2)]
        steps = torch.zeros((), device="cuda")
        state = splat_cuda.AdamState(*zeros, rates, steps, (0.9, 0.99), 1e-15, *stats)
        expected_stats = torch.zeros(2, 300, device="cuda")
        for _ in range(3):
            means, quats, scales, opacities, colors = parameters
            activated = Splats(means, quats, scales.exp(), opacities.sigmoid(), colors.sigmoid())
            images = splat_op.rasterize(activated, view, deterministic=True)
            optimizer.zero_grad()
            (images.colors.square().sum() + images.alphas.sum()).backward()
            optimizer.step()
            expected_stats += torch.stack([images.info["means2d_grad_norm"], (images.info["radii"] > 0).sum(0)])
            drawing = splat_cuda.rasterize(fused, view, raw=True, normals=False)
            torch.testing.assert_close(drawing.colors, images.colors.detach(), rtol=0, atol=1e-5)
            cotangents = splat_cuda.Cotangents(2 * drawing.colors, torch.ones_like(drawing.alphas))
            splat_cuda.adam_step(fused, view, drawing, cotangents, state, deterministic=True)
            steps += 1
        for x, y, rate in zip(fused, parameters, rates.tolist(), strict=True):
            # Adam's first steps have the sign of the gradient, whatever its size: next to 0, rounding decides.
            close = (x - y).abs() < 0.02 * rate
            assert close.float().mean() > 0.999
        torch.testing.assert_close(stats[0], expected_stats[0], rtol=1e-2, atol=1e-2)
        assert torch.equal(stats[1], expected_stats[1])

    def test_nothing_moves_when_the_lists_overflow(self):
        scene = make_scene(100, turntable(1, 32), seed=20)
        splats, view = splats_of(scene, "cuda"), view_of(scene.cameras, "cuda")
        needed = len(splat_cuda.rasterize(splats, view, raw=True, normals=False).keys)
        state = splat_cuda.AdamState(
            *[Splats(*map(torch.zeros_like, splats)) for _ in range(2)], torch.ones(5, device="cuda"),
            torch.zeros((), device="cuda"), (0.9, 0.99), 1e-15, *(torch.zeros(100, device="cuda") for _ in range(2)),
        )  # fmt: skip
        before = [x.clone() for x in splats]
        for capacity, moves in ((needed - 1, False), (needed, True)):
            drawing = splat_cuda.rasterize(splats, view, raw=True, normals=False, capacity=capacity)
            assert drawing.status.tolist() == [needed, 0 if moves else 1]
            cotangents = splat_cuda.Cotangents(torch.ones_like(drawing.colors))
            splat_cuda.adam_step(splats, view, drawing, cotangents, state, deterministic=False)
            assert all(torch.equal(x, y) for x, y in zip(splats, before, strict=True)) == (not moves)

    def test_operator_is_registered_completely(self):
        scene = make_scene(50, turntable(2, 24), seed=21)
        for offsets in (None, torch.zeros(2, 50, 2, device="cuda")):
            view = view_of(scene.cameras, "cuda")
            arguments = (
                *leaves_of(scene, "cuda"), view.backgrounds, offsets, view.viewmats, view.Ks, 24, 24, 0.05, True, True,
            )  # fmt: skip
            torch.library.opcheck(splat_op._operator, arguments)

    def test_compiles_without_a_break_and_says_the_same(self):
        scene = make_scene(200, turntable(2, 40), seed=22)
        cameras = scene.cameras.to("cuda")

        def loss(*splats):
            colors, alphas, depths, normals, _ = sds3d.rasterize(
                *splats, cameras.viewmats, cameras.Ks, 40, 40, backgrounds=torch.ones(2, 3, device="cuda"),
                deterministic=True,
            )  # fmt: skip
            return colors.square().mean() + alphas.mean() + depths.mean() + normals.square().mean()

        results = []
        for function in (loss, torch.compile(loss, fullgraph=True)):
            leaves = leaves_of(scene, "cuda")
            value = function(*leaves)
            results.append([value.detach(), *torch.autograd.grad(value, leaves)])
        for x, y in zip(*results, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5 * float(y.abs().max()))


@pytest.mark.cuda
@needs_cuda[1]
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
        leaves = leaves_of(scene)
        colors, alphas, depths, normals, _ = splat_native.rasterize(leaves, view_of(scene.cameras))
        loss = colors.square().sum() + alphas.sum()
        if weight is not None:
            loss = loss + weight * (depths.sum() + normals.sum())
        gradients.append(torch.autograd.grad(loss, leaves))
    for x, y in zip(*gradients, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5 * float(y.abs().max()))


@needs_native
@pytest.mark.parametrize("use_simd", [True, False], ids=["simd", "baseline"])
def test_native_without_normals_draws_the_rest_bit_for_bit(use_simd):
    scene = make_scene(300, oblong_cameras(), scale=(0.01, 0.3), seed=25)
    view = view_of(scene.cameras)
    results = []
    for normals in (True, False):
        leaves = leaves_of(scene)
        *images, image_normals, info = splat_native.rasterize(leaves, view, normals=normals, use_simd=use_simd)
        assert (image_normals is not None) == normals
        gradients = torch.autograd.grad(sum(x.square().sum() for x in images), leaves)
        results.append([*images, *gradients, *info.values()])
    for x, y in zip(*results, strict=True):
        assert torch.equal(x, y)


def with_broken_splats(rasterize, device="cpu", **options):
    """A scene drawn as it is, and beside splats with NaN or infinity."""
    scene = make_scene(24, turntable(2, 24), seed=11)
    expected = draw(rasterize, scene, torch.float32, device, offsets=False, **options)
    broken = make_scene(27, turntable(2, 24), seed=11)
    for name in NAMES[:5]:
        getattr(broken, name)[:24] = getattr(scene, name)
    broken.means[24] = math.nan
    broken.scales[25] = math.inf
    broken.opacities[26] = math.nan
    return expected, draw(rasterize, broken, torch.float32, device, offsets=False, **options)


@needs_native
def test_native_draws_no_broken_splat():
    """A splat with NaN or infinity leaves the others as they are, and its neighbours' gradients finite."""
    expected, actual = with_broken_splats(splat_native.rasterize)
    for x, y in zip(actual[0], expected[0], strict=True):
        assert torch.equal(x, y)
    for x, y in zip(actual[1][:5], expected[1][:5], strict=True):
        assert torch.equal(x[:24], y)


@needs_native
def test_native_backward_twice_and_interleaved():
    """The state of one drawing survives another drawing and a first backward."""
    scene = make_scene(60, turntable(2, 24), seed=12)
    splats, view = splats_of(scene), view_of(scene.cameras)
    means = splats.means.requires_grad_()

    def colors(shift):
        return splat_native.rasterize(splats._replace(means=means + shift), view).colors.square().sum()

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
    """An isotropic splat on the optical axis of a camera with odd width, so that it sits on a pixel's centre."""
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


def test_shapes_are_checked():
    scene = make_scene(3, turntable(1, 8))
    with pytest.raises(ValueError, match=r"quats: expected \[3, 4\] for N=3 splats and C=1 views, got \[2, 4\]"):
        scene.quats = scene.quats[:2]
        sds3d.rasterize(*splats_of(scene), scene.cameras.viewmats, scene.cameras.Ks, 8, 8)


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=needs_native), pytest.param("cuda", marks=needs_cuda)])
def test_rasterize_is_public_and_takes_what_gsplat_takes(device):
    names = list(inspect.signature(sds3d.rasterize).parameters)
    assert names[:9] == ["means", "quats", "scales", "opacities", "colors", "viewmats", "Ks", "width", "height"]
    scene = make_scene(30, turntable(2, 20), seed=23)
    splats = splats_of(scene, device)
    cameras = scene.cameras.to(device)
    colors, alphas, depths, normals, _ = sds3d.rasterize(*splats, cameras.viewmats, cameras.Ks, 20, 20)
    inputs = Splats(*(getattr(scene, name) for name in Splats._fields))
    black = torch.zeros(2, 3, dtype=torch.float64)
    expected = splat_reference.rasterize(inputs, view_of(scene.cameras, dtype=torch.float64, backgrounds=black))
    for x, y in zip((colors, alphas, depths, normals), expected[:4], strict=True):
        torch.testing.assert_close(x.cpu().double(), y, rtol=0, atol=5e-5)


class FixedSplats:
    def __init__(self, scene):
        self.scene = scene

    def activated(self):
        return splats_of(self.scene)


@pytest.mark.parametrize("backend", ["torch", pytest.param("native", marks=needs_native)])
def test_build_renderer_draws_the_scene(backend):
    scene = make_scene(20, turntable(2, 16))
    render = renderers.build_renderer(RendererConfig(backend), FixedSplats(scene), "cpu")
    drawn = render(scene.cameras, torch.zeros(2, 3))
    assert drawn.colors.shape == (2, 16, 16, 3) and drawn.normals is None
    assert drawn.alphas.shape == drawn.depths.shape == (2, 16, 16, 1)
    assert drawn.info["radii"].shape == (2, 20)
    assert drawn.info["means2d_grad_norm"].shape == (20,)


@pytest.mark.cuda
@needs_cuda[1]
@pytest.mark.parametrize("backend", ["native", "gsplat", "torch"])
def test_every_way_draws_the_same_on_a_gpu(backend, monkeypatch):
    """What `auto` falls back to where our kernels cannot be loaded, and then where gsplat is absent too."""
    if backend == "gsplat":
        pytest.importorskip("gsplat")
    scene, zeros = make_scene(40, turntable(2, 32), seed=24), torch.zeros(2, 3, device="cuda")
    splats = splats_of(scene, "cuda")
    expected = renderers.build_renderer(RendererConfig(), GivenSplats(splats), "cuda")(scene.cameras.to("cuda"), zeros)
    if backend != "native":
        missing = cuda_kernels.KernelStatus(None, "missing", "no NVRTC (test)")
        monkeypatch.setattr(cuda_kernels, "status", lambda unit, device: missing)
        monkeypatch.setattr(renderers, "_has_gsplat", lambda: backend == "gsplat")
        renderers._warn_once.cache_clear()
        with pytest.warns(UserWarning, match=r"no NVRTC \(test\)"):
            assert renderers.resolve_backend("auto", "cuda") == backend
        with pytest.raises(UserError, match=r"native is not available \(no NVRTC \(test\)\)"):
            renderers.resolve_backend("native", "cuda")
    render = renderers.build_renderer(RendererConfig(), GivenSplats(splats), "cuda")(scene.cameras.to("cuda"), zeros)
    torch.testing.assert_close(render.colors, expected.colors, rtol=0, atol=2e-4)
    torch.testing.assert_close(render.alphas, expected.alphas, rtol=0, atol=2e-4)


class GivenSplats:
    def __init__(self, splats):
        self.splats = splats

    def activated(self):
        return self.splats


def test_impossible_backends_say_why(monkeypatch):
    with pytest.raises(UserError, match="it draws on cpu and cuda, but device is meta"):
        renderers.resolve_backend("native", "meta")
    with pytest.raises(UserError, match="gsplat needs device=cuda"):
        renderers.resolve_backend("gsplat", "cpu")
    with pytest.raises(UserError, match="expected auto, native, gsplat or torch, got 'opengl'"):
        renderers.resolve_backend("opengl", "cpu")
    monkeypatch.setattr(renderers, "_has_gsplat", lambda: False)
    with pytest.raises(UserError, match="gsplat is not installed"):
        renderers.resolve_backend("gsplat", "cuda")
    monkeypatch.setattr(renderers, "_has_gsplat", lambda: True)
    with pytest.raises(UserError, match="gsplat sums in no fixed order"):
        renderers.build_renderer(RendererConfig("gsplat", deterministic=True), None, "cuda")


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
