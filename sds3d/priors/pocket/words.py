"""Which words of a prompt the pocket prior reads, and which of them were in its training captions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from sds3d.errors import UserError
from sds3d.priors.weights import verify

WORDS = "words.txt"  # in the folder of the weights, one word per line
MAX_TOKENS = 24  # of a prompt, start and end included; the rest is not read
# words that add no meaning
EMPTY = frozenset(
    ("a", "an", "the", "this", "that", "these", "those", "my", "your", "our", "his", "her", "its", "some", "any")
    + ("very", "really", "please")
)


def words_of(text: str) -> list[str]:
    """The words of `text` in order, in lower case."""
    return re.findall(r"[^\W\d_]+", text.lower())


def known_words(captions: Iterable[str]) -> str:
    """The content of WORDS after a training on `captions`."""
    words = {word for caption in captions for word in words_of(caption)}
    return "".join(f"{word}\n" for word in sorted(words))


def unseen_words(prompt: str, folder: Path) -> list[str]:
    """The words of `prompt`, each once, that no training caption of the prior in `folder` contained.

    Singular and plural count as one. The list is empty if the folder has no list of words.
    """
    path = folder / WORDS
    if not path.is_file():
        return []
    known = set(path.read_text(encoding="utf-8", errors="replace").split())
    candidates = [word for word in dict.fromkeys(words_of(prompt)) if word not in EMPTY]
    return [word for word in candidates if known.isdisjoint({word, f"{word}s", word.removesuffix("s")})]


def unread_end(prompt: str, folder: Path) -> str:
    """The end of `prompt` beyond the MAX_TOKENS tokens that the prior in `folder` reads; empty if everything fits.

    UserError if the tokenizer is missing or damaged.
    """
    from tokenizers import Tokenizer

    path = folder / "text_encoder" / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises no more specific type
        verify(folder)  # its message names what is damaged
        raise UserError(f"{path}: no tokenizer ({error}); copy the prior's folder again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    room = MAX_TOKENS - tokenizer.num_special_tokens_to_add(is_pair=False)
    offsets = tokenizer.encode(prompt, add_special_tokens=False).offsets
    return prompt[offsets[room][0] :] if room < len(offsets) else ""
