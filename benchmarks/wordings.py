"""Measures how much a caption still helps if it uses words that the prior was never trained on.

python -m benchmarks.wordings [--path FOLDER] [--objects 40] [--seed 0]

Views of procedural objects are noised, and the prior denoises them under four texts: the true caption, the same with
unseen synonyms, the caption of another object, and none. The error is the mean square of x0 in latents, which lie in
[-1, 1]; the noise is the same for all four.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sds3d.procedural.objects.wordings import SYNONYMS, reword

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from sds3d.interfaces import Prior
    from sds3d.procedural.parts import Part

FRACTIONS = (0.4, 0.6, 0.8)  # of T
TEXTS = ("true", "held-out words", "another object", "empty")


@dataclass(frozen=True)
class Sample:
    """An object with its caption in trained and in held-out words."""

    parts: list[Part]
    caption: str
    held_out_caption: str


def draw_samples(count: int, seed: int) -> list[Sample]:
    """Objects of the grammar, each with one of its captions that contains a word of SYNONYMS."""
    from sds3d.procedural.objects import sample_object

    rng = random.Random(seed)
    samples = []
    while len(samples) < count:
        parts, captions = sample_object(rng)
        reworded = [(caption, reword(caption, SYNONYMS)) for caption in captions]
        reworded = [pair for pair in reworded if pair[0] != pair[1]]
        if reworded:
            samples.append(Sample(parts, *rng.choice(reworded)))
    return samples


def remaining_share(true: float, held_out: float, empty: float) -> float:
    """The reduction of the error by the reworded caption, as a share of that by the true one."""
    return (empty - held_out) / (empty - true)


def measure(prior: Prior, samples: Sequence[Sample], seed: int) -> Tensor:
    """Mean squared error of x0 over all samples, [noise levels, texts]."""
    import torch

    texts = {text for sample in samples for text in (sample.caption, sample.held_out_caption)}
    encoded = {text: prior.encode_prompt(text) for text in ("", *sorted(texts))}
    errors = torch.zeros(len(FRACTIONS), len(TEXTS))
    for index, sample in enumerate(samples):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        captions = (sample.caption, sample.held_out_caption, samples[index - 1].caption, "")  # in the order of TEXTS
        errors += _errors(prior, sample.parts, [encoded[text] for text in captions], generator)
    return errors / len(samples)


def _errors(prior: Prior, parts: list[Part], texts: Sequence[Tensor], generator: Generator) -> Tensor:
    """Squared errors of x0 for one object, [noise levels, texts]."""
    import torch

    from sds3d.cameras import STANDARD_DISTANCE, STANDARD_FOV_DEG, sample_orbits
    from sds3d.procedural.parts import pack
    from sds3d.procedural.tracer import trace
    from sds3d.procedural.views import ELEVATION_DEG, compose

    device = prior.alphas_cumprod.device
    bounds = (ELEVATION_DEG, (STANDARD_DISTANCE,) * 2, (STANDARD_FOV_DEG,) * 2)
    cameras = sample_orbits(1, prior.num_views, prior.resolution, *bounds, generator).to(device)
    backgrounds = torch.full((prior.num_views, 3), 0.5, device=device)
    layers = trace(torch.from_numpy(pack(parts))[None].to(device), cameras, normals=prior.normals)[0].movedim(-1, 1)
    x0 = prior.encode_images(compose(layers, backgrounds))
    noise = torch.randn(x0.shape, generator=generator).to(device)
    rows = []
    for fraction in FRACTIONS:
        timestep = int(fraction * len(prior.alphas_cumprod))
        alpha = prior.alphas_cumprod[timestep]
        noisy = alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise
        timesteps = torch.full((prior.num_views,), timestep, device=device)
        predictions = prior.predict_noise(noisy, timesteps, texts, cameras, backgrounds)
        # x0 - x0_predicted = sqrt((1 - abar) / abar) (noise_predicted - noise)
        rows.append([((1 - alpha) / alpha * (p - noise).square().mean()).item() for p in predictions])
    return torch.tensor(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", default="", metavar="FOLDER", help="another pocket prior (default: the shipped one)")
    parser.add_argument("--objects", type=int, default=40, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    args = parser.parse_args()
    if args.objects < 2:
        parser.error("--objects: expected at least 2, since each caption is compared with that of another object")

    from sds3d.config.schema import PocketConfig
    from sds3d.errors import UserError
    from sds3d.native.devices import resolve_device
    from sds3d.priors import build_prior

    try:
        prior = build_prior(PocketConfig(path=args.path), resolve_device(args.device))
        errors = measure(prior, draw_samples(args.objects, args.seed), args.seed)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"| noise level | {' | '.join(TEXTS)} | benefit that remains |")
    print("|" + " --: |" * (len(TEXTS) + 2))
    names = [f"{fraction:g} T" for fraction in FRACTIONS] + ["mean"]
    for name, row in zip(names, [*errors.tolist(), errors.mean(0).tolist()], strict=True):
        true, held_out, _, empty = row
        cells = " | ".join(f"{error:.5f}" for error in row)
        print(f"| {name} | {cells} | {100 * remaining_share(true, held_out, empty):.0f} % |")
    print(f"\n{args.objects} objects, {prior.num_views} views each, seed {args.seed}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
