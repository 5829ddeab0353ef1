"""Runs that are stopped or killed and resumed equal an uninterrupted run bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sds3d.cli.work import Interrupted, Signals
from tests.helpers.tiny_prior import write_tiny_prior

ROOT = Path(__file__).resolve().parents[2]
STEPS = 48
CONFIG = """\
prompt: a red mushroom
device: cpu
representation: {num_init: 60, max_gaussians: 120, densify_every: 6}
stages:
- {name: shape, steps: 32, prior_every: 4, resolution: 32}
- {name: detail, steps: 16, prior_every: 3, resolution: 32}
checkpoint: {every_steps: 5}
"""
PROGRAM = """
import sys
from pathlib import Path
from sds3d.cli.progress import LineProgress
from sds3d.cli.work import Signals
from sds3d.runs.folder import RunFolder
from sds3d.config.load import load_config
from tests.helpers.observer import optimize_alone
import torch
torch.set_num_threads(1)
cfg = load_config(Path(sys.argv[1]), sys.argv[2:], None)
run = RunFolder.create(cfg)
with run.locked(), Signals() as signals:
    result = optimize_alone(cfg, run, LineProgress(sys.stdout, every=0), lambda: signals.stopped)
sys.exit(0 if result.finished else 75)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    write_tiny_prior(folder / "prior")
    (folder / "tiny.yaml").write_text(CONFIG)
    return folder


def start(folder: Path, out: str) -> subprocess.Popen:
    command = [sys.executable, "-u", "-c", PROGRAM, str(folder / "tiny.yaml")]
    command += [f"prior.path={folder / 'prior'}", f"out={folder / out}"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_until(process: subprocess.Popen, step: int, number: int) -> tuple[int, str]:
    """Sends a signal after `step` steps are reported; returns the exit code and the output."""
    output, sent = "", False
    for line in process.stdout:
        output += line
        done = int(line.split("step ")[1].split("/")[0]) if "steps/s" in line else 0
        if done >= step and not sent:
            sent = True
            process.send_signal(number)
    return process.wait(60), output


def final_state(folder: Path, out: str) -> tuple[dict[str, torch.Tensor], list[dict]]:
    (run,) = (folder / out).iterdir()
    tensors = load_file(run / "checkpoints" / f"step-{STEPS:06d}" / "tensors.safetensors")
    return tensors, [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> tuple[dict[str, torch.Tensor], list[dict]]:
    process = start(folder, "uninterrupted")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return final_state(folder, "uninterrupted")


def assert_same(folder: Path, out: str, uninterrupted: tuple[dict[str, torch.Tensor], list[dict]]) -> None:
    tensors, metrics = final_state(folder, out)
    expected, expected_metrics = uninterrupted
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensors[name], tensor), name
    assert metrics == expected_metrics


def test_a_run_resumed_after_sigterm_is_equal(folder: Path, uninterrupted) -> None:
    code, output = run_until(start(folder, "term"), 9, signal.SIGTERM)
    assert code == 75, output
    code, output = run_until(start(folder, "term"), 30, signal.SIGINT)
    assert code == 75, output
    assert "continuing from step" in output
    process = start(folder, "term")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert_same(folder, "term", uninterrupted)


@pytest.mark.usefixtures("with_terminal")
def test_a_run_resumed_after_its_terminal_closed_is_equal(folder: Path, uninterrupted) -> None:
    code, output = run_until(start(folder, "hup"), 9, signal.SIGHUP)
    assert code == 75, output
    process = start(folder, "hup")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "continuing from step" in output, output
    assert_same(folder, "hup", uninterrupted)


def test_under_nohup_sighup_stops_nothing() -> None:
    """As nohup starts it: SIGHUP is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.stopped
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.stopped
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("with_terminal")
def test_only_the_first_of_two_sighups_interrupts() -> None:
    """A closing terminal sends one from the kernel and one from the shell."""
    with Signals() as signals:
        signals.raise_from_now_on()
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.stopped


def test_a_run_resumed_after_sigkill_continues_from_its_last_checkpoint(folder: Path, uninterrupted) -> None:
    for step in (7, 30):
        code, output = run_until(start(folder, "kill"), step, signal.SIGKILL)
        assert code == -signal.SIGKILL, output
    process = start(folder, "kill")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert f"of {STEPS}" in output  # it continued and did not start over
    assert_same(folder, "kill", uninterrupted)


def test_with_a_damaged_checkpoint_an_earlier_one_gives_the_same_result(folder: Path, uninterrupted) -> None:
    run_until(start(folder, "damage"), 30, signal.SIGTERM)
    (run,) = (folder / "damage").iterdir()
    newest = max((run / "checkpoints").iterdir())
    os.truncate(newest / "tensors.safetensors", 1000)
    process = start(folder, "damage")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert f"damaged checkpoint {newest}" in output
    assert_same(folder, "damage", uninterrupted)


def test_a_second_interrupt_ends_the_process_at_once() -> None:
    code = """
import signal, time
from sds3d.cli.work import Signals
with Signals() as signals:
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
        if signals.stopped: print("stopping", flush=True); time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stopping\n"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 128 + signal.SIGINT
    assert time.monotonic() - began < 2
    process.stdout.close()


def test_each_checkpoint_has_a_preview(folder: Path, uninterrupted: object) -> None:
    (run,) = (folder / "uninterrupted").iterdir()
    pictures = sorted((run / "previews").iterdir())
    kept = {path.name for path in (run / "checkpoints").iterdir()}
    assert len(pictures) > len(kept) and kept <= {path.stem for path in pictures}
    assert {Image.open(path).size for path in pictures} == {(4 * 128, 128)}
