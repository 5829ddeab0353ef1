"""The procedural object grammar: random objects made of parts, with captions that describe them."""

from __future__ import annotations

import random

from sds3d.procedural.objects.kinds import CATEGORIES, OBJECTS
from sds3d.procedural.objects.scenes import Scene, sample_scene
from sds3d.procedural.objects.vocabulary import caption
from sds3d.procedural.parts import Part, normalize

__all__ = ["CATEGORIES", "NUM_CAPTIONS", "OBJECTS", "Scene", "sample_object", "sample_scene"]

NUM_CAPTIONS = 4


def sample_object(
    rng: random.Random, category: str | None = None, num_captions: int = NUM_CAPTIONS
) -> tuple[list[Part], list[str]]:
    """Parts of a random object within the unit ball, and different captions of it.

    Without a `category`, it is a scene of any form.
    """
    if category is None:
        scene = sample_scene(rng)
        parts, say = scene.parts, scene.say
    else:
        parts, words = OBJECTS[category](rng)

        def say(rng: random.Random) -> str:
            return caption(rng, words)

    captions: list[str] = []
    while len(captions) < num_captions:
        text = say(rng)
        if text not in captions:
            captions.append(text)
    return normalize(parts), captions
