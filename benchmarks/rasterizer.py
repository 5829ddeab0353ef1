"""Times of the Gaussian rasterizers: forward, and forward + backward from parameters to parameter gradients.

python -m benchmarks.rasterizer [--device cpu|cuda] [--repeats 30] [--reference]

On a CPU, this measures the native library with one thread and with all threads, rendering colors and alpha. On a GPU,
it compares our kernels with gsplat in the same process, rendering colors, alpha and depth. Our kernels run eagerly and
as a CUDA graph ("captured").
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.clock import clock, durations
from sds3d.cameras import Cameras, turntable
from sds3d.interfaces import Splats
from sds3d.native import cpu as native
from sds3d.renderers import splat_gsplat, splat_native, splat_op, splat_reference
from sds3d.renderers.rasterizer import View

NUM_VIEWS = 4
CASES = ((64, 2_000), (64, 5_000), (64, 20_000), (128, 2_000), (128, 5_000), (128, 20_000), (256, 5_000), (256, 20_000))
GPU_CASES = (
    (64, 5_000), (64, 20_000), (256, 5_000), (256, 20_000),
    (512, 100_000), (1024, 100_000), (512, 500_000), (1024, 500_000),
)  # fmt: skip
REFERENCE_LIMIT = 64 * 64 * 2_000  # pixels of a view times splats; above this, plain torch needs gigabytes
GPU_WARM_UP = 10  # steps


def shell(num: int, generator: torch.Generator) -> list[Tensor]:
    """Opaque splats on a sphere, with scales of about 0.8 of their spacing, as late in an optimization."""
    directions = torch.nn.functional.normalize(torch.randn(num, 3, generator=generator), dim=-1)
    radius = 0.65
    spacing = radius * (4 * torch.pi / num) ** 0.5
    scales = 0.8 * spacing * torch.exp(0.3 * torch.randn(num, 3, generator=generator))
    quats = torch.randn(num, 4, generator=generator)
    return [radius * directions, quats, scales, torch.full((num,), 0.8), torch.rand(num, 3, generator=generator)]


def ball(num: int, generator: torch.Generator) -> list[Tensor]:
    """Faint splats that fill a ball, as at the start of an optimization."""
    means, quats, _, _, colors = shell(num, generator)
    means = means * torch.rand(num, 1, generator=generator) ** (1 / 3)
    spacing = 0.65 * (4 / 3 * torch.pi / num) ** (1 / 3)
    return [means, quats, torch.full((num, 3), 0.8 * spacing), torch.full((num,), 0.1), colors]


class Case:
    """A scene of `num` splats and NUM_VIEWS cameras of `resolution` x `resolution` pixels, on `device`."""

    def __init__(self, scene: Callable[..., list[Tensor]], num: int, resolution: int, device: str) -> None:
        splats = scene(num, torch.Generator().manual_seed(0))
        self.splats = Splats(*(x.to(device).requires_grad_() for x in splats))
        self.cameras: Cameras = turntable(NUM_VIEWS, resolution).to(device)
        self.backgrounds = torch.ones(NUM_VIEWS, 3, device=device)
        self.cotangents = [torch.ones(NUM_VIEWS, resolution, resolution, n, device=device) for n in (3, 1, 1)]

    def forward(self, rasterize: Callable[..., tuple], num_images: int) -> list[Tensor]:
        """The first `num_images` of colors, alphas and depths."""
        cameras = self.cameras
        view = View(cameras.viewmats, cameras.Ks, self.backgrounds, cameras.width, cameras.height)
        return list(rasterize(self.splats, view)[:num_images])

    def backward(self, images: list[Tensor]) -> tuple[Tensor, ...]:
        """Gradients of the parameters."""
        return torch.autograd.grad(images, self.splats, self.cotangents[: len(images)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument(
        "--reference",
        action="store_true",
        help="on a CPU, also measure the torch reference, which takes seconds per step",
    )
    args = parser.parse_args()
    if args.device == "cuda":
        compare_on_gpu(args.repeats)
    else:
        measure_on_cpu(args.repeats, args.reference)


def measure_on_cpu(repeats: int, reference: bool) -> None:
    """Prints milliseconds of the native library."""
    torch.set_num_threads(1)
    print(f"native library: {native.status()}")
    backends: list[tuple[str, int, Callable[..., tuple]]] = []
    if native.load_library() is not None:
        for num_threads in sorted({1, native.num_threads()}):
            backends.append(("native", num_threads, partial(splat_native.rasterize, num_threads=num_threads)))
    if reference:
        backends.append(("torch", 1, splat_reference.rasterize))
    print_row(
        "backend", "threads", "scene", "views", "pixels", "splats", "fwd best", "median", "fwd+bwd best", "median"
    )  # fmt: skip
    for scene in (shell, ball):
        for resolution, num in CASES:
            case = Case(scene, num, resolution, "cpu")
            for name, num_threads, rasterize in backends:
                if name == "torch" and resolution**2 * num > REFERENCE_LIMIT:
                    continue
                count = 2 if name == "torch" else repeats
                forward = durations(partial(case.forward, rasterize, 2), count)
                both = durations(partial(both_passes, case, rasterize, 2), count)
                times = (f"{x:.2f}" for t in (forward, both) for x in (t[0], statistics.median(t)))
                print_row(name, num_threads, scene.__name__, NUM_VIEWS, f"{resolution}^2", num, *times)


def compare_on_gpu(repeats: int) -> None:
    """Prints a table of median milliseconds, forward + backward, and of the peak memory."""
    ours = partial(splat_op.rasterize, normals=False)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; {NUM_VIEWS} views, colors, alpha and depth\n")
    print_cells(
        "scene", "splats", "pixels", "gsplat ms", "eager ms", "captured ms", "eager x", "captured x", "MB", "gsplat MB"
    )  # fmt: skip
    print_cells("---", *["--:"] * 9)
    for scene in (shell, ball):
        for resolution, num in GPU_CASES:
            case = Case(scene, num, resolution, "cuda")
            eager, memory = measure_on_gpu(partial(both_passes, case, ours, 3), repeats)
            captured, _ = measure_on_gpu(record(partial(both_passes, case, ours, 3)), repeats)
            row = [scene.__name__, f"{num:,}", f"{resolution}^2"]
            if importlib.util.find_spec("gsplat") is None:
                print_cells(*row, "absent", f"{eager:.2f}", f"{captured:.2f}", "", "", f"{memory:.0f}", "")
                continue
            gsplat, gsplat_memory = measure_on_gpu(partial(both_passes, case, splat_gsplat.rasterize, 3), repeats)
            print_cells(
                *row, f"{gsplat:.2f}", f"{eager:.2f}", f"{captured:.3f}", f"{gsplat / eager:.1f}",
                f"{gsplat / captured:.1f}", f"{memory:.0f}", f"{gsplat_memory:.0f}",
            )  # fmt: skip


def both_passes(case: Case, rasterize: Callable[..., tuple], num_images: int) -> tuple[Tensor, ...]:
    """Gradients of the parameters, from one forward and one backward pass."""
    return case.backward(case.forward(rasterize, num_images))


def record(step: Callable[[], tuple[Tensor, ...]]) -> Callable[[], None]:
    """A function that replays `step` as a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure_on_gpu(step: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median milliseconds of `step`, and the peak megabytes that it allocates."""
    for _ in range(GPU_WARM_UP):
        step()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    milliseconds = clock(step, repeats, warm_up=0)
    return milliseconds, (torch.cuda.max_memory_allocated() - before) / 2**20


def print_row(*cells: object) -> None:
    print(" ".join(f"{x:>12}" for x in cells), flush=True)


def print_cells(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
