"""Captions of training objects."""

import random

import pytest

from sds3d.procedural.objects import sample_object


@pytest.fixture(scope="module")
def captions() -> list[str]:
    rng = random.Random(0)
    return [caption for _ in range(3000) for caption in sample_object(rng)[1]]
