"""Whatever becomes of the terminal, pipe or file that the program writes to, its work and exit code stay the same."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sds3d.cli.terminal import SteadyFile, typed

ROOT = Path(__file__).resolve().parents[2]
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
WAYS = ["2>&-", "2>/dev/full", "2>&1 | true", "| true", ">&-", ">/dev/full", "<&- >&- 2>&-"]
LOST = "warning: some of the output is lost: No space left on device\n"
TINY = "--config smoke device=cpu stages.0.steps=1 mesh.grid=24 mesh.faces=200 preview.frames=2 preview.resolution=32"


def shell(command: str, encoding: str = "utf-8", **environment: str) -> tuple[int, str, str]:
    """Exit code, output and errors of `sds3d COMMAND`, the first program of a pipeline in bash."""
    line = f"{sys.executable} -m sds3d {command}; exit ${{PIPESTATUS[0]}}"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(["bash", "-c", line], env=variables, capture_output=True)
    return done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("verb", "code"), [("--help", 0), ("generate --help", 0), ("resume /missing", 2), ("", 2)])
def test_exit_codes_are_those_of_a_working_terminal(verb: str, code: int, way: str) -> None:
    got, _, errors = shell(f"{verb} {way}")
    lost = way == ">/dev/full" and "resume" not in verb
    assert got == (1 if lost and verb == "--help" else code)
    if "2>" not in way:
        assert errors.count("\n") <= 1 and "Traceback" not in errors
        assert (errors == LOST) == lost


@pytest.mark.parametrize("way", ["| true", ">/dev/full"])
def test_doctor_ends_without_a_traceback(way: str) -> None:
    code, _, errors = shell(f"doctor {way}")
    assert (code, errors) == ((1, LOST) if "full" in way else (0, ""))


def test_a_run_survives_its_terminal_and_any_encoding(tmp_path: Path) -> None:
    """The prompt is UTF-8 in a locale of ASCII; neither stream takes a byte of the first attempt."""
    command = f"generate {TINY} out={tmp_path} -- 'a café \U0001f344'"
    assert shell(f"{command} >/dev/full 2>/dev/full", **ASCII)[0] == 0
    (run,) = tmp_path.iterdir()
    assert "prompt: a café \U0001f344\n" in (run / "config.yaml").read_text(encoding="utf-8")
    for encoding, environment, printed in (
        ("ascii", ASCII, "'a caf\\xe9 \\U0001f344'"),
        ("latin-1", {"PYTHONIOENCODING": "latin-1:strict"}, "'a café \\U0001f344'"),
        ("utf-8", {"PYTHONIOENCODING": "utf-8"}, "'a café \U0001f344'"),
    ):
        code, output, errors = shell(command, encoding, **environment)
        assert (code, errors) == (0, "") and output.startswith(f"already finished: {run}\n") and printed in output


def test_no_file_gets_the_descriptor_of_a_closed_stream() -> None:
    code = "from sds3d.cli.terminal import steady_streams; steady_streams(); import os, sys; print(os.open('/', 0) > 2)"
    done = subprocess.run(["bash", "-c", f'{sys.executable} -c "{code}" <&- 2>&-'], cwd=ROOT, capture_output=True)
    assert done.stdout == b"True\n"


def test_output_that_a_full_pipe_rejects_is_written_later() -> None:
    """A terminal that another program has set to non-blocking."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = bytes(range(256)) * 2000  # more than a pipe holds
    with ThreadPoolExecutor() as pool, open(reader, "rb") as pipe:
        received = pool.submit(pipe.read)
        with SteadyFile(writer) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
        os.close(writer)
        assert received.result() == data and file.error is None


def test_typed_text() -> None:
    assert typed("a café") == "a café"
    broken = os.fsdecode(b"\xff")
    assert typed(broken) == broken
