"""The object grammar: sound geometry and captions for every category."""

import random

import numpy as np
import pytest

from sds3d.priors.pocket.objects import CATEGORIES, sample_object
from sds3d.priors.pocket.objects.vocabulary import COLORS, HELD_OUT
from sds3d.priors.pocket.parts import MAX_PARTS, Part, half_extents, pack

SEEDS = range(12)


def is_connected(parts: list[Part]) -> bool:
    """Whether the world boxes of all solid parts overlap into one group."""
    centers = np.array([p.center for p in parts if not p.cut])
    halves = np.array([half_extents(p) for p in parts if not p.cut])
    touches = (np.abs(centers[:, None] - centers) <= halves[:, None] + halves).all(-1)
    reached = touches[0]
    for _ in parts:
        reached = touches[reached].any(0)
    return bool(reached.all())


@pytest.mark.parametrize("category", CATEGORIES)
def test_parts_are_sound(category: str) -> None:
    for seed in SEEDS:
        parts, _ = sample_object(random.Random(seed), category)
        packed = pack(parts)
        assert 0 < len(parts) <= MAX_PARTS
        assert np.isfinite(packed).all()
        colors = packed[: len(parts), 14:20]
        assert colors.min() >= 0 and colors.max() <= 1
        for p in parts:
            assert min(p.size) > 0, p
            assert p.cut or np.abs(np.array(p.center)).max() + half_extents(p).min() <= 1.0 + 1e-6, p
        assert is_connected(parts), f"seed {seed} has floating parts"


@pytest.mark.parametrize("category", CATEGORIES)
def test_captions_are_sound(category: str) -> None:
    for seed in SEEDS:
        captions = sample_object(random.Random(seed), category)[1]
        assert len(set(captions)) == 4
        for text in captions:
            assert text == " ".join(text.split()) and 1 <= len(text.split()) <= 20, text
            assert not set(text.replace(",", "").split()) & set(HELD_OUT), text


def test_colors_avoid_held_out_words() -> None:
    spoken = {word for variants in COLORS.values() for _, names in variants for name in names for word in name.split()}
    assert not spoken & set(HELD_OUT)


def test_same_seed_same_object() -> None:
    for seed in range(20):
        (parts, captions), (again, same) = sample_object(random.Random(seed)), sample_object(random.Random(seed))
        assert captions == same
        assert np.array_equal(pack(parts), pack(again))
