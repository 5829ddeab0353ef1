"""The held-out pool: reproducible, excluded from every training, with captions that differ."""

import os
import random
import subprocess
import sys
from collections import Counter
from itertools import combinations

import pytest

from sds3d.procedural import training_pairs
from sds3d.procedural.objects import CATEGORIES, held_out
from sds3d.procedural.objects.wordings import INVERSE, SYNONYMS, reword
from sds3d.procedural.parts import pack


def test_the_pool_is_the_same_in_every_process() -> None:
    """Even if Python orders sets differently."""
    code = "from sds3d.procedural.objects.held_out import pool_id; print(pool_id())"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        assert printed.stdout.decode().strip() == held_out.pool_id()


def test_every_caption_has_a_held_out_word() -> None:
    held = held_out.held_out_pool()
    assert len(held) == held_out.SIZE == len({entry.caption for entry in held})
    for entry in held:
        assert reword(entry.caption, INVERSE) != entry.caption == reword(entry.plain, SYNONYMS), entry.caption
        pack(entry.parts)  # raises if there are too many


def test_captions_of_a_category_name_different_colors() -> None:
    held = held_out.held_out_pool()
    counts = Counter(entry.category for entry in held)
    assert len(counts) >= 0.9 * len(CATEGORIES) and max(counts.values()) <= held_out.SIZE // len(counts) + 1
    assert len({entry.category for entry in held[:50]}) == 50
    for one, other in combinations(held, 2):
        if one.category == other.category:
            first, second = held_out.named_colors(one.caption), held_out.named_colors(other.caption)
            assert first - second and second - first, (one.caption, other.caption)


def test_no_caption_of_the_priors_training_is_in_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second object of this training has a caption of the pool and is skipped."""
    entry = held_out.held_out_pool()[0]
    drawn = iter([([], ["a red car"]), ([], [f"{entry.plain}, 3d model"]), ([], ["a blue car"])])
    monkeypatch.setattr(training_pairs, "sample_object", lambda rng, num_captions: next(drawn))
    monkeypatch.setattr(training_pairs, "with_rare_colors", lambda rng, caption: caption)
    assert [training_pairs.sample_pair(random.Random())[1] for _ in range(2)] == ["a red car", "a blue car"]


def test_held_out_captions_are_found_in_frames_and_in_longer_texts() -> None:
    entry = held_out.held_out_pool()[0]
    for caption in (entry.caption, entry.plain):
        for text in (caption, held_out.bare(caption), f"a photo of {caption}", f"{caption}, 3d model"):
            assert held_out.is_held_out(text) and held_out.holds_held_out(text)
        assert held_out.holds_held_out(f"{caption} on a hill") and not held_out.is_held_out(f"{caption} on a hill")
    assert not held_out.holds_held_out("a colourless thing")


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
    assert held_out.named_colors(caption) == colors


def test_shades_are_never_reworded_partially() -> None:
    for entry in held_out.held_out_pool():
        assert not held_out._has_shade(reword(entry.caption, INVERSE)), entry.caption
    assert SYNONYMS["blue"] == "azure"
    assert held_out._has_shade("a navy blue car") and not held_out._has_shade("a blue car")
