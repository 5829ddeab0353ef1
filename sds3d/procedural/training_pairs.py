"""Random pairs of an object and a caption for training the pocket prior, without captions of the held-out pool."""

from __future__ import annotations

import random

from sds3d.procedural.objects import sample_object
from sds3d.procedural.objects.held_out import is_held_out
from sds3d.procedural.objects.rare_colors import with_rare_colors
from sds3d.procedural.parts import Part


def sample_pair(rng: random.Random) -> tuple[list[Part], str]:
    """The parts of a random scene and one of its captions that is not in the held-out pool."""
    while True:
        parts, (caption,) = sample_object(rng, num_captions=1)
        if not is_held_out(caption):
            return parts, with_rare_colors(rng, caption)
