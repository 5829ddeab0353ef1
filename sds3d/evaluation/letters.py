"""Encodes words by hashed letter n-grams: there is no vocabulary, and no word is unknown.

As in fastText (Bojanowski et al., arXiv:1607.04606), a word is encoded as itself and its letter trigrams, each hashed
to a row of a table. So the judge shares no tokenizer and no weights with the text encoder of any prior.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

BUCKETS = 4096  # rows of the table; row 0 is padding
MAX_WORDS = 24  # the rest of a text is ignored
MAX_PIECES = 16  # per word: itself and its first 15 trigrams


def pieces(texts: Sequence[str]) -> Tensor:
    """Table rows [B, MAX_WORDS, MAX_PIECES] long of the words of `texts`, 0 as padding."""
    ids = torch.zeros(len(texts), MAX_WORDS, MAX_PIECES, dtype=torch.long)
    for row, text in zip(ids, texts, strict=True):
        words = re.findall("[a-z0-9]+", text.lower())[:MAX_WORDS]
        if words:
            row[: len(words)] = torch.tensor([_word_pieces(word) for word in words])
    return ids


@lru_cache(1 << 16)
def _word_pieces(word: str) -> tuple[int, ...]:
    marked = f"<{word}>"
    parts = [marked, *(marked[k : k + 3] for k in range(len(marked) - 2))][:MAX_PIECES]
    rows = [1 + zlib.crc32(part.encode()) % (BUCKETS - 1) for part in parts]
    return (*rows, *[0] * (MAX_PIECES - len(rows)))
