"""Cost of an asset and quality of its mesh: wall time, memory, similarity to the splats, validity of the GLB.

python -m benchmarks.asset [PROMPT ...] [--config NAME] [--device cpu] [--keep DIR] [--write docs/benchmarks.md]

Exits with 1 if a limit is missed. Imports no torch: a child process starts with the peak memory of its parent.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import describe_machine, write_block

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tests" / "tools"
PROMPTS = ("a red mushroom with white dots", "a blue chair", "a yellow rubber duck")
COLUMNS = ("prompt", "wall s", "peak GB", "PSNR dB", "IoU", "faces", "components", "watertight", "GLB errors")


@dataclass(frozen=True)
class Limits:
    """Targets of a run on one kind of machine."""

    wall_s: float
    peak_gb: float = 3.0
    psnr_db: float = 25.0
    iou: float = 0.95
    glb_errors: int = 0

    def __str__(self) -> str:
        return (
            f"at most {self.wall_s:g} s and {self.peak_gb:g} GB, at least {self.psnr_db:g} dB and an IoU of "
            f"{self.iou:g}, {self.glb_errors} GLB errors"
        )


LIMITS = {"cpu": Limits(wall_s=180.0), "cuda": Limits(wall_s=10.0)}


@dataclass(frozen=True)
class Measurement:
    """Results of one run."""

    prompt: str
    wall_s: float  # of the whole process, imports and loading included
    peak_gb: float  # resident host memory
    psnr_db: float  # mesh against splats, both rendered
    iou: float  # of their silhouettes
    faces: int
    components: int
    watertight: bool
    glb_errors: int | None  # None: the validator is not installed
    seconds: dict[str, float]  # parts of `wall_s` by name

    def missed(self, limits: Limits) -> list[str]:
        """The names of the limits that this run exceeds or misses."""
        met = {
            "wall_s": self.wall_s <= limits.wall_s,
            "peak_gb": self.peak_gb <= limits.peak_gb,
            "psnr_db": self.psnr_db >= limits.psnr_db,
            "iou": self.iou >= limits.iou,
            "glb_errors": self.glb_errors is None or self.glb_errors <= limits.glb_errors,
        }
        return [name for name, is_met in met.items() if not is_met]


def measure(prompt: str, config: str, device: str, keep: Path | None = None) -> Measurement:
    """Makes one asset and measures it; moves the run folder into `keep`, or deletes it."""
    with tempfile.TemporaryDirectory(prefix="sds3d-bench-") as out:
        command = [sys.executable, "-m", "sds3d", "generate", "--config", config, f"out={out}", f"device={device}"]
        began = time.perf_counter()
        process = subprocess.Popen([*command, "--", prompt], cwd=ROOT, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"error: {prompt!r}: sds3d generate ended with code {process.returncode}")
        [run] = Path(out).iterdir()
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        unit = 1 if platform.system() == "Darwin" else 1024
        measurement = Measurement(
            prompt=prompt,
            wall_s=wall_s,
            peak_gb=usage.ru_maxrss * unit / 1e9,
            glb_errors=count_glb_errors(run / "mesh.glb"),
            seconds=breakdown(report, wall_s),
            **{name: report[name] for name in ("psnr_db", "iou", "faces", "components", "watertight")},
        )
        if keep:
            shutil.move(run, keep / run.name)
        return measurement


def breakdown(report: dict[str, Any], wall_s: float) -> dict[str, float]:
    """The parts of `wall_s` by name: those in report.json, the steps of meshing, and the rest ("start and end")."""
    parts = dict(report["seconds"])
    meshing = {f"mesh {name}": seconds for name, seconds in report["mesh_seconds"].items()}
    parts["mesh other"] = parts.pop("mesh") - sum(meshing.values())
    return {"start and end": wall_s - sum(report["seconds"].values()), **parts, **meshing}


def count_glb_errors(path: Path) -> int | None:
    """The number of errors that the Khronos validator finds in a GLB file, or None if it is not installed."""
    node = shutil.which("node")
    if node is None or not (TOOLS / "node_modules" / "gltf-validator").is_dir():
        return None
    command = [node, str(TOOLS / "validate_glb.js"), str(path)]
    found = subprocess.run(command, capture_output=True, encoding="utf-8")  # exits with 1 if there are errors
    return json.loads(found.stdout)["errors"]


def table(rows: Sequence[Measurement]) -> str:
    """A markdown table."""
    lines = [COLUMNS, ("---",) + ("--:",) * (len(COLUMNS) - 1)]
    for row in rows:
        lines.append(
            (
                row.prompt.replace("|", "\\|"),
                f"{row.wall_s:.1f}",
                f"{row.peak_gb:.2f}",
                f"{row.psnr_db:.1f}",
                f"{row.iou:.3f}",
                f"{row.faces}",
                f"{row.components}",
                "yes" if row.watertight else "no",
                "not checked" if row.glb_errors is None else f"{row.glb_errors}",
            )
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="*", default=PROMPTS, metavar="PROMPT", help=f"default: {', '.join(PROMPTS)}")
    parser.add_argument("--config", default="asset", metavar="NAME", help="as for sds3d generate (default: asset)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="move the run folders there")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also replace this kind of machine's block in FILE")
    args = parser.parse_args()

    machine = describe_machine(args.device)
    limits = LIMITS[machine.kind]
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    rows = [measure(prompt, args.config, args.device, args.keep) for prompt in args.prompts]
    notes = f"Target: {limits}.\n{machine}; config {args.config}; {datetime.date.today().isoformat()}."
    spent = sorted(rows[0].seconds.items(), key=lambda part: -part[1])
    spent_text = ", ".join(f"{name} {seconds:.1f}" for name, seconds in spent if seconds >= 0.05)
    spent_text = textwrap.fill(f"Seconds of the first: {spent_text}.", 120)
    block = f"{table(rows)}\n\n{spent_text}\n{notes}"
    print(block)
    if args.write:
        write_block(args.write, machine.kind, block)
    missed = {row.prompt: row.missed(limits) for row in rows if row.missed(limits)}
    for prompt, names in missed.items():
        print(f"missed: {prompt}: {', '.join(names)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
