"""Truncated files of the user's cache are never loaded, and are made again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sds3d.files import read_cached, write_cached
from sds3d.native import cpu as native
from sds3d.priors.texts import PromptCache

DAMAGES = {
    "empty": lambda data: b"",
    "cut short": lambda data: data[: len(data) // 2],
    "without its last byte": lambda data: data[:-1],
    "without its digest": lambda data: data[:-40],
    "with a flipped bit": lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
}
damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
STATUS = "from sds3d.native import cpu; print(cpu.status().how, cpu.load_library().sds3d_abi_version())"


@damages
def test_a_damaged_file_is_not_read(damage, tmp_path: Path) -> None:
    path, content = tmp_path / "new" / "file", os.urandom(10_000)
    write_cached(path, content)
    assert read_cached(path) == content and [*path.parent.iterdir()] == [path]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(OSError, match="damaged"):
        read_cached(path)
    write_cached(path, b"")
    assert read_cached(path) == b""


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_cached(path, b"old")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_cached(path, b"new")
    assert read_cached(path) == b"old" and [*tmp_path.iterdir()] == [path]


@pytest.fixture
def copying_compiler(tmp_path: Path) -> Path:
    """A compiler that takes no time: its output is the library that this process has loaded."""
    loaded = native.status().path
    if loaded is None:
        pytest.skip(str(native.status()))
    library, script = tmp_path / "library", tmp_path / "copying_compiler"
    library.write_bytes(read_cached(loaded))
    script.write_text(f'#!/bin/sh\nfor last; do :; done\ncp "{library}" "$last"\n')  # the output comes last
    script.chmod(0o755)
    return script


@pytest.mark.skipif(native.find_sources() is None, reason="no sources")
@damages
def test_a_damaged_cpu_library_is_compiled_again(damage, tmp_path: Path, copying_compiler: Path) -> None:
    """A part of a library ends the process with SIGBUS, so each look at the cache is a process."""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "CXX": str(copying_compiler)}

    def look() -> str:
        done = subprocess.run([sys.executable, "-c", STATUS], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"signal {-done.returncode}: {done.stderr}"
        return done.stdout

    if look().startswith("prebuilt"):
        pytest.skip("the package holds the library")
    (path,) = (tmp_path / "cache" / "sds3d").iterdir()
    whole = path.read_bytes()
    assert look() == f"cached {native.ABI_VERSION}\n"
    path.write_bytes(damage(whole))
    assert look() == f"compiled {native.ABI_VERSION}\n"
    assert path.read_bytes() == whole and look() == f"cached {native.ABI_VERSION}\n"


@damages
def test_a_damaged_prompt_is_encoded_again(damage, tmp_path: Path) -> None:
    encoded: list[str] = []
    tokens = torch.randn(77, 64)

    def encode(prompt: str, suffix: str) -> torch.Tensor:
        encoded.append(prompt)
        return tokens

    def find() -> torch.Tensor:
        return PromptCache(lambda: encode, tmp_path / "prompts", torch.device("cpu"), torch.float32)("a red cat")

    assert torch.equal(find(), tokens) and torch.equal(find(), tokens) and len(encoded) == 1
    (path,) = (tmp_path / "prompts").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert torch.equal(find(), tokens) and len(encoded) == 2
    assert torch.equal(find(), tokens) and len(encoded) == 2


def test_prompts_need_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = PromptCache(
        lambda: lambda prompt, suffix: torch.ones(2, 3), tmp_path / "file", torch.device("cpu"), torch.float32
    )
    assert torch.equal(cache("a red cat"), torch.ones(2, 3))
