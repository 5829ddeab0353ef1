"""Words that were not in the training of a prior: found in a prompt, reported, listed with the weights."""

from pathlib import Path

import pytest

from sds3d.config.schema import Config, PocketConfig
from sds3d.priors.kinds import unseen_words_of
from sds3d.priors.pocket.words import WORDS, known_words, unseen_words
from sds3d.priors.weights import POCKET, read_manifest
from sds3d.procedural.objects.vocabulary import HELD_OUT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / WORDS).write_text(known_words(["a red chair", "two Boxes, striped", "a dog's bowl"]))
    return tmp_path


def test_the_list_has_the_sorted_unique_words_of_all_captions() -> None:
    assert known_words(["a Red box", "2 red balls, a box"]).split() == ["a", "balls", "box", "red"]


@pytest.mark.parametrize(
    ("prompt", "unseen"),
    [
        ("a red chair", []),
        ("RED chairs", []),  # singular and plural are one
        ("the striped box, please", ["box"]),  # but not "boxes", which no rule makes of it; "please" says nothing
        ("an azure chair beside an azure bowl", ["azure", "beside"]),
        ("", []),
    ],
)
def test_unseen_words(folder: Path, prompt: str, unseen: list[str]) -> None:
    assert unseen_words(prompt, folder) == unseen


def test_a_prior_without_a_list_has_no_unseen_words(tmp_path: Path) -> None:
    assert unseen_words("a crimson toadstool", tmp_path) == []


def test_the_shipped_list_has_no_held_out_word_and_is_in_the_manifest() -> None:
    assert WORDS in read_manifest(POCKET)
    known = set((POCKET / WORDS).read_text().split())
    assert len(known) > 500 and known.isdisjoint(HELD_OUT)
    assert unseen_words("a crimson toadstool with white dots", POCKET) == ["crimson", "toadstool"]


def test_unseen_words_are_those_of_all_pocket_priors_of_a_run(folder: Path) -> None:
    cfg = Config(prompt="a crimson chair", prior=PocketConfig(path=str(folder)))
    assert unseen_words_of(cfg) == ["crimson"]
