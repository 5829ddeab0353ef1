"""sds3d batch and sds3d worker as commands, with a tiny prior."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sds3d.batch.plan import RUNS
from sds3d.batch.store import LEASED, Store
from sds3d.cli.main import main
from tests.batch.test_worker import TINY
from tests.helpers.tiny_prior import write_tiny_prior

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_prior(tmp_path_factory.mktemp("prior") / "tiny")


@pytest.fixture
def command(tmp_path: Path, prior: Path) -> list[str]:
    """The words of a batch of three prompts after `sds3d`; its folder is out/prompts."""
    (tmp_path / "prompts.txt").write_text("red\nmushroom\na red mushroom\n")
    options = [*TINY, "device=cpu", f"prior.path={prior}", f"out={tmp_path / 'out'}"]
    return ["batch", str(tmp_path / "prompts.txt"), "--config", "smoke", *options]


def start(words: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    program = [sys.executable, "-m", "sds3d.cli.main", *words]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def run(words: list[str], code: int = 0) -> tuple[str, str]:
    process = start(words)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    return out, errors


def hashes(folder: Path) -> dict[str, dict[str, str]]:
    reports = (folder / RUNS).glob("*/report.json")
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8"))["outputs"] for path in reports}


def test_a_batch_is_made_and_the_same_command_finds_it_finished(command: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out" / "prompts"
    out, errors = run(command)
    assert out == f"{folder / 'gallery.html'}: 3 finished, 0 failed, 0 waiting\n"
    assert f"{folder}: 3 new jobs, 0 to continue, 0 already finished\n" in errors
    made = hashes(folder)
    assert len(made) == 3
    out, errors = run(command)
    assert "0 new jobs, 0 to continue, 3 already finished" in errors and hashes(folder) == made
    out, _ = run(["batch", "status", str(folder)])
    assert out == "3 of 3 finished, 0 failed, 0 at work\n"
    out, _ = run(["batch", "clean", str(folder)])
    assert out.endswith(" freed\n") and not list(folder.glob("runs/*/checkpoints"))
    assert "3 already finished" in run(command)[1]


def test_failed_jobs_are_told_apart_and_retried(command: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out" / "prompts"
    run(command)
    store = Store(folder)
    record = store.records("done")[1]
    store.move(record, "done", "failed", attempts=3, history=({"reason": "stalled", "message": "no progress"},))
    out, errors = run(command, code=1)
    assert "2 finished, 1 failed" in out and f"why: sds3d batch status {folder}" in errors
    out, _ = run(["batch", "status", str(folder)], code=1)
    assert out.splitlines()[1] == "  failed  prompts.txt:2  'mushroom': stalled: no progress"
    run(["batch", "retry", str(folder)])
    assert "3 finished, 0 failed" in run(command)[0]


@pytest.mark.parametrize("stopped_by", ["signal", "verb"])
def test_a_stopped_batch_exits_with_75_and_goes_on(command: list[str], tmp_path: Path, stopped_by: str) -> None:
    folder = tmp_path / "out" / "prompts"
    process = start(command)
    until = time.monotonic() + 120
    while not list(folder.glob("runs/*/metrics.jsonl")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    if stopped_by == "signal":
        process.send_signal(signal.SIGINT)
    else:
        run(["batch", "stop", str(folder)])
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 75 and errors.endswith("stopped; run the same command again to continue\n")
    counts = Store(folder).counts()
    assert counts[LEASED] == 0 and counts["pending"] > 0
    assert all(record.attempts == 0 for record in Store(folder).records("pending"))
    assert "3 finished, 0 failed, 0 waiting" in run(command)[0]


def test_a_worker_by_hand_does_the_same_work(command: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out" / "prompts"
    run(command)
    made = hashes(folder)
    store = Store(folder)
    for record in store.records("done"):
        (folder / RUNS / record.name / "mesh.glb").unlink()
        store.move(record, "done", "pending")
    run(["worker", str(folder)])
    assert hashes(folder) == made and store.counts()["done"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["batch", "none.txt"], "error: none.txt: no such file"),
        (["batch", "status", "nowhere"], "error: nowhere: no batch there"),
        (["worker", "nowhere"], "error: nowhere: no batch there"),
        (["batch", "{prompts}", "mesh.facs=1"], "error: mesh.facs: unknown key, did you mean"),
        (["batch", "{prompts}", "--sweep", "mesh.faces"], "error: --sweep: expected key=value,value"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("red\n")
    assert main([word.format(prompts="prompts.txt") for word in words]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(message) and errors.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_thirty_kills_of_engine_and_workers_change_no_byte(command: list[str], tmp_path: Path) -> None:
    """Twenty jobs; SIGKILL to a random process at random moments, then the same command again."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"red mushroom {index}\n" for index in range(20)))
    run(command)
    undisturbed = hashes(tmp_path / "out" / "prompts")
    assert len(undisturbed) == 20
    again = [*command[:2], "--attempts", "100", *command[2:]]
    again = [f"out={tmp_path / 'killed'}" if word.startswith("out=") else word for word in again]
    folder, rng, kills, process = tmp_path / "killed" / "prompts", random.Random(3), 0, start(again)
    while kills < 30 and not (folder.is_dir() and Store(folder).counts()["done"] == 20):
        time.sleep(rng.uniform(0.3, 3.0))
        workers = [int(path.stem.rpartition("-")[0].rpartition("-")[2]) for path in folder.glob("workers/*.json")]
        victim = rng.choice([process.pid, *workers])
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            kills += 1
        if process.poll() is not None or victim == process.pid:
            process.communicate()
            process = start(again)
    process.communicate(timeout=600)
    assert kills >= 20 and "20 finished, 0 failed, 0 waiting" in run(again)[0]
    assert hashes(folder) == undisturbed
