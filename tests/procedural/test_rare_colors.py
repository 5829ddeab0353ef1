"""Rare names of colors: they are in neither the grammar nor the held-out words, and replace names of the grammar."""

import random
import re

import pytest
from tokenizers import Tokenizer

from sds3d.priors.pocket.text import MAX_TOKENS
from sds3d.priors.weights import POCKET
from sds3d.procedural.objects import rare_colors
from sds3d.procedural.objects.colors import COLORS
from sds3d.procedural.objects.rare_colors import RARE, with_rare_colors
from sds3d.procedural.objects.vocabulary import HELD_OUT
from sds3d.procedural.training_pairs import sample_pair

NAMES = {word for variants in COLORS.values() for _, words in variants for word in words}


def rare_names() -> set[str]:
    return {name for names in RARE.values() for name in names}


def test_rare_names_replace_names_of_the_grammar_and_are_not_in_it() -> None:
    assert set(RARE) <= NAMES
    assert not rare_names() & NAMES


def test_no_rare_name_has_a_held_out_word() -> None:
    used = {word for name in rare_names() for word in re.findall("[a-z]+", name)}
    assert not used & set(HELD_OUT)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a dark red car with a red roof", "a merlot car with an apple roof"),
        ("an orange cat", "a papaya cat"),
        ("a redhead", "a redhead"),
        ("red car, green wheels", "apple car, green wheels"),
        ("the infrared and red lamp", "the infrared and apple lamp"),
    ],
)
def test_whole_names_are_replaced_and_the_longest_first(
    caption: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rare_colors, "RARE", {"red": ("apple",), "dark red": ("merlot",), "orange": ("papaya",)})
    monkeypatch.setattr(rare_colors, "SHARE", 1.0)
    assert with_rare_colors(random.Random(0), caption) == expected


def test_a_share_of_the_names_in_training_captions_is_rare() -> None:
    rng = random.Random(0)
    text = " ".join(with_rare_colors(rng, "a white cup") for _ in range(4000))
    share = 1 - text.count("a white cup") / 4000
    assert share == pytest.approx(rare_colors.SHARE, abs=0.03)  # 4 standard deviations
    assert {name for name in RARE["white"] if name in text} == set(RARE["white"])


def test_almost_all_training_captions_fit_in_the_text_encoder() -> None:
    tokenizer = Tokenizer.from_file(str(POCKET / "text_encoder" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    rng = random.Random(0)
    lengths = [len(tokenizer.encode(sample_pair(rng)[1])) for _ in range(4000)]
    assert sum(length > MAX_TOKENS for length in lengths) < 0.005 * len(lengths)
