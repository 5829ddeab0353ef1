"""MP4 films: ffmpeg writes them under a time limit, and each is checked for completeness."""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

from sds3d.errors import UserError

FRAMES_PER_SECOND = 24
ENCODER_THREADS = 3  # fixed, since the film depends on it; x264 takes this many on two processors
PATIENCE = 60.0  # seconds allowed for a frame, and for the end of the film; ffmpeg needs milliseconds


def write_film(frames: Iterable[bytes], size: tuple[int, int], path: Path, patience: float = PATIENCE) -> None:
    """Writes an MP4 film (H.264, yuv420p) of `frames`, each height x width x 3 bytes of RGB; `size` is (width, height).

    Raises UserError if ffmpeg cannot be started, fails, makes no progress for `patience` seconds, or leaves an
    incomplete file.
    """
    with tempfile.TemporaryFile() as messages:
        process = _start(_command(size, path), messages)
        try:
            count = _feed(process, frames, patience)
            code = process.wait(patience)
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            raise UserError(f"ffmpeg made no progress for {patience:g} s and was killed; {_remedy(process)}") from error
        finally:
            with suppress(ProcessLookupError):  # it and its children have ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code:
            how = f"exited with code {code}" if code > 0 else f"was killed ({signal.strsignal(-code)})"
            raise UserError(f"ffmpeg {how}{_last_line(messages)}; {_remedy(process)}")
    try:
        found = count_frames(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"ffmpeg reported success, but its film is incomplete ({error}); {_remedy(process)}") from error
    if found != count:
        raise UserError(f"ffmpeg wrote {found} frames; expected {count}; {_remedy(process)}")


def count_frames(data: bytes) -> int:
    """The number of frames of an MP4 file with one track; ValueError if a part of the file is missing.

    ISO/IEC 14496-12: `mdat` contains the frames, `moov` their number and sizes.
    """
    try:
        boxes = _boxes(memoryview(data))
        table = boxes[b"moov"]
        for kind in (b"trak", b"mdia", b"minf", b"stbl", b"stsz"):
            table = _boxes(table)[kind]
        each, count = struct.unpack_from(">4xII", table)
        needed = each * count if each else sum(struct.unpack_from(f">{count}I", table, 12))
        if needed > len(boxes[b"mdat"]):
            raise ValueError(f"its frames have {needed} bytes; {len(boxes[b'mdat'])} are in the file")
    except KeyError as error:
        raise ValueError(f"it has no {error.args[0].decode()}") from error
    except struct.error as error:
        raise ValueError("it is truncated") from error
    return count


def _boxes(data: memoryview) -> dict[bytes, memoryview]:
    """The contents of the boxes that `data` consists of, by kind."""
    boxes = {}
    while data:
        length, kind = struct.unpack_from(">I4s", data)
        start = 8
        if length == 1:  # a length of 64 bits follows
            (length,), start = struct.unpack_from(">Q", data, 8), 16
        if not start <= length <= len(data):
            raise ValueError(f"it is truncated: {kind!r} has {length} bytes, {len(data)} are left")
        boxes[kind], data = data[start:length], data[length:]
    return boxes


def _command(size: tuple[int, int], path: Path) -> list[str]:
    try:
        import imageio_ffmpeg

        program = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise UserError("no ffmpeg was found; pip install imageio-ffmpeg") from error
    width, height = size
    even = f"scale={width + width % 2}:{height + height % 2}"  # yuv420p has one color for 2 x 2 pixels
    return [
        *(program, "-y", "-v", "error"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(FRAMES_PER_SECOND), "-i", "-"),
        *(("-vf", even) if width % 2 or height % 2 else ()),
        *("-an", "-vcodec", "libx264", "-threads", str(ENCODER_THREADS)),
        *("-pix_fmt", "yuv420p", "-crf", "18", "-movflags", "+faststart"),
        str(path.absolute()),  # so that a name that begins with - is not an option
    ]


def _start(command: list[str], messages: IO[bytes]) -> subprocess.Popen[bytes]:
    """ffmpeg in a separate process group, so that Ctrl-C reaches only this process."""
    try:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=messages, bufsize=0, process_group=0
        )
    except OSError as error:
        raise UserError(f"cannot start {command[0]}: {error.strerror}; pip install imageio-ffmpeg") from error


def _feed(process: subprocess.Popen[bytes], frames: Iterable[bytes], patience: float) -> int:
    """Sends `frames` to ffmpeg and returns their number; TimeoutError if it does not read for `patience` seconds."""
    assert process.stdin is not None
    count = 0
    with process.stdin as pipe:
        os.set_blocking(pipe.fileno(), False)  # a write to a blocking pipe has no time limit
        ready = select.poll()
        ready.register(pipe, select.POLLOUT)
        for frame in frames:
            count += 1
            rest = memoryview(frame)
            while rest:
                if not ready.poll(1000 * patience):
                    raise TimeoutError
                try:
                    rest = rest[os.write(pipe.fileno(), rest) :]
                except BrokenPipeError:  # it ended early; its exit code and its output show why
                    return count
    return count


def _last_line(messages: IO[bytes]) -> str:
    """A colon and the last line of ffmpeg's output, at most 200 printable characters; empty without output."""
    messages.seek(max(messages.seek(0, os.SEEK_END) - 2000, 0))
    lines = messages.read().decode("utf-8", "replace").split("\n")
    line = next((line for line in reversed(lines) if line.strip()), "")
    text = "".join(character for character in line.strip() if character.isprintable())[:200]
    return f": {text}" if text else ""


def _remedy(process: subprocess.Popen[bytes]) -> str:
    assert isinstance(process.args, list)
    return f"check the disk and {process.args[0]} (see `sds3d doctor`)"
