"""The end of a prompt that does not fit into a text encoder: found without the encoder, noted once, and recorded."""

from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from sds3d import pipeline
from sds3d.config.schema import Config, MVDreamConfig, PocketConfig, StableDiffusionConfig, StageConfig
from sds3d.optimization.guard import Guard
from sds3d.priors.clip_tokenizer import read_tokenizer, tokenize, unread_end
from sds3d.priors.kinds import unread_texts_of
from sds3d.priors.pocket.text import TextEncoder
from sds3d.priors.weights import POCKET
from tests.helpers.tiny_mvdream import write_tokenizer


@pytest.fixture
def folder(tmp_path):
    """A folder with only CLIP's tokenizer."""
    write_tokenizer(tmp_path / "tokenizer")
    return tmp_path


def a_cat(count):
    """`count` tokens of the tiny tokenizer."""
    return " ".join(["a", "cat"] * count)[: 6 * (count // 2) - 1 + 2 * (count % 2)]


@pytest.mark.parametrize("suffix", ["", ", z"])
@pytest.mark.parametrize("count", [0, 1, 72, 73, 74, 75, 76, 200])
def test_tokens_are_the_read_part_then_the_suffix(folder, count, suffix):
    tokenizer = read_tokenizer(folder / "tokenizer")
    prompt = a_cat(count)
    end = unread_end(tokenizer, prompt, suffix)
    read = prompt.removesuffix(end)
    room = 75 - 2 * bool(suffix)
    assert read + end == prompt and len(end.split()) == max(count - room, 0)
    assert tokenize(tokenizer, prompt, 77, 0, suffix) == tokenize(tokenizer, read + suffix, 77, 0)


@pytest.mark.parametrize("count", [20, 22, 23, 60])
def test_the_pocket_prior_reads_everything_except_the_end(count):
    prompt = " ".join(["red", "ball"] * 30)[: 9 * (count // 2) - 1 + 4 * (count % 2)]
    assert len(prompt.split()) == count
    end = unread_texts_of(Config(prompt=prompt)).get("prompt", "")
    assert len(end.split()) == max(count - 22, 0)
    encoder = TextEncoder(POCKET / "text_encoder")
    ids = encoder.tokenize([prompt, prompt.removesuffix(end)])
    assert torch.equal(ids[0], ids[1])


def test_unread_ends_are_of_both_prompts_for_every_prior_of_a_run(folder):
    cfg = Config(prompt=a_cat(76), negative_prompt=a_cat(74), prior=MVDreamConfig(path=str(folder)))
    assert unread_texts_of(cfg) == {"prompt": "cat"}
    single = StableDiffusionConfig(path=str(folder))
    # the longest view, "overhead" and "view" in letters with a comma, takes 13 tokens; a negative prompt has no view
    assert len(unread_texts_of(replace(cfg, prior=single))["prompt"].split()) == 76 - (75 - 13)
    assert unread_texts_of(replace(cfg, prior=replace(single, view_texts=False))) == {"prompt": "cat"}
    stages = (StageConfig(), StageConfig(name="b", prior=PocketConfig()))
    unread = unread_texts_of(replace(cfg, stages=stages))
    assert [len(unread[key].split()) for key in ("prompt", "negative_prompt")] == [76 - 22, 74 - 22]
    assert unread_texts_of(replace(cfg, prompt="a cat", negative_prompt="")) == {}


def test_a_run_prints_the_unread_end_once_and_reports_it(folder, monkeypatch):
    cfg = Config(prompt=a_cat(76), prior=MVDreamConfig(path=str(folder)))
    result = SimpleNamespace(finished=True, scene=None, seconds={}, guard=Guard(), skipped={})
    monkeypatch.setattr(pipeline, "optimize", lambda *args: result)
    monkeypatch.setattr(pipeline, "finish", lambda *args, unread_texts, **kwargs: unread_texts)
    observer = Mock()
    assert pipeline.make_asset(cfg, None, None, observer, lambda: False) == {"prompt": "cat"}
    (note,) = [call.args[0] for call in observer.note.call_args_list]
    assert note == 'prompt: too long: the text encoder does not read its end, "cat"; shorten it'
