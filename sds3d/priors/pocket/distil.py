"""Program: distil the first layers of all-mpnet-base-v2 into the short text encoder of the pocket prior.

python -m sds3d.priors.pocket.distil --teacher MODEL_FOLDER --out FOLDER

The last layer is not the target: its states describe the topic of a sentence, while earlier ones still distinguish
azure from emerald.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sds3d.files import user_path
from sds3d.priors.pocket import text
from sds3d.priors.quantize import dequantize, quantize
from sds3d.priors.weights import POCKET
from sds3d.procedural.objects import sample_object

TEACHER_LAYERS = 6  # of twelve; the student learns the states after them
LAYERS = 3  # of the student
POOL = 400_000  # sentences, from which batches are sampled
EVENNESS = 0.5  # exponent of the scaling of the kept directions: 0 keeps their lengths, 1 equalizes them
MARKS = {"[CLS]": "<s>", "[SEP]": "</s>", "[PAD]": "<pad>"}  # our special pieces -> the teacher's names


@dataclass(frozen=True)
class DistillationConfig:
    """A distillation."""

    teacher: Path  # folder of all-mpnet-base-v2
    out: Path  # folder of the text encoder
    tokenizer: Path  # a tokenizer.json
    steps: int
    batch: int  # sentences
    seed: int
    device: str


def random_sentence(rng: random.Random, words: list[str], captions: list[str]) -> str:
    """A procedural caption, often with random words in place of some; a short noun phrase; or a list of words."""
    kind = rng.random()
    if kind < 0.2:
        return " ".join(rng.choice(words) for _ in range(rng.randint(1, 8)))
    if kind < 0.5:
        return "a " + " ".join(rng.choice(words) for _ in range(rng.randint(1, 3)))
    share = rng.choice((0.0, 0.3, 0.6))
    return " ".join(rng.choice(words) if rng.random() < share else word for word in rng.choice(captions).split())


def sentence_ids(tokenizer_json: str, count: int, rng: random.Random) -> Tensor:
    """Token ids [count, MAX_TOKENS] of random sentences."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.enable_padding(length=text.MAX_TOKENS)
    tokenizer.enable_truncation(text.MAX_TOKENS)
    words = sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2)
    captions = [caption for _ in range(min(4000, count)) for caption in sample_object(rng)[1]]
    sentences = [random_sentence(rng, words, captions) for _ in range(count)]
    return torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(sentences)])


class Teacher(nn.Module):
    """Maps ids of our word pieces to the teacher's states, along the directions in which single words differ most."""

    def __init__(self, folder: Path, tokenizer_json: str) -> None:
        from transformers import AutoModel

        super().__init__()
        self.teacher_ids: Tensor
        self.model = AutoModel.from_pretrained(folder, add_pooling_layer=False).float().eval()
        self.model.encoder.layer = self.model.encoder.layer[:TEACHER_LAYERS]
        self.register_buffer("teacher_ids", same_pieces(tokenizer_json, (folder / "tokenizer.json").read_text("utf-8")))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("directions", torch.eye(self.model.config.hidden_size))

    @torch.no_grad()
    def forward(self, ids: Tensor) -> Tensor:
        """States [B, L, WIDTH] of `ids` [B, L], whose padding is 0; [B, L, hidden] before `look_at_words`."""
        states = self.model(input_ids=self.teacher_ids[ids], attention_mask=(ids != 0).long()).last_hidden_state
        return (states.float() - self.mean) @ self.directions

    def look_at_words(self, first: int, last: int) -> Tensor:
        """Fixes the directions, and returns the states [V, WIDTH] of all V pieces, each alone between two marks."""
        pieces = torch.arange(len(self.teacher_ids), device=self.teacher_ids.device)
        states = torch.cat(
            [
                self(torch.stack([torch.full_like(x, first), x, torch.full_like(x, last)], 1))[:, 1]
                for x in pieces.split(1024)
            ]
        )
        self.mean = states.mean(0)
        _, lengths, directions = torch.linalg.svd(states - self.mean, full_matrices=False)
        self.directions = (directions / lengths[:, None] ** EVENNESS)[: text.WIDTH].T
        return (states - self.mean) @ self.directions


def same_pieces(ours: str, teachers: str) -> Tensor:
    """The teacher's ids of our word pieces, [V] long, from the contents of both tokenizer.json files."""
    our_ids, their_ids = (json.loads(content)["model"]["vocab"] for content in (ours, teachers))
    return torch.tensor([their_ids[MARKS.get(piece, piece)] for piece in sorted(our_ids, key=our_ids.__getitem__)])


def build_student(words: Tensor) -> nn.Module:
    """A BERT with a fixed word table: the states `words` [V, WIDTH], quantized as in the stored file."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(words),
        hidden_size=text.WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=12,
        intermediate_size=4 * text.WIDTH,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    student = BertModel(config, add_pooling_layer=False)
    name = "word_embeddings.weight"
    table = dequantize(quantize({name: nn.functional.layer_norm(words, words.shape[-1:])}))[name]
    with torch.no_grad():
        student.embeddings.word_embeddings.weight.copy_(table)
    student.embeddings.word_embeddings.requires_grad_(False)
    return student


def distil(cfg: DistillationConfig) -> float:
    """Trains the student to predict the teacher's token states and their mean; returns the last loss (0 = equal)."""
    from tokenizers import Tokenizer

    torch.manual_seed(cfg.seed)
    tokenizer_json = cfg.tokenizer.read_text(encoding="utf-8")
    tokenizer = Tokenizer.from_str(tokenizer_json)
    teacher = Teacher(cfg.teacher, tokenizer_json).to(cfg.device)
    first, last = (tokenizer.token_to_id(mark) for mark in ("[CLS]", "[SEP]"))
    assert first is not None and last is not None
    student = build_student(teacher.look_at_words(first, last)).to(cfg.device)
    pool = sentence_ids(tokenizer_json, min(POOL, cfg.steps * cfg.batch), random.Random(cfg.seed)).to(cfg.device)
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=6e-4, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-4, total_steps=cfg.steps, pct_start=0.05)
    loss = torch.zeros(())
    for step in range(cfg.steps):
        ids = pool[torch.randint(len(pool), (cfg.batch,), device=cfg.device)]
        mask = (ids != 0).long()
        with torch.autocast(torch.device(cfg.device).type, torch.bfloat16, enabled=cfg.device != "cpu"):
            target = teacher(ids)
            states = student(input_ids=ids, attention_mask=mask).last_hidden_state
        loss = _mismatch(states.float(), target.float(), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            print(f"distil step {step}  loss {loss.item():.4f}", flush=True)
    text.save_text_encoder(student.eval(), tokenizer_json, cfg.out)
    return loss.item()


def _mismatch(states: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """1 - cosine of token states plus 1 - cosine of mean-pooled sentences."""
    weight = mask[..., None].to(states)
    tokens = 1 - torch.nn.functional.cosine_similarity(states, target, dim=-1)
    pooled, expected = ((x * weight).sum(1) / weight.sum(1) for x in (states, target))
    sentences = 1 - torch.nn.functional.cosine_similarity(pooled, expected, dim=-1)
    return (tokens * mask).sum() / mask.sum() + sentences.mean()


def parse(argv: Sequence[str] | None) -> DistillationConfig:
    """The options of the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=user_path, required=True, metavar="FOLDER", help="all-mpnet-base-v2")
    parser.add_argument("--out", type=user_path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--tokenizer",
        type=user_path,
        default=POCKET / "text_encoder" / "tokenizer.json",
        metavar="FILE",
        help="of BERT's word pieces (default: the shipped one)",
    )
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return DistillationConfig(**vars(parser.parse_args(argv)))


def main(argv: Sequence[str] | None = None) -> None:
    print(f"distilled: last loss {distil(parse(argv)):.4f}")


if __name__ == "__main__":
    main()
