"""From the CUDA sources to a fatbin that the package carries.

setup.py imports this file, before the dependencies of sds3d are installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from sds3d.files import write_cached

UNITS = {"splat": "splat/splat.cu", "procedural": "procedural/trace.cu", "norm": "norm/norm.cu"}  # below cuda_ext
COMPILE_FLAGS = ("-std=c++17",)  # of nvcc and NVRTC alike
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)  # compute capability times ten


def read_sources(folder: Path, unit: str) -> dict[str, str]:
    """The sources of `unit` by file name: first its .cu, then the headers that it includes in quotes.

    All lie in one folder of `folder`, which is cuda_ext. OSError if one is missing.
    """
    main = folder / UNITS[unit]
    texts: dict[str, str] = {}
    waiting = [main.name]
    while waiting:
        name = waiting.pop(0)
        if name not in texts:
            texts[name] = (main.parent / name).read_text(encoding="utf-8")
            waiting += re.findall(r'^\s*#\s*include\s*"([^"]+)"', texts[name], re.MULTILINE)
    return texts


def digest(sources: dict[str, str], settings: Iterable[str]) -> str:
    """16 hexadecimal digits that change with the sources and with the compiler's settings."""
    return hashlib.sha256(repr((sorted(sources.items()), list(settings))).encode()).hexdigest()[:16]


def fatbin_name(folder: Path, unit: str) -> str:
    """File name of the fatbin built from the sources as they are now; OSError if they are not there."""
    return f"sds3d_{unit}-{digest(read_sources(folder, unit), COMPILE_FLAGS)}.fatbin"


def find_nvcc() -> str | None:
    """nvcc of $CUDA_HOME, of PATH, or of /usr/local/cuda."""
    home = os.environ.get("CUDA_HOME")
    places = ([f"{home}/bin/nvcc"] if home else []) + ["nvcc", "/usr/local/cuda/bin/nvcc"]
    return next(filter(None, map(shutil.which, places)), None)


def architectures(nvcc: str) -> list[int]:
    """Those of ARCHITECTURES that this nvcc compiles for, ascending; OSError if it knows none or does not run."""
    known = {int(x) for x in re.findall(r"\bcompute_(\d+)\b", _run([nvcc, "--list-gpu-arch"]))}
    chosen = [x for x in ARCHITECTURES if x in known]
    if not chosen:
        raise OSError(f"{nvcc} compiles for none of the architectures {ARCHITECTURES}")
    return chosen


def compile_fatbin(folder: Path, unit: str, target: Path, nvcc: str) -> None:
    """Machine code of `unit` for every one of `architectures(nvcc)` and PTX for the newest, at `target`.

    `target` ends with its digest; it is complete or not there at all. OSError with nvcc's message if it fails.
    """
    chosen = architectures(nvcc)
    codes = [f"-gencode=arch=compute_{x},code=sm_{x}" for x in chosen]
    codes.append(f"-gencode=arch=compute_{chosen[-1]},code=compute_{chosen[-1]}")
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch) / target.name
        _run([nvcc, "-fatbin", "-t", "0", *COMPILE_FLAGS, *codes, str(folder / UNITS[unit]), "-o", str(built)])
        write_cached(target, built.read_bytes())


def _run(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if result.returncode:
        raise OSError(f"{command[0]} failed: {(result.stderr or result.stdout).strip()[-500:]}")
    return result.stdout
