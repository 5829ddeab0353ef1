"""Films are complete, or an error is raised, for any behavior of ffmpeg."""

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sds3d.errors import UserError
from sds3d.imaging.film import count_frames, write_film

FRAMES = [bytes([value]) * (32 * 32 * 3) for value in (0, 100, 200, 255, 30)]
OUT = "for out; do :; done"  # $out is the last argument


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Replaces ffmpeg by a shell script."""

    def install(script: str) -> None:
        program = tmp_path / "ffmpeg"
        program.write_text(f"#!/bin/sh\n{OUT}\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))

    return install


def alive(group: int) -> list[str]:
    """The running processes of a process group; just killed ones get a second to end."""
    for _ in range(100):
        listed = subprocess.run(["ps", "-e", "-o", "pgid=,stat=,args="], capture_output=True, encoding="utf-8").stdout
        found = [line for line in listed.splitlines() if line.split()[0] == str(group) and line.split()[1][0] != "Z"]
        if not found:
            break
        time.sleep(0.01)
    return found


def whole(tmp_path: Path) -> bytes:
    write_film(FRAMES, (32, 32), tmp_path / "whole.mp4")
    return (tmp_path / "whole.mp4").read_bytes()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("cat >/dev/null; exit 1", "ffmpeg exited with code 1; check the disk"),
        ("exit 1", "ffmpeg exited with code 1;"),
        ("cat >/dev/null; echo first >&2; echo no room >&2; exit 7", "ffmpeg exited with code 7: no room;"),
        ("kill -9 $$", r"ffmpeg was killed \(Killed\);"),
        ("cat >/dev/null; kill -XFSZ $$", r"ffmpeg was killed \(File size limit exceeded\);"),
        ("cat >/dev/null; : >$out", "its film is incomplete"),
        ("cat >/dev/null", "its film is incomplete"),
        ("cat >/dev/null; head -c 200 /dev/zero >$out", "its film is incomplete"),
        ("cat >/dev/null; cp {whole} $out; truncate -s -1 $out", r"its film is incomplete \(it is truncated"),
        ("cat >/dev/null; cp {four} $out", "ffmpeg wrote 4 frames; expected 5;"),
        ("yes x | head -c 3000 >&2; exit 3", "ffmpeg exited with code 3: x;"),
    ],
)
def test_an_incomplete_film_is_a_one_line_error(script: str, message: str, fake, tmp_path: Path) -> None:
    whole(tmp_path)
    write_film(FRAMES[:4], (32, 32), tmp_path / "four.mp4")
    fake(script.format(whole=tmp_path / "whole.mp4", four=tmp_path / "four.mp4"))
    with pytest.raises(UserError, match=message) as error:
        write_film(FRAMES, (32, 32), tmp_path / "film.mp4")
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize("script", ["sleep 99", "cat >/dev/null; sleep 99", "cat >/dev/null; sleep 98 & sleep 99"])
def test_ffmpeg_without_progress_is_killed(script: str, fake, tmp_path: Path) -> None:
    """Also if it does not read and the pipe is full."""
    fake(f"echo $$ >{tmp_path}/pid; {script}")
    began = time.monotonic()
    with pytest.raises(UserError, match="ffmpeg made no progress for 0.5 s and was killed"):
        write_film([bytes(32 * 32 * 3)] * 100, (32, 32), tmp_path / "film.mp4", patience=0.5)
    assert time.monotonic() - began < 5
    assert not alive(int((tmp_path / "pid").read_text(encoding="utf-8")))


def test_an_error_of_the_frames_is_raised_and_ends_ffmpeg(fake, tmp_path: Path) -> None:
    def frames():
        yield FRAMES[0]
        raise KeyboardInterrupt

    fake(f"echo $$ >{tmp_path}/pid; sleep 99")
    with pytest.raises(KeyboardInterrupt):
        write_film(frames(), (32, 32), tmp_path / "film.mp4")
    pid = tmp_path / "pid"
    assert not pid.exists() or not alive(int(pid.read_text(encoding="utf-8")))


@pytest.mark.parametrize("kind", ["missing", "not executable", "no program"])
def test_an_ffmpeg_that_cannot_start_is_an_error(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    if kind != "missing":
        program.write_bytes(b"\0\1\2\3")
        program.chmod(0o755 if kind == "no program" else 0o644)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    with pytest.raises(UserError, match=f"cannot start {program}: "):
        write_film(FRAMES, (32, 32), tmp_path / "film.mp4")


def test_a_file_size_limit_is_an_error(tmp_path: Path) -> None:
    """The real ffmpeg with a limit of 500 bytes."""
    code = """
import resource, sys
from pathlib import Path
from sds3d.imaging.film import write_film
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
write_film([bytes(32 * 32 * 3)] * 5, (32, 32), Path(sys.argv[1]))
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    command = [sys.executable, "-c", code, str(tmp_path / "film.mp4")]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert "UserError: ffmpeg was killed (File size limit exceeded)" in done.stderr


def test_every_truncation_of_a_film_is_found(tmp_path: Path) -> None:
    data = whole(tmp_path)
    assert count_frames(data) == len(FRAMES)
    for size in range(len(data)):
        with pytest.raises(ValueError, match="is truncated|it has no"):
            count_frames(data[:size])


@pytest.mark.parametrize("size", [(32, 48), (33, 32), (32, 31)])
def test_odd_sizes_are_allowed(size: tuple[int, int], tmp_path: Path) -> None:
    import imageio_ffmpeg

    width, height = size
    write_film([bytes(width * height * 3)] * 3, size, tmp_path / "film.mp4")
    frames = imageio_ffmpeg.read_frames(tmp_path / "film.mp4")
    assert next(frames)["size"] == (width + width % 2, height + height % 2)
    frames.close()
