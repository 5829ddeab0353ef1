"""Program: distil all-MiniLM-L6-v2 into the short text encoder of the pocket prior.

python -m sds3d.priors.pocket.distil --teacher MODEL_FOLDER --out FOLDER
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
from torch import Tensor, nn

from sds3d.priors.pocket import text
from sds3d.priors.pocket.objects import sample_object
from sds3d.priors.pocket.quantize import dequantize, quantize

LAYERS = (0, 2, 5)  # of the teacher, where the student's layers start from
POOL = 400_000  # sentences, drawn from again and again


def random_sentence(rng: random.Random, words: list[str], captions: list[str]) -> str:
    """A caption of the grammar, often with words swapped for any others; a short noun phrase; or a list of words."""
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


def build_student(teacher: nn.Module) -> nn.Module:
    """Every second layer of the teacher or so, and its word table as it will be stored, which is not trained."""
    from transformers import BertConfig, BertModel

    changes = {"num_hidden_layers": len(LAYERS), "max_position_embeddings": 64, "dtype": "float32"}
    changes |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    student = BertModel(BertConfig(**{**teacher.config.to_dict(), **changes}), add_pooling_layer=False)
    state = teacher.embeddings.state_dict()
    state["position_embeddings.weight"] = state["position_embeddings.weight"][:64]
    student.embeddings.load_state_dict(dequantize(quantize(state)))
    student.embeddings.word_embeddings.requires_grad_(False)
    for layer, source in zip(student.encoder.layer, LAYERS, strict=True):
        layer.load_state_dict(teacher.encoder.layer[source].state_dict())
    return student


def distil(teacher_folder: Path, out: Path, steps: int, batch: int, seed: int, device: str) -> float:
    """Train the student to give the teacher's token states and sentence vector; the last loss (0 = equal)."""
    from transformers import BertModel

    torch.manual_seed(seed)
    teacher = BertModel.from_pretrained(teacher_folder, add_pooling_layer=False).float().eval()
    student = build_student(teacher).to(device)
    teacher.to(device)
    tokenizer_json = (teacher_folder / "tokenizer.json").read_text(encoding="utf-8")
    pool = sentence_ids(tokenizer_json, min(POOL, steps * batch), random.Random(seed)).to(device)
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=6e-4, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-4, total_steps=steps, pct_start=0.05)
    loss = torch.zeros(())
    for step in range(steps):
        ids = pool[torch.randint(len(pool), (batch,), device=device)]
        mask = (ids != 0).long()
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu"):
            with torch.no_grad():
                target = teacher(input_ids=ids, attention_mask=mask).last_hidden_state
            states = student(input_ids=ids, attention_mask=mask).last_hidden_state
        loss = _mismatch(states.float(), target.float(), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            print(f"distil step {step}  loss {loss.item():.4f}", flush=True)
    text.save_text_encoder(student.eval(), tokenizer_json, out)
    return loss.item()


def _mismatch(states: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """1 - cosine of token states plus 1 - cosine of mean-pooled sentences."""
    weight = mask[..., None].to(states)
    tokens = 1 - torch.nn.functional.cosine_similarity(states, target, dim=-1)
    pooled = [(x * weight).sum(1) / weight.sum(1) for x in (states, target)]
    sentences = 1 - torch.nn.functional.cosine_similarity(*pooled, dim=-1)
    return (tokens * mask).sum() / mask.sum() + sentences.mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    loss = distil(args.teacher, args.out, args.steps, args.batch, args.seed, args.device)
    print(f"distilled: last loss {loss:.4f}")


if __name__ == "__main__":
    main()
