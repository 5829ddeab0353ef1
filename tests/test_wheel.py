"""A wheel is complete: outside of the checkout, every command that needs no download works."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
NOT_COPIED = (".*", "outputs", "build", "dist", "*.egg-info", "_native", "__pycache__", "node_modules")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which a wheel of a copy of the checkout is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(CHECKOUT, folder / "source", ignore=shutil.ignore_patterns(*NOT_COPIED))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    wheel = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, folder / "source"]
    subprocess.run(wheel, check=True)
    shutil.rmtree(folder / "source")
    (built,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", folder / "installed", built], check=True)
    return folder / "installed"


def run(package: Path, folder: Path, *words: str) -> tuple[int, str]:
    """The exit code and output of `sds3d WORDS` in `folder`, run by the package in `package`."""
    environment = os.environ | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "sds3d", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_wheel_contains_the_presets_of_the_checkout(installed: Path) -> None:
    presets = {path.name: path.read_bytes() for path in (CHECKOUT / "configs").glob("*.yaml")}
    assert {path.name: path.read_bytes() for path in (installed / "sds3d/config/presets").iterdir()} == presets
    assert not (installed / "configs").exists() and not (installed / "tests").exists()


def test_a_preset_makes_an_asset(installed: Path, tmp_path: Path) -> None:
    code, output = run(installed, tmp_path, "generate", "--config", "smoke", "a red mushroom", "device=cpu")
    assert code == 0, output
    (mesh,) = tmp_path.glob("outputs/*/mesh.glb")
    assert mesh.read_bytes()[:4] == b"glTF"


@pytest.mark.parametrize("words", [["--prior", "mvdream-sd2.1"], ["--config", "mvdream-sd-texture"]])
def test_an_estimate_equals_that_of_the_checkout(installed: Path, tmp_path: Path, words: list[str]) -> None:
    """It uses the preset of the prior, of 10,000 and more steps, not the default stages."""
    answer = run(installed, tmp_path, "estimate", *words, "--gpu-gib", "80")
    assert answer == run(CHECKOUT, tmp_path, "estimate", *words, "--gpu-gib", "80")
    assert answer[0] == 0 and "5000" in answer[1], answer[1]


def test_the_doctor_finds_no_problem_with_the_package(installed: Path, tmp_path: Path) -> None:
    code, output = run(installed, tmp_path, "doctor")
    assert code == 0, output
    assert str(CHECKOUT) not in output
