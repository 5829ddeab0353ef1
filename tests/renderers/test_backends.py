"""The choice of a rasterizer, its public signature, and the build of the native library."""

import inspect
import warnings

import pytest
import torch

import sds3d
from sds3d import renderers
from sds3d.cameras import turntable
from sds3d.config.schema import RendererConfig
from sds3d.errors import UserError
from sds3d.interfaces import Splats
from sds3d.native import cpu as native
from sds3d.native import cuda as cuda_kernels
from sds3d.renderers import splat_reference
from tests.helpers.splat_scenes import (
    make_scene,
    needs_cuda,
    needs_native,
    splats_of,
    view_of,
)


def test_shapes_are_checked():
    scene = make_scene(3, turntable(1, 8))
    with pytest.raises(ValueError, match=r"quats: expected \[3, 4\] for N=3 splats and C=1 views, got \[2, 4\]"):
        scene.quats = scene.quats[:2]
        sds3d.rasterize(*splats_of(scene), scene.cameras.viewmats, scene.cameras.Ks, 8, 8)


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=needs_native), pytest.param("cuda", marks=needs_cuda)])
def test_rasterize_is_public_with_the_arguments_of_gsplat(device):
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


def test_an_unknown_rasterize_mode_is_an_error():
    scene = make_scene(3, turntable(1, 8))
    arguments = (*splats_of(scene), scene.cameras.viewmats, scene.cameras.Ks, 8, 8)
    with pytest.raises(ValueError, match=r"rasterize_mode: expected one of \('classic', 'antialiased'\), got 'mip'"):
        sds3d.rasterize(*arguments, rasterize_mode="mip")


@needs_native
def test_the_mode_of_the_config_is_that_of_the_images():
    scene = make_scene(40, turntable(2, 16), scale=(0.005, 0.05))
    cameras, black = scene.cameras, torch.zeros(2, 3)
    images = {}
    for mode in ("classic", "antialiased"):
        expected = sds3d.rasterize(*splats_of(scene), cameras.viewmats, cameras.Ks, 16, 16, rasterize_mode=mode)
        render = renderers.build_renderer(RendererConfig("native", rasterize_mode=mode), FixedSplats(scene), "cpu")
        images[mode] = render(cameras, black).colors
        assert torch.equal(images[mode], expected.colors)
    assert images["antialiased"].sum() < 0.9 * images["classic"].sum()


class FixedSplats:
    def __init__(self, scene):
        self.scene = scene

    def activated(self):
        return splats_of(self.scene)


@pytest.mark.parametrize("backend", ["torch", pytest.param("native", marks=needs_native)])
def test_build_renderer_renders_the_scene(backend):
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
def test_all_backends_render_the_same_on_a_gpu(backend, monkeypatch):
    """The fallback of `auto` without our kernels, and then also without gsplat."""
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


def test_errors_of_unavailable_backends_have_the_reason(monkeypatch):
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


def test_a_failed_compilation_leaves_no_library(tmp_path):
    (tmp_path / "splat").mkdir()
    (tmp_path / "splat" / "broken.cpp").write_text("this is not C++")
    compiler = native.find_compiler()
    if compiler is None:
        pytest.skip("no C++ compiler")
    target = tmp_path / "cache" / native.library_name(tmp_path)
    with pytest.raises(OSError, match="failed"):
        native.compile_library(tmp_path, target, compiler)
    assert not target.parent.exists()


def test_the_library_name_depends_on_the_sources(tmp_path):
    (tmp_path / "splat").mkdir()
    source = tmp_path / "splat" / "a.cpp"
    source.write_text("int a;")
    before = native.library_name(tmp_path)
    source.write_text("int b;")
    assert native.library_name(tmp_path) != before
