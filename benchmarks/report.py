"""What the reports of benchmarks share: the description of the machine, and replaceable blocks of a page.

Imports no torch: a child process starts with the peak memory of its parent.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROBE = """
import json, torch
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
print(json.dumps({"torch": torch.__version__, "gpu": gpu}))
"""


@dataclass(frozen=True)
class Machine:
    """The machine that a benchmark ran on."""

    cpu: str
    cores: int
    gpu: str  # empty if none is used
    torch: str

    @property
    def kind(self) -> str:
        return "cuda" if self.gpu else "cpu"

    def __str__(self) -> str:
        gpu = f", {self.gpu}" if self.gpu else ", no GPU used"
        return f"{self.cpu}, {self.cores} cores{gpu}; torch {self.torch}, Python {platform.python_version()}"


def describe_machine(device: str) -> Machine:
    """This machine as sds3d with `device` (auto, cpu, cuda) uses it."""
    probe = subprocess.run([sys.executable, "-c", PROBE], check=True, capture_output=True, encoding="utf-8", cwd=ROOT)
    found = json.loads(probe.stdout)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(_cpu_model(), cores, "" if device == "cpu" else found["gpu"], found["torch"])


def replace_block(text: str, name: str, block: str) -> str:
    """`text` with `block` between the lines `<!-- NAME: begin -->` and `<!-- NAME: end -->`, instead of the old lines.

    Raises ValueError unless there is exactly one such pair of lines.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"expected one line {begin!r}, followed by one line {end!r}")
    return pattern.sub(lambda match: f"{match[1]}{block.strip()}\n{match[2]}", text)


def write_block(path: Path, name: str, block: str) -> None:
    """Replaces the block `name` of the file at `path`."""
    from sds3d.files import atomic_write

    atomic_write(path, replace_block(path.read_text(encoding="utf-8"), name, block))


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        re.findall(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.MULTILINE) if info.is_file() else []
    )
    return names[0] if names else platform.processor() or platform.machine()
