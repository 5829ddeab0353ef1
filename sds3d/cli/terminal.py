"""The terminal, pipe or file that the program talks to: it may go away, fill up or lack letters; the work goes on."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import TextIO, cast


class SteadyFile(io.FileIO):
    """A file descriptor whose writes always succeed: what the system does not take is lost, and `error` says why."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.error: OSError | None = None

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        """The number of bytes that are done with: written or lost."""
        try:
            while (written := super().write(data)) is None:  # the descriptor does not block, and its reader is slow
                select.select([], [self], [])
            return written
        except OSError as error:
            self.error = self.error or error
            return len(data)


def steady_streams() -> None:
    """Replaces standard output and error by streams to the same descriptors whose writes never fail.

    A letter that the encoding of a stream lacks is written as an escape. A closed descriptor is opened on /dev/null,
    since the next file would get its number otherwise, and with it whatever libraries print.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(null, True)
    sys.stdout, sys.stderr = _steady(sys.stdout, 1), _steady(sys.stderr, 2)


def lost_output() -> str | None:
    """Why some of the output was lost; None if none was, or if its reader has ended, as in `sds3d doctor | head`."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error = raw.error if isinstance(raw, SteadyFile) else None
    return None if error is None or error.errno == errno.EPIPE else os.strerror(error.errno or errno.EIO)


def typed(word: str) -> str:
    """A word of the command line as text: where its bytes are not of the locale's encoding, they may be UTF-8."""
    with suppress(UnicodeError):
        word.encode()
        return word
    with suppress(UnicodeError):
        return os.fsencode(word).decode()
    return word


def _steady(stream: TextIO | None, descriptor: int) -> TextIO:
    """A stream like `stream`, which is None if its descriptor was closed when Python started."""
    if stream is None:
        return io.TextIOWrapper(_writer(os.open(os.devnull, os.O_WRONLY)), encoding="utf-8")
    assert isinstance(stream, io.TextIOWrapper)
    with suppress(OSError):
        stream.flush()
    return io.TextIOWrapper(
        _writer(descriptor),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _writer(descriptor: int) -> io.BufferedWriter:
    return io.BufferedWriter(cast(io.RawIOBase, SteadyFile(descriptor)))
