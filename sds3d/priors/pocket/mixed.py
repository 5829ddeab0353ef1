"""Training data that mixes the user's objects with procedural ones."""

from __future__ import annotations

import math
import random

import torch

from sds3d.cameras import Cameras
from sds3d.priors.pocket import model
from sds3d.priors.pocket.data import DROP_PROMPT, Batch, ProceduralObjects
from sds3d.priors.pocket.text import TextEncoder
from sds3d.procedural.library import UserObject
from sds3d.procedural.objects.vocabulary import FRAMES, MAX_FRAMED_LENGTH, PLAIN_SHARE

ARTICLES = ("a ", "an ", "the ")
BARE_SHARE = 0.2  # of captions with an article, which lose it


class MixedObjects(ProceduralObjects):
    """Batches of ProceduralObjects in which user objects replace the last ones: on average, a share `mix` remains."""

    def __init__(
        self,
        seed: int,
        batch: int,
        steps: range,
        encoder: TextEncoder,
        rank: int = 0,
        world: int = 1,
        *,
        user_objects: list[UserObject],
        mix: float,
    ) -> None:
        super().__init__(seed, batch, steps, encoder, rank, world)
        self.user_objects, self.mix = user_objects, mix

    def __getitem__(self, index: int) -> Batch:
        procedural = super().__getitem__(index)
        rng = random.Random(f"{self.seed}/{self.steps[index]}/{self.rank}/own")
        first = math.floor(self.mix * self.batch + rng.random())
        chosen = [rng.choice(self.user_objects) for _ in range(self.batch - first)]
        if not chosen:
            return procedural
        rings = [rng.randrange(len(one.pictures)) for one in chosen]
        prompts = ["" if rng.random() < DROP_PROMPT else reworded(rng.choice(one.captions), rng) for one in chosen]
        split = first * model.NUM_VIEWS

        def looked_up(name: str) -> torch.Tensor:
            return torch.stack([getattr(one, name)[ring] for one, ring in zip(chosen, rings, strict=True)])

        viewmats = torch.cat([procedural.viewmats[:split], looked_up("viewmats").flatten(0, 1)])
        Ks = torch.cat([procedural.Ks[:split], looked_up("Ks").flatten(0, 1)])
        cameras = Cameras(viewmats, Ks, model.RESOLUTION, model.RESOLUTION)
        # Timesteps increase with the position in the batch; user and procedural objects must each cover all of them.
        timesteps = procedural.timesteps.unflatten(0, (self.batch, model.NUM_VIEWS))
        order = torch.tensor(rng.sample(range(self.batch), self.batch))
        return procedural._replace(
            parts=procedural.parts[:first],
            pictures=looked_up("pictures"),
            ids=torch.cat([procedural.ids[:first], self.encoder.tokenize(prompts)]),
            viewmats=viewmats,
            Ks=Ks,
            condition=model.condition_vectors(cameras, procedural.backgrounds),
            timesteps=timesteps[order].flatten(),
        )


def reworded(caption: str, rng: random.Random) -> str:
    """`caption` unchanged, without its article, or in a frame such as "a photo of ...", like procedural captions.

    The text encoder ignores case.
    """
    if rng.random() < PLAIN_SHARE:
        article = next((a for a in ARTICLES if caption.lower().startswith(a)), "")
        return caption[len(article) :] if rng.random() < BARE_SHARE else caption
    framed = rng.choice(FRAMES).format(caption)
    return framed if len(framed) <= MAX_FRAMED_LENGTH else caption
