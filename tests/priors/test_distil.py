"""Distilling the text encoder from a teacher with other word pieces and another width."""

import json
from pathlib import Path

import pytest
import torch

from sds3d.priors.pocket import distil, text
from sds3d.priors.weights import POCKET

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES += ["a", "an", "the", "red", "green", "blue", "azure", "chair", "car", "tree", "dog", "with", "and"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "WIDTH", 12)
    monkeypatch.setattr(distil, "TEACHER_LAYERS", 1)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """The shipped tokenizer with a small vocabulary."""
    content = json.loads((POCKET / "text_encoder" / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"] = {piece: index for index, piece in enumerate(PIECES)}
    content["added_tokens"] = [{**token, "id": PIECES.index(token["content"])} for token in content["added_tokens"]]
    for name, token in content["post_processor"]["special_tokens"].items():
        token["ids"] = [PIECES.index(name)]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    return tmp_path / "tokenizer.json"


@pytest.fixture
def teacher(tmp_path: Path, tokenizer: Path) -> Path:
    """An MPNet of two layers with random weights; its word pieces are ours, in another order and with other names."""
    from transformers import MPNetConfig, MPNetModel

    torch.manual_seed(0)
    folder = tmp_path / "teacher"
    config = MPNetConfig(
        vocab_size=len(PIECES) + 4, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    MPNetModel(config, add_pooling_layer=False).save_pretrained(folder)
    names = {distil.MARKS.get(piece, piece) for piece in PIECES}
    first = ["<s>", "<pad>", "</s>"]
    vocab = {name: index for index, name in enumerate([*first, "<unk>", "<mask>", *sorted(names - {*first})])}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}}))
    return folder


def test_word_pieces_are_mapped_to_the_ids_of_the_teacher(teacher: Path, tokenizer: Path) -> None:
    theirs = json.loads((teacher / "tokenizer.json").read_text())["model"]["vocab"]
    found = distil.same_pieces(tokenizer.read_text(), (teacher / "tokenizer.json").read_text())
    assert [found[PIECES.index(piece)].item() for piece in ("red", "[CLS]", "[PAD]")] == [theirs["red"], 0, 1]


def test_states_of_single_words_vary_evenly_in_the_kept_directions(
    small: None, teacher: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With evenness 1 their covariance is a multiple of the identity. Following words change them."""
    monkeypatch.setattr(distil, "EVENNESS", 1.0)
    monkeypatch.setattr(text, "WIDTH", 6)
    one = distil.Teacher(teacher, tokenizer.read_text())
    words = one.look_at_words(2, 3)
    assert words.shape == (len(PIECES), 6)
    torch.testing.assert_close(words.T @ words, torch.eye(6), atol=1e-4, rtol=0)
    red = PIECES.index("red")
    torch.testing.assert_close(one(torch.tensor([[2, red, 3, 0, 0]]))[0, 1], words[red], atol=1e-4, rtol=0)
    assert (one(torch.tensor([[2, red, red + 3, 3, 0]]))[0, 1] - words[red]).abs().max() > 1e-3


def test_the_student_approaches_its_teacher_and_can_be_loaded(
    small: None, teacher: Path, tokenizer: Path, tmp_path: Path
) -> None:
    options = ["--teacher", str(teacher), "--tokenizer", str(tokenizer), "--out", str(tmp_path / "text")]
    losses = [
        distil.distil(distil.parse([*options, "--steps", str(steps), "--batch", "32", "--device", "cpu"]))
        for steps in (1, 150)
    ]
    assert losses[1] < 0.5 * losses[0]
    encoder = text.TextEncoder(tmp_path / "text")
    states = encoder(encoder.tokenize(["a red chair"]))
    assert states.shape == (1, text.MAX_TOKENS, 12)
