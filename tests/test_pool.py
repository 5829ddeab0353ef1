"""The held-out pool: the same everywhere, unknown to every training, and made of captions that can be told apart."""

import os
import random
import subprocess
import sys
from collections import Counter
from itertools import combinations

import pytest

from sds3d.evaluation import pool
from sds3d.evaluation.wordings import INVERSE, SYNONYMS, reword
from sds3d.priors.pocket.objects import CATEGORIES, sample_object
from sds3d.priors.pocket.parts import pack


def test_it_is_the_same_in_every_process() -> None:
    """Also where Python orders sets in another way."""
    code = "from sds3d.evaluation.pool import pool_id; print(pool_id())"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        assert printed.stdout.decode().strip() == pool.pool_id()


def test_every_caption_has_a_word_that_the_prior_never_saw() -> None:
    held = pool.held_out_pool()
    assert len(held) == pool.SIZE == len({entry.caption for entry in held})
    for entry in held:
        assert reword(entry.caption, INVERSE) != entry.caption, entry.caption
        pack(entry.parts)  # not too many of them


def test_captions_of_a_category_name_different_colors() -> None:
    held = pool.held_out_pool()
    counts = Counter(entry.category for entry in held)
    assert len(counts) >= 0.9 * len(CATEGORIES) and max(counts.values()) <= pool.SIZE // len(counts) + 1
    assert len({entry.category for entry in held[:50]}) == 50
    for one, other in combinations(held, 2):
        if one.category == other.category:
            first, second = pool.named_colors(one.caption), pool.named_colors(other.caption)
            assert first - second and second - first, (one.caption, other.caption)


def test_no_caption_of_the_priors_training_is_in_the_pool() -> None:
    rng = random.Random(0)
    for _ in range(5_000):
        (caption,) = sample_object(rng, num_captions=1)[1]
        assert not pool.is_held_out(caption)


def test_held_out_captions_are_found_in_other_words() -> None:
    held = pool.held_out_pool()[0].caption
    for text in (held, pool.bare(held), f"a photo of {held}", f"{held}, 3d model", f"{held} on a hill"):
        assert pool.is_held_out(text)
    assert not pool.is_held_out(reword(held, INVERSE))


@pytest.mark.parametrize(
    "caption, colors",
    [
        ("a brick red car with royal blue wheels", {"red", "blue"}),
        ("a crimson automobile", {"red"}),
        ("a dark brown table, oak", {"brown"}),
        ("a goldfish", set()),
    ],
)
def test_named_colors(caption: str, colors: set[str]) -> None:
    assert pool.named_colors(caption) == colors


def test_shades_are_not_reworded_in_part() -> None:
    for entry in pool.held_out_pool():
        assert not pool._has_shade(reword(entry.caption, INVERSE)), entry.caption
    assert pool._has_shade("a navy blue car") and not pool._has_shade("a blue car") and SYNONYMS["blue"] == "azure"
