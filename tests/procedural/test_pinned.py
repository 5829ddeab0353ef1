"""The grammar's random objects do not change for given seeds."""

import hashlib
import random

from sds3d.procedural.objects import CATEGORIES, sample_object
from sds3d.procedural.objects.held_out import pool_id
from sds3d.procedural.parts import pack

OBJECTS_ID = "894875e0422acbb57cac2ffd45e604a527ac4e3630a3c2ef677479b82a6366e3"
POOL_ID = "9ee9e12d929538cc0e64b5674afcff7445d56aa0db93e6f04672972bf65ae8ab"


def test_objects_and_captions_of_fixed_seeds_are_pinned():
    """Captions and packed parts of 2000 scenes of any form, then of 1000 single objects, all categories in turn."""
    digest = hashlib.sha256()
    categories = [None] * 2000 + [CATEGORIES[k % len(CATEGORIES)] for k in range(1000)]
    for seed, category in enumerate(categories):
        parts, captions = sample_object(random.Random(seed), category)
        digest.update("\n".join(captions).encode() + pack(parts).tobytes())
    assert digest.hexdigest() == OBJECTS_ID


def test_pool_is_pinned():
    """The judge's training and its scores name the pool by this id."""
    assert pool_id() == POOL_ID
