"""Times of the Gaussian rasterizers: forward, and forward + backward from parameters to parameter gradients.

python benchmarks/rasterizer.py [--repeats 20] [--reference]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from sds3d import native
from sds3d.cameras import Cameras, turntable
from sds3d.renderers import splat_gsplat, splat_native, splat_reference

NUM_VIEWS = 4
CASES = ((64, 2_000), (64, 5_000), (64, 20_000), (128, 2_000), (128, 5_000), (128, 20_000), (256, 5_000), (256, 20_000))
REFERENCE_LIMIT = 64 * 64 * 2_000  # pixels of a view times splats: beyond it plain torch takes gigabytes


def shell(num: int, generator: torch.Generator) -> list[Tensor]:
    """Splats on a sphere, as wide as 0.8 of their spacing and opaque: an object late in its optimisation."""
    directions = torch.nn.functional.normalize(torch.randn(num, 3, generator=generator), dim=-1)
    radius = 0.65
    spacing = radius * (4 * torch.pi / num) ** 0.5
    scales = 0.8 * spacing * torch.exp(0.3 * torch.randn(num, 3, generator=generator))
    quats = torch.randn(num, 4, generator=generator)
    return [radius * directions, quats, scales, torch.full((num,), 0.8), torch.rand(num, 3, generator=generator)]


def ball(num: int, generator: torch.Generator) -> list[Tensor]:
    """Faint splats throughout a ball: an object at the start."""
    means, quats, _, _, colors = shell(num, generator)
    means = means * torch.rand(num, 1, generator=generator) ** (1 / 3)
    spacing = 0.65 * (4 / 3 * torch.pi / num) ** (1 / 3)
    return [means, quats, torch.full((num, 3), 0.8 * spacing), torch.full((num,), 0.1), colors]


def measure(
    rasterize: Callable[..., tuple], splats: list[Tensor], cameras: Cameras, device: str, repeats: int
) -> tuple[list[float], list[float]]:
    """Seconds of the forward pass and of both passes, sorted."""
    splats = [x.to(device).requires_grad_() for x in splats]
    cameras = cameras.to(device)
    backgrounds = torch.ones(len(cameras), 3, device=device)
    v_colors = torch.ones(len(cameras), cameras.height, cameras.width, 3, device=device)
    v_alphas = v_colors[..., :1]
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    forward, both = [], []
    for _ in range(repeats + 2):
        synchronize()
        start = time.perf_counter()
        colors, alphas, *_ = rasterize(
            *splats, cameras.viewmats, cameras.Ks, cameras.width, cameras.height, backgrounds=backgrounds
        )
        synchronize()
        middle = time.perf_counter()
        torch.autograd.grad([colors, alphas], splats, [v_colors, v_alphas])
        synchronize()
        forward.append(middle - start)
        both.append(time.perf_counter() - start)
    return sorted(forward[2:]), sorted(both[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--reference", action="store_true", help="also the torch reference, seconds a step")
    args = parser.parse_args()
    torch.set_num_threads(1)

    backends: list[tuple[str, str, int, Callable[..., tuple]]] = []
    print(f"native library: {native.status()}")
    if native.load_library() is not None:
        for num_threads in sorted({1, native.num_threads()}):
            backends.append(("native", "cpu", num_threads, partial(splat_native.rasterize, num_threads=num_threads)))
    if torch.cuda.is_available():
        try:
            import gsplat  # noqa: F401

            backends.append(("gsplat", "cuda", 1, splat_gsplat.rasterize))
        except ImportError:
            print("gsplat is not installed")
    if args.reference:
        backends.append(("torch", "cpu", 1, splat_reference.rasterize))

    header = (
        "backend",
        "threads",
        "scene",
        "views",
        "pixels",
        "splats",
        "fwd best",
        "median",
        "fwd+bwd best",
        "median",
    )
    print(" ".join(f"{x:>12}" for x in header) + "  (ms)")
    for scene in (shell, ball):
        for resolution, num in CASES:
            splats = scene(num, torch.Generator().manual_seed(0))
            for name, device, num_threads, rasterize in backends:
                if name == "torch" and resolution**2 * num > REFERENCE_LIMIT:
                    continue
                repeats = 2 if name == "torch" else args.repeats
                forward, both = measure(rasterize, splats, turntable(NUM_VIEWS, resolution), device, repeats)
                times = (1e3 * x for t in (forward, both) for x in (t[0], t[len(t) // 2]))
                row = (
                    name,
                    num_threads,
                    scene.__name__,
                    NUM_VIEWS,
                    f"{resolution}^2",
                    num,
                    *(f"{x:.2f}" for x in times),
                )
                print(" ".join(f"{x:>12}" for x in row), flush=True)


if __name__ == "__main__":
    main()
