"""Our CUDA kernels against the float64 reference, in graphs, in torch.compile and with broken input."""

import pytest
import torch

import sds3d
from sds3d.cameras import turntable
from sds3d.interfaces import Splats
from sds3d.renderers import splat_cuda, splat_op, splat_reference
from tests.helpers.splat_scenes import (
    SCENES,
    assert_same_drawing,
    draw,
    flatten,
    image_wide_splats,
    leaves_of,
    make_scene,
    needs_cuda,
    oblong_cameras,
    splats_of,
    uniform,
    view_of,
    with_broken_splats,
)


class TestCuda:
    """Our kernels on a GPU."""

    pytestmark = needs_cuda

    @pytest.mark.parametrize("deterministic", [False, True], ids=["fast", "deterministic"])
    @pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
    @pytest.mark.parametrize("name", SCENES)
    def test_matches_reference(self, name, antialiased, deterministic):
        scene, options = SCENES[name](), {"antialiased": antialiased}
        expected = draw(splat_reference.rasterize, scene, torch.float64, **options)
        actual = draw(splat_op.rasterize, scene, torch.float32, "cuda", deterministic=deterministic, **options)
        assert_same_drawing(actual, expected, gradient_tolerance=1e-4)

    @pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
    @pytest.mark.parametrize("seed", range(8))
    def test_matches_reference_on_random_scenes(self, seed, antialiased):
        """All kinds of splats in one scene, with image sizes that are not multiples of a tile."""
        g = torch.Generator().manual_seed(seed)
        width, height = torch.randint(20, 180, (2,), generator=g).tolist()
        scene = make_scene(200, oblong_cameras(3, width, height), scale=(0.005, 0.2), spread=0.9, seed=100 + seed)
        scene.scales[:40, 0] *= 10  # needles
        scene.scales[40:50] *= 20  # huge
        scene.opacities[50:90] = uniform((40,), 0, 0.01, g)
        scene.opacities[90:120] = uniform((30,), 0.99, 1, g)
        scene.means[120:130] *= 6  # some of them behind the camera
        expected = draw(splat_reference.rasterize, scene, torch.float64, antialiased=antialiased)
        actual = draw(splat_op.rasterize, scene, torch.float32, "cuda", antialiased=antialiased)
        assert_same_drawing(actual, expected, gradient_tolerance=1e-4)

    def test_long_lists_are_sorted(self):
        """More splats on a tile than are sorted in shared memory, at depths that differ in the last bits."""
        scene = make_scene(9000, turntable(1, 8), scale=(0.05, 0.3), opacity=(0.004, 0.02), spread=0.3, seed=16)
        expected = draw(splat_reference.rasterize, scene, torch.float64, offsets=False)
        actual = draw(splat_op.rasterize, scene, torch.float32, "cuda", offsets=False)
        # Of a single faint splat, whether rounding lifts a pixel over the cut-off decides it.
        actual[2]["means2d_grad_norm"] = expected[2]["means2d_grad_norm"]
        assert_same_drawing(actual, expected, gradient_tolerance=1e-4)

    def test_lists_are_sorted_by_depth_and_then_by_index(self):
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

    def test_nonfinite_splats_are_invisible(self):
        expected, actual = with_broken_splats(splat_op.rasterize, "cuda", deterministic=True)
        for x, y in zip(actual[0], expected[0], strict=True):
            assert torch.equal(x, y)
        for x, y in zip(actual[1][:5], expected[1][:5], strict=True):
            assert torch.equal(x[:24], y)

    def test_depth_and_normals_do_not_change_the_other_gradients(self):
        """Colors and alpha alone take a shorter backward kernel, with depth another one."""
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

    def test_a_captured_render_uses_its_inputs_and_reports_overflow(self):
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

    @pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
    def test_raw_parameters_and_adam_match_autograd_and_torch(self, antialiased):
        """The fused step equals separate activations, gradients and Adam."""
        scene = make_scene(300, turntable(2, 48), seed=19)
        raw = [scene.means, scene.quats, scene.scales.log(), scene.opacities.logit(), scene.colors.logit()]
        parameters = [x.float().cuda().requires_grad_() for x in raw]
        fused = Splats(*(x.detach().clone() for x in parameters))
        backgrounds = torch.rand(2, 3, device="cuda")
        view = view_of(scene.cameras, "cuda", backgrounds=backgrounds, antialiased=antialiased)
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

    @pytest.mark.parametrize("num", [40_000, 2**16 + 1], ids=["beyond 2^31", "beyond 2^32"])
    def test_more_than_2_to_31_pairs_of_splat_and_tile_are_reported(self, num):
        """On 2^16 tiles each; counts that wrap around would be negative, or 2^16."""
        splats, view = image_wide_splats(num, "cuda")
        with pytest.raises(MemoryError, match=f"rasterizing {num} splats in 1 views of 4096 x 4096"):
            splat_cuda.rasterize(splats, view, raw=False, normals=False)
        drawing = splat_cuda.rasterize(splats, view, raw=False, normals=False, capacity=1000)
        assert drawing.status.tolist() == [splat_cuda.MAX_ENTRIES, 1]
        starts = drawing.tile_starts
        assert (starts.diff() >= 0).all() and starts[:2].tolist() == [0, num] and starts[-1] == splat_cuda.MAX_ENTRIES
        assert all(x.isfinite().all() for x in (drawing.colors, drawing.alphas, drawing.depths))

    def test_an_overflow_of_the_lists_changes_nothing(self):
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

    def test_the_operator_passes_opcheck(self):
        scene = make_scene(50, turntable(2, 24), seed=21)
        for offsets in (None, torch.zeros(2, 50, 2, device="cuda")):
            view = view_of(scene.cameras, "cuda")
            arguments = (
                *leaves_of(scene, "cuda"), view.backgrounds, offsets, view.viewmats, view.Ks, 24, 24, 0.05,
                True, True, True,
            )  # fmt: skip
            torch.library.opcheck(splat_op._operator, arguments)

    def test_torch_compile_has_no_graph_break_and_equal_results(self):
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
