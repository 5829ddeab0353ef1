"""The object grammar: sound geometry and captions for every category."""

import random
import re
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

import sds3d.priors.pocket
from sds3d.priors.pocket.objects import CATEGORIES, OBJECTS, sample_object
from sds3d.priors.pocket.objects.synonyms import ADJECTIVES, NOUNS, PARTS
from sds3d.priors.pocket.objects.vocabulary import COLORS, FRAMES, HELD_OUT, STYLES, WOODS, caption
from sds3d.priors.pocket.parts import MAX_PARTS, Part, half_extents, pack
from sds3d.priors.pocket.text import MAX_TOKENS

SHIPPED = Path(sds3d.priors.pocket.__file__).parent / "weights"

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


def vocabulary() -> set[str]:
    """Every phrase that captions are made of, but for the names that builders give themselves."""
    colors = {name for variants in COLORS.values() for _, names in variants for name in names}
    woods = {name for _, names in WOODS for name in names}
    synonyms = {name for table in (NOUNS, PARTS, ADJECTIVES) for names in table.values() for name in names}
    return colors | woods | synonyms | set(STYLES) | set(FRAMES)


def is_held_out(word: str) -> bool:
    """Whether `word` is a held-out word, its plural, or a compound with one."""
    return any(word.startswith(held) or (len(held) > 4 and word.endswith(held)) for held in HELD_OUT)


@pytest.fixture(scope="module")
def captions() -> list[str]:
    rng = random.Random(0)
    builds = [OBJECTS[CATEGORIES[k % len(CATEGORIES)]](rng)[1] for k in range(10_000)]
    return [caption(rng, words) for words in builds for _ in range(6)]


def test_no_word_is_held_out(captions: list[str]) -> None:
    assert is_held_out("puppies") is False and is_held_out("kittens") and is_held_out("jetliner") and is_held_out("fir")
    spoken = {word for text in [*captions, *vocabulary()] for word in re.findall("[a-z0-9]+", text.lower())}
    assert not [word for word in spoken if is_held_out(word)]


def test_captions_are_read_to_their_end(captions: list[str]) -> None:
    tokenizer = Tokenizer.from_file(str(SHIPPED / "text_encoder" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    assert max(len(tokens) for tokens in tokenizer.encode_batch(captions)) <= MAX_TOKENS


def test_captions_read_well(captions: list[str]) -> None:
    for text in captions:
        assert not re.search(r"\ba (?!ufo)[aeiou]|\ba hour|\ban (?!hour)[^aeiou]|\b(\w+) \1\b|\ban? an? |  ", text), text


def test_captions_are_varied(captions: list[str]) -> None:
    """Half of the names are the usual ones, and every table of words is used to its end."""
    dogs = [sample_object(random.Random(seed), "dog", 1)[1][0] for seed in range(1000)]
    assert 0.4 < sum("dog" in text.split() for text in dogs) / len(dogs) < 0.8
    said = " | ".join(captions)
    assert not [name for name in vocabulary() if name.replace("{}", "").strip() not in said]


def test_every_key_is_a_word_of_some_object() -> None:
    nouns: set[str] = set()
    parts: set[str] = set()
    adjectives: set[str] = set()
    for build in OBJECTS.values():
        for seed in range(150):
            words = build(random.Random(seed))[1]
            nouns |= set(words.nouns)
            adjectives |= set(words.adjectives)
            parts |= {part for _, names in words.details for part in names.split("|")}
    assert nouns == set(NOUNS) and set(PARTS) <= parts and set(ADJECTIVES) <= adjectives


def test_one_caption_is_made_when_one_is_asked_for() -> None:
    assert len(sample_object(random.Random(0), "car", num_captions=1)[1]) == 1


def test_same_seed_same_object() -> None:
    for seed in range(20):
        (parts, captions), (again, same) = sample_object(random.Random(seed)), sample_object(random.Random(seed))
        assert captions == same
        assert np.array_equal(pack(parts), pack(again))
