"""Whether a PLY file is whole."""

from __future__ import annotations

import re

BYTES = {"char": 1, "uchar": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4, "float": 4, "double": 8}


def check_ply(data: bytes) -> None:
    """Raises ValueError unless `data` is a binary PLY file without lists, as long as its header says."""
    header, end, body = data.partition(b"end_header\n")
    size = count = 0
    for line in header.decode("ascii", "replace").splitlines():
        if found := re.fullmatch(r"element \w+ (\d+)", line):
            count = int(found[1])
        elif found := re.fullmatch(r"property (\w+) \w+", line):
            size += count * BYTES.get(found[1], 0)
    if not header.startswith(b"ply\nformat binary_") or not end or len(body) != size:
        raise ValueError(f"expected a binary PLY file of {size} bytes after its header, got {len(body)}")
