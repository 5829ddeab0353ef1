"""The training data of the pocket prior: procedural objects, their captions and their views."""

from __future__ import annotations

import random
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sds3d.cameras import Cameras
from sds3d.priors.pocket import model
from sds3d.priors.pocket.text import TextEncoder
from sds3d.procedural.parts import pack
from sds3d.procedural.tracer import trace
from sds3d.procedural.training_pairs import sample_pair
from sds3d.procedural.views import NUM_VIEWS, RESOLUTION, compose, from_bytes, sample_views

DROP_PROMPT = 0.1  # share of objects trained without text, for classifier-free guidance (arXiv:2207.12598)
DROP_WORDS = 0.15  # share trained on only the sentence vector, in which unseen words lie nearest to their synonyms


class Batch(NamedTuple):
    """One training step: B objects of V views, the first M of them procedural; the views of an object are adjacent."""

    parts: Tensor  # [M, MAX_PARTS, NUM_COLUMNS]
    pictures: Tensor  # uint8 [B - M, V, H, W, 4 or 7], see `views.to_bytes`
    ids: Tensor  # token ids [B, MAX_TOKENS]
    has_words: Tensor  # bool [B], false where the network gets only the sentence vector
    viewmats: Tensor  # [B * V, 4, 4]
    Ks: Tensor  # [B * V, 3, 3]
    backgrounds: Tensor  # [B * V, 3] in [0, 1]
    condition: Tensor  # [B * V, 19]
    timesteps: Tensor  # long [B * V], one for each object

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`; from pinned memory the copy is asynchronous."""
        return Batch(*(x.to(device, non_blocking=True) for x in self))


class ProceduralObjects(Dataset):
    """Batches of procedural objects; batch k depends only on (seed, k, rank), not on the number of loaders."""

    def __init__(
        self, seed: int, batch: int, steps: range, encoder: TextEncoder, rank: int = 0, world: int = 1
    ) -> None:
        self.seed, self.batch, self.steps, self.encoder = seed, batch, steps, encoder
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Batch:
        step = self.steps[index]
        common = random.Random(f"{self.seed}/{step}")
        rng = random.Random(f"{self.seed}/{step}/{self.rank}")
        generator = torch.Generator().manual_seed(rng.getrandbits(62))
        parts, prompts = [], []
        for _ in range(self.batch):
            pieces, caption = sample_pair(rng)
            parts.append(torch.from_numpy(pack(pieces)))
            prompts.append("" if rng.random() < DROP_PROMPT else caption)
        cameras, backgrounds = sample_views(self.batch, generator)
        fractions = (torch.arange(self.batch) + self.rank * self.batch) / (self.world * self.batch)
        timesteps = ((fractions + common.random()) % 1 * model.NUM_TIMESTEPS).long()  # stratified over all processes
        return Batch(
            torch.stack(parts),
            torch.empty(0, NUM_VIEWS, RESOLUTION, RESOLUTION, 4, dtype=torch.uint8),
            self.encoder.tokenize(prompts),
            torch.rand(self.batch, generator=generator) >= DROP_WORDS,
            cameras.viewmats,
            cameras.Ks,
            backgrounds,
            model.condition_vectors(cameras, backgrounds),
            timesteps.repeat_interleave(NUM_VIEWS),
        )


def render_latents(batch: Batch, normals: bool = False) -> Tensor:
    """Latents [B * V, Z, 32, 32] of the objects over their backgrounds; with `normals`, of colors and normals."""
    cameras = Cameras(batch.viewmats, batch.Ks, RESOLUTION, RESOLUTION)
    layers = from_bytes(batch.pictures)
    if procedural := len(batch.parts):
        traced = trace(batch.parts, cameras[: procedural * NUM_VIEWS], normals=normals)
        layers = torch.cat([traced, layers]) if len(layers) else traced
    return model.images_to_latents(compose(layers.flatten(0, 1).movedim(-1, 1), batch.backgrounds))
