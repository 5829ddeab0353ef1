"""The files that a mesh refers to, looked up in a list, so that no name from a file is ever opened as a path."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sds3d.errors import UserError
from sds3d.files import megabytes, read_regular

MAX_BYTES = 256_000_000  # of one file, and of all that it refers to
SHOWN = 200  # characters of a name
# The formats that mesh files use; Pillow has others, and runs a program to read some of them.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TGA", "TIFF", "GIF", "DDS")


class Missing(UserError):
    """The list has no such file."""


class Beside:
    """Files by their paths relative to a folder; at most MAX_BYTES are read in all."""

    def __init__(self, folder: str, files: Mapping[str, Path]) -> None:
        self.folder, self.files, self.room = folder, files, MAX_BYTES

    def read(self, name: str) -> bytes:
        """The content of the file `name`, a path relative to `folder`; raises UserError that names it."""
        try:
            plain = name.strip().replace("\\", "/")
            # URIs of glTF are percent-encoded, but not every exporter does it
            wanted = [posixpath.normpath(posixpath.join(self.folder, text)) for text in (plain, unquote(plain))]
            found = next((path for path in wanted if path in self.files), None)
            if found is None:
                raise Missing("no such file in that folder")
            data = read_file(self.files[found], self.room)
        except UserError as error:
            raise type(error)(f"refers to {name[:SHOWN]!r}: {error}") from error
        self.room -= len(data)
        return data

    def picture(self, name: str) -> Any:
        """The PIL image in the file `name`."""
        data = self.read(name)
        try:
            return open_picture(data)
        except UserError as error:
            raise UserError(f"refers to {name[:SHOWN]!r}: {error}") from error


def read_file(path: Path, room: int = MAX_BYTES) -> bytes:
    """The content of a file of at most `room` bytes."""
    try:
        size = path.stat().st_size
        if size > room:
            raise UserError(f"expected at most {megabytes(MAX_BYTES)} in all, got {megabytes(MAX_BYTES - room + size)}")
        return read_regular(path, room)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})") from error
    except ValueError as error:  # it is no regular file, or it grows
        raise error if isinstance(error, UserError) else UserError(f"cannot be read ({error})") from error


def open_picture(data: bytes) -> Any:
    """The PIL image in `data`, whose pixels are not decoded yet."""
    from PIL import Image

    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # Pillow's parsers raise any exception
        raise UserError("not a picture that can be read; expected PNG or JPEG") from error
