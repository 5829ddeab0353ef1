"""Program: distil all-MiniLM-L6-v2 into the short text encoder of the pocket prior.

python -m sds3d.priors.pocket.distil --teacher MODEL_FOLDER --out FOLDER
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
from torch import Tensor

from sds3d.priors.pocket import text
from sds3d.priors.pocket.objects import sample_object

LAYERS = (0, 2, 5)  # of the teacher, where the student's layers start from


def random_sentence(rng: random.Random, words: list[str]) -> str:
    """A caption of the grammar, often with words swapped for any others, or a short list of words."""
    if rng.random() < 0.25:
        return " ".join(rng.choice(words) for _ in range(rng.randint(1, 8)))
    caption = rng.choice(sample_object(rng)[1]).split()
    share = rng.choice((0.0, 0.3, 0.6))
    return " ".join(rng.choice(words) if rng.random() < share else word for word in caption)


def distil(teacher_folder: Path, out: Path, steps: int, batch: int, num_words: int, seed: int, device: str) -> float:
    """Train the student to give the teacher's token states and sentence vector; the last loss (0 = equal)."""
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    rng = random.Random(seed)
    teacher = BertModel.from_pretrained(teacher_folder, add_pooling_layer=False).float().to(device).eval()
    captions = [caption for _ in range(4000) for caption in sample_object(rng)[1]]
    spoken = {word.strip(".,") for caption in captions for word in caption.lower().split()}
    tokenizer_json, kept = text.prune_tokenizer(teacher_folder / "tokenizer.json", num_words, spoken)
    config = BertConfig(
        **{
            **teacher.config.to_dict(),
            "num_hidden_layers": len(LAYERS),
            "vocab_size": len(kept),
            "max_position_embeddings": 64,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "dtype": "float32",
        }
    )
    student = BertModel(config, add_pooling_layer=False).to(device)
    with torch.no_grad():
        student.embeddings.word_embeddings.weight.copy_(teacher.embeddings.word_embeddings.weight[kept])
        student.embeddings.position_embeddings.weight.copy_(teacher.embeddings.position_embeddings.weight[:64])
        student.embeddings.token_type_embeddings.weight.copy_(teacher.embeddings.token_type_embeddings.weight)
        student.embeddings.LayerNorm.load_state_dict(teacher.embeddings.LayerNorm.state_dict())
    for layer, source in zip(student.encoder.layer, LAYERS, strict=True):
        layer.load_state_dict(teacher.encoder.layer[source].state_dict())

    import json

    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json))
    tokenizer.enable_padding(length=text.MAX_TOKENS)
    tokenizer.enable_truncation(text.MAX_TOKENS)
    to_teacher = torch.tensor(kept, device=device)  # one wordpiece sequence for both, so their states correspond
    words = [w for w in tokenizer.get_vocab() if w.isalpha() and len(w) > 2]
    words.sort()
    optimizer = torch.optim.AdamW(student.parameters(), lr=4e-4, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-4, total_steps=steps, pct_start=0.05)
    pool = [random_sentence(rng, words) for _ in range(min(40_000, steps * batch))]
    loss = torch.zeros(())
    for step in range(steps):
        ids = torch.tensor([e.ids for e in tokenizer.encode_batch(rng.sample(pool, batch))], device=device)
        mask = (ids != 0).long()
        with torch.no_grad():
            target = teacher(input_ids=to_teacher[ids] * mask, attention_mask=mask).last_hidden_state
        loss = _mismatch(student(input_ids=ids, attention_mask=mask).last_hidden_state, target, mask)
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
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--words", type=int, default=12000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    loss = distil(args.teacher, args.out, args.steps, args.batch, args.words, args.seed, args.device)
    print(f"distilled: last loss {loss:.4f}")


if __name__ == "__main__":
    main()
