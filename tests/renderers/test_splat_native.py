"""The native CPU rasterizer and gsplat against the float64 reference."""

import pytest
import torch

from sds3d.cameras import turntable
from sds3d.native import cpu as native
from sds3d.renderers import constants, splat_gsplat, splat_native, splat_reference
from tests.helpers.splat_scenes import (
    SCENES,
    assert_same_drawing,
    draw,
    flatten,
    image_wide_splats,
    leaves_of,
    make_scene,
    needs_cuda,
    needs_native,
    oblong_cameras,
    splats_of,
    view_of,
    with_broken_splats,
)


@needs_native
@pytest.mark.parametrize("use_simd", [True, False], ids=["simd", "baseline"])
@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
@pytest.mark.parametrize("name", SCENES)
def test_native_matches_reference(name, antialiased, use_simd):
    scene = SCENES[name]()
    expected = draw(splat_reference.rasterize, scene, torch.float64, antialiased=antialiased)
    actual = draw(splat_native.rasterize, scene, torch.float32, antialiased=antialiased, use_simd=use_simd)
    assert_same_drawing(actual, expected)


@pytest.mark.cuda
@needs_cuda[1]
@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
@pytest.mark.parametrize("name", SCENES)
def test_gsplat_matches_reference(name, antialiased):
    pytest.importorskip("gsplat")
    if name == "needles" and antialiased:
        # Its compensation subtracts two nearly equal products in float32: colors of needles are off by 0.004.
        pytest.skip("gsplat loses the determinant of needles to rounding")
    scene, options = SCENES[name](), {"offsets": False, "normals": False, "antialiased": antialiased}
    expected = draw(splat_reference.rasterize, scene, torch.float64, **options)
    actual = draw(splat_gsplat.rasterize, scene, torch.float32, "cuda", **options)
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
    """Colors and alpha alone take a shorter backward kernel."""
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
def test_native_without_normals_renders_the_other_images_bit_for_bit(use_simd):
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


@needs_native
def test_nonfinite_splats_are_invisible_in_native():
    """A splat with NaN or infinity does not change the others, whose gradients are finite."""
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
def test_more_than_2_to_32_pairs_of_splat_and_tile_are_a_memory_error():
    """2^16 + 1 splats on each of 2^16 tiles; a count of their pairs that wraps around would be 2^16."""
    splats, view = image_wide_splats(2**16 + 1, "cpu")
    with pytest.raises(MemoryError, match="rasterizing 65537 splats in 1 views of 4096 x 4096"):
        splat_native.rasterize(splats, view, normals=False)


@needs_native
def test_cutoffs_are_the_same_in_python_and_cpp():
    import ctypes

    values = (ctypes.c_float * 5)()
    native.load_library().sds3d_splat_cutoffs(ctypes.byref(values))
    names = ("LOW_PASS", "ALPHA_MAX", "ALPHA_MIN", "TRANSMITTANCE_MIN", "FRUSTUM_MARGIN")
    expected = torch.tensor([getattr(constants, name) for name in names])
    assert torch.equal(torch.tensor(list(values)), expected)
