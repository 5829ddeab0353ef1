"""The errors a user can cause: one line of text, exit code 2, no traceback."""

from __future__ import annotations

import errno
import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

MAX_MESSAGE = 2000  # characters; what a message quotes may be as long as a file

# How errors of other types report it: of torch's allocator, the dynamic loader, Python's threads, CUDA's libraries.
NO_MEMORY = re.compile(
    "can't allocate memory|cannot allocate memory|not enough memory|bad_alloc|failed to map segment|"
    "can't start new thread|out of memory|OUT_OF_MEMORY|STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)


class UserError(ValueError):
    """An error that the user can fix; the message gives what, where, expected, got and the next step."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """`text` on one line of at most MAX_MESSAGE characters, fit for a terminal.

    Of a longer text the middle is left out: the beginning says what and where, the end what to do. Control characters
    become escapes, because names of files and values in them may hold sequences that drive a terminal.
    """
    if len(text) > MAX_MESSAGE:
        half = MAX_MESSAGE // 2 - 20
        text = f"{text[:half]} ... {len(text) - 2 * half} characters ... {text[-half:]}"
    return "".join(_escape(letter) for letter in " ".join(text.splitlines()))


def as_user_error(error: BaseException) -> UserError | None:
    """`error` as one of the user's if the machine caused it: its memory, a file, a disk. None for any other."""
    if isinstance(error, UserError):
        return error
    if (memory := lacking_memory(error)) is not None:
        return UserError(f"out of {memory}; end other programs or lower the settings that `sds3d estimate` counts")
    if isinstance(error, OSError) and error.filename is not None:
        return UserError(f"cannot use {os.fsdecode(error.filename)}: {error.strerror}; choose another path")
    return None


def lacking_memory(error: BaseException) -> str | None:
    """ "memory" or "GPU memory" if `error` reports the lack of it, else None."""
    kind = type(error)
    if kind.__name__ == "OutOfMemoryError" and kind.__module__.startswith("torch"):
        return "GPU memory"
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "memory"
    if isinstance(error, RuntimeError | OSError | ImportError) and NO_MEMORY.search(text := str(error)):
        return "GPU memory" if re.search("cuda|cudnn|cublas", text, re.IGNORECASE) else "memory"
    return None


@contextmanager
def memory_for(what: str, remedy: str) -> Iterator[None]:
    """In this block, a lack of memory is a UserError that names `what` and ends in `remedy`."""
    try:
        yield
    except Exception as error:
        if (memory := lacking_memory(error)) is None:
            raise
        raise UserError(f"{what}: out of {memory}; {remedy}") from error


def _escape(letter: str) -> str:
    return ascii(letter)[1:-1] if unicodedata.category(letter) == "Cc" else letter
