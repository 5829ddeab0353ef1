"""The whole CUDA suite on a GPU, and a one-page summary of it.

    python tests/tools/gpu_suite.py [--write docs/benchmarks.md] [--logs DIR]

Runs every test marked `cuda` in one process, then each of their files under compute-sanitizer's memcheck and
racecheck. The sanitizer watches the kernels of cuda_ext only: those of PyTorch would take hours. Racecheck cannot run
the half-precision kernels of cuDNN and cuBLAS on Hopper (it ends with an internal error), so it leaves out the tests
marked `network`; the others launch every kernel of cuda_ext. It watches the first launches of each process only, since
each takes a tenth of a second. The exit code is 0 if all tests passed and the sanitizer found nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ("splat", "norm_", "trace")  # parts of the names of all kernels of cuda_ext
PYTEST = (sys.executable, "-X", "faulthandler", "-m", "pytest", "-p", "no:cacheprovider", "-m")
BEGIN, END = "<!-- gpu suite: begin -->", "<!-- gpu suite: end -->"
TESTS = {"plain": "cuda", "memcheck": "cuda and not measures", "racecheck": "cuda and not measures and not network"}
RUNS = tuple(TESTS)
RACECHECK_LAUNCHES = 300
THREADS = "2"  # of each of several processes
FOUND_SOMETHING = 9  # exit code of the sanitizer if it found an error; pytest does not use this number


@dataclass(frozen=True)
class Result:
    """The result of one process: counts of pytest and findings of the sanitizer."""

    name: str
    passed: int
    failed: int
    skipped: int
    problem: str  # empty if there is none
    tool_crashed: bool = False  # the sanitizer itself ended on a signal, with no test run

    def row(self) -> str:
        """A line of the summary's table."""
        return f"| {self.name} | {self.passed} | {self.failed} | {self.skipped} | {self.problem or 'clean'} |"


def main() -> int:
    args = _arguments()
    logs = Path(args.logs or tempfile.mkdtemp(prefix="gpu_suite-"))
    logs.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    if "plain" in args.runs:
        results.append(_run("plain", "one process", [], [str(ROOT / "tests")], logs))
        print(results[-1].row(), flush=True)
    tools = [tool for tool in ("memcheck", "racecheck") if tool in args.runs]
    jobs = [(tool, file) for tool in tools for file in _files_with_tests(tool)]
    with ThreadPoolExecutor(args.jobs) as pool:
        for result in pool.map(lambda job: _run_sanitized(*job, logs), jobs):
            results.append(result)
            print(result.row(), flush=True)
    summary = _summary(results)
    print(summary)
    if args.write:
        _write_between_marks(Path(args.write), summary)
    return int(any(result.failed or result.problem for result in results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", metavar="PAGE", help="page of docs/ whose block gets the summary")
    parser.add_argument("--logs", metavar="DIR", help="where the output of each process goes")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS, help="what to run (default: all)")
    parser.add_argument("--jobs", type=int, default=4, help="processes under the sanitizer at a time (default 4)")
    return parser.parse_args()


def _files_with_tests(tool: str) -> list[str]:
    command = [*PYTEST, TESTS[tool], "--collect-only", str(ROOT / "tests")]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout
    return sorted(set(re.findall(r"^(\S+?\.py)(?::| )", listing, re.MULTILINE)))


def _run_sanitized(tool: str, file: str, logs: Path) -> Result:
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        raise SystemExit("compute-sanitizer: not found; it comes with the CUDA toolkit, or use --runs plain")
    options = ["--report-api-errors", "no"]  # a launch without a context is retried, and tests provoke errors
    if tool == "racecheck":
        options += ["--launch-count", str(RACECHECK_LAUNCHES)]
    filters = [word for name in KERNELS for word in ("--kernel-name", f"kernel_substring={name}")]
    command = [sanitizer, "--tool", tool, "--error-exitcode", str(FOUND_SOMETHING), *options, *filters]
    result = _run(tool, f"{tool} {file}", command, [str(ROOT / file)], logs)
    if result.tool_crashed:  # seen in the first process on a machine: before the first test, with no fault of a test
        result = _run(tool, f"{tool} {file} again", command, [str(ROOT / file)], logs)
    return result


def _run(runs: str, name: str, before: Sequence[str], tests: Sequence[str], logs: Path) -> Result:
    log = logs / (re.sub(r"[^\w.]+", "-", name) + ".log")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    if before:
        environment["OMP_NUM_THREADS"] = THREADS
        environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # the sanitizer cannot follow forked compilers
    with log.open("w", encoding="utf-8") as stream:
        code = subprocess.run(
            [*before, *PYTEST, TESTS[runs], *tests], cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT
        ).returncode
    text = log.read_text(encoding="utf-8", errors="replace")
    counts = {word: int(count) for count, word in re.findall(r"\b(\d+) (passed|failed|skipped|errors?)\b", text)}
    failed = counts.get("failed", 0) + counts.get("error", 0) + counts.get("errors", 0)
    found = re.findall(r"========= ((?:Invalid|Error:|Warning:|Internal|Race reported).*)", text)
    problem = ""
    if code == FOUND_SOMETHING or found:
        problem = f"sanitizer: {found[0].strip() if found else 'see the log'}"
    elif code:
        problem = f"exit code {code}"
    tool_crashed = bool(before) and code < 0 and not counts
    return Result(name, counts.get("passed", 0), failed, counts.get("skipped", 0), problem, tool_crashed)


def _summary(results: Sequence[Result]) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, encoding="utf-8"
    ).stdout
    lines = [
        f"Commit {os.environ.get('SDS3D_COMMIT') or commit.strip() or 'unknown'}, {date.today()}, "
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, Python {sys.version.split()[0]}.",
        "",
        "| run | passed | failed | skipped | found |",
        "|---|--:|--:|--:|---|",
        *(result.row() for result in results),
    ]
    return "\n".join(lines)


def _write_between_marks(page: Path, text: str) -> None:
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
