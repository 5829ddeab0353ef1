"""CLIP's tokenizer: reading its files, the tokens of a prompt, and the end of a prompt that is not read."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sds3d.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
CLIP_LENGTH = 77  # tokens of a prompt, start and end included
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer.json")  # the first two, or the third
# CLIP's pattern of a word; each digit is a word of its own.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
CURLY_QUOTES = dict.fromkeys([0x02BC, *range(0x2018, 0x201C)], "'") | dict.fromkeys(range(0x201C, 0x2020), '"')


def clean_text(prompt: str) -> str:
    """`prompt` with straight quotes and without HTML escapes, as OpenCLIP and CLIP clean a text before encoding it.

    They also repair wrongly decoded text and replace full-width letters and ligatures (ftfy.fix_text), which this
    does not.
    """
    return html.unescape(html.unescape(prompt.translate(CURLY_QUOTES)))


def tokenize(tokenizer: Tokenizer, prompt: str, length: int, padding: int, suffix: str = "") -> list[int]:
    """Exactly `length` token ids: start, the text, end, padding.

    The text is `prompt` followed by `suffix`. If it is too long, the end of `prompt` is dropped and `suffix` stays.
    """
    start, end = token_id(tokenizer, START), token_id(tokenizer, END)
    text = _ids(tokenizer, prompt + suffix)
    if len(text) > length - 2:
        kept = _ids(tokenizer, suffix)
        text = _ids(tokenizer, prompt)[: length - 2 - len(kept)] + kept
    ids = [start, *text, end]
    return ids + [padding] * (length - len(ids))


def unread_end(tokenizer: Tokenizer, prompt: str, suffix: str = "", length: int = CLIP_LENGTH) -> str:
    """The end of `prompt` that `tokenize` drops; empty if everything fits."""
    if len(_ids(tokenizer, prompt + suffix)) <= length - 2:
        return ""
    room = length - 2 - len(_ids(tokenizer, suffix))
    offsets = tokenizer.encode(prompt, add_special_tokens=False).offsets
    return prompt[offsets[room][0] :] if room < len(offsets) else ""


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a special token that every CLIP tokenizer has."""
    number = tokenizer.token_to_id(token)
    assert number is not None
    return number


def read_tokenizer(folder: Path) -> Tokenizer:
    """CLIP's byte-pair encoding of lower-cased text; special tokens in a prompt are encoded as plain letters."""
    check_tokenizer(folder)
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    vocabulary, merges, whole = (str(folder / name) for name in TOKENIZER_FILES)
    try:
        if not Path(vocabulary).is_file():
            tokenizer = Tokenizer.from_file(whole)
        else:
            model = models.BPE.from_file(vocabulary, merges, unk_token=END, end_of_word_suffix="</w>")
            tokenizer = Tokenizer(model)
            tokenizer.normalizer = normalizers.Sequence(
                [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
            )
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
                pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ])  # fmt: skip
    except Exception as error:  # the reader raises plain Exceptions
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder}: no tokenizer can be read ({reason}); download its files again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    for token in (START, END):
        if tokenizer.token_to_id(token) is None:
            raise UserError(f"{folder}: expected a CLIP tokenizer, got one without {token}")
    _check_merges(tokenizer, folder)
    return tokenizer


def check_tokenizer(folder: Path) -> None:
    """Raises UserError unless `folder` holds a CLIP tokenizer."""
    if not has_tokenizer(folder):
        raise UserError(f"{folder}: no tokenizer; expected vocab.json and merges.txt, or tokenizer.json")


def has_tokenizer(folder: Path) -> bool:
    """Whether `folder` holds the files of a CLIP tokenizer."""
    vocabulary, merges, whole = ((folder / name).is_file() for name in TOKENIZER_FILES)
    return vocabulary and merges or whole


def check_ids(folder: Path, vocabulary: Mapping[str, int], words: int) -> None:
    """Raises UserError unless all token ids of `vocabulary` are below the text encoder's number of `words`."""
    largest = max(vocabulary.values())
    if largest >= words:
        raise UserError(
            f"{folder}: expected the tokenizer of a text encoder of {words} tokens, got token ids up to {largest}; "
            "replace it with the model's own tokenizer"
        )


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def _check_merges(tokenizer: Tokenizer, folder: Path) -> None:
    """Raises UserError if no merge makes some word of the vocabulary, as in a truncated file of merges."""
    model = json.loads(tokenizer.to_str())["model"]
    pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model.get("merges", ()))
    made = {"".join(pair) for pair in pairs}
    words = [word for word in model["vocab"] if len(word.removesuffix("</w>")) > 1 and not re.fullmatch("<.*>", word)]
    missing = [word for word in words if word not in made]
    if missing:
        raise UserError(
            f"{folder}: damaged: its merges make {len(words) - len(missing)} of the {len(words)} words of its "
            "vocabulary; download its files again"
        )
