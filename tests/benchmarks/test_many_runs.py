"""Many runs at once: shares of the machine, failures and signals."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from sds3d.config.load import load_config
from sds3d.errors import UserError
from sds3d.priors.kinds import prior_ids
from sds3d.priors.weights import file_sha256
from sds3d.runs.folder import RunFolder
from tests.helpers.jobs import note
from tests.helpers.tiny_prior import write_tiny_prior

ROOT = Path(__file__).resolve().parents[2]
runs = importlib.import_module("benchmarks.runs")


def noted(folder: Path) -> dict[str, list[str]]:
    """Process, cores and GPU of each prompt whose run was started."""
    return {path.stem: path.read_text().split(" ") for path in folder.glob("*.txt")}


def test_cores_and_gpus_are_assigned_in_turn() -> None:
    three = runs.shares(3, [0, 1, 2, 3, 8], ["4", "5"])
    assert three == [runs.Share(frozenset(c), g) for c, g in (({0, 3}, "4"), ({1, 8}, "5"), ({2}, "4"))]
    assert [share.cores for share in runs.shares(3, [0, 7], [])] == [{0}, {7}, {0}]  # more runs than cores
    assert runs.shares(2, [], ["4"]) == [runs.Share(), runs.Share()]  # the environment of a single GPU is unchanged


def test_gpus_are_named_as_in_cuda_visible_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-f00d,-1,5")  # -1 ends the list
    assert runs.visible_gpus() == ["3", "GPU-f00d"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert runs.visible_gpus() == ["0", "1"]


def test_each_process_uses_only_its_share(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cores = runs.usable_cores()
    each = runs.shares(2, cores, ["6", "7"])
    prompts = [f"a {k}" for k in range(6)]
    runs.work_through(prompts, partial(note, tmp_path), each)
    found = noted(tmp_path)
    assert sorted(found) == prompts
    used = {tuple(place) for place in found.values()}
    assert len(used) == 2 and {place[2] for place in used} == {"6", "7"}  # two processes made all six
    for _, cores_used, gpu in used:
        assert {int(core) for core in cores_used.split(",")} == each["67".index(gpu)].cores
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"{k} of 6" for k in range(1, 7)]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ and runs.usable_cores() == cores


def test_failures_are_reported_and_other_runs_continue(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """They continue in a new process, since the GPU may be unusable in the old one."""
    prompts = ["good-1", "refused", "good-2", "raises", "good-3", "dies", "good-4"]
    runs.work_through(prompts, partial(note, tmp_path), [runs.Share()])
    found = noted(tmp_path)
    assert set(found) == set(prompts)
    assert len({process for process, _, _ in found.values()}) == 4
    assert found["good-1"] == found["refused"] and found["dies"] == found["good-3"]
    output = capsys.readouterr().err
    assert "2 of 7: refused: failed with code 2\n    this is refused\n    error: the reason\n3 of 7:" in output
    assert "4 of 7: raises: failed with code 1\n" in output and "\n    RuntimeError: a mistake\n5 of 7:" in output
    assert f"6 of 7: dies: failed with code {-signal.SIGKILL}\n" in output
    assert "7 of 7: good-4 (" in output


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_all_processes(tmp_path: Path, number: signal.Signals) -> None:
    """After SIGKILL, an idle process ends at once, and a busy one after its run."""
    second = "sleeps-2" if number != signal.SIGKILL else "good"
    code = f"""
import sys
sys.path[:0] = {[str(ROOT)]!r}
from functools import partial
from pathlib import Path
from benchmarks import runs
from tests.helpers.jobs import note
if __name__ == "__main__":
    make = partial(note, Path({str(tmp_path)!r}))
    runs.work_through(["sleeps-1", {second!r}], make, [runs.Share(), runs.Share()])
"""
    program = tmp_path / "program.py"
    program.write_text(code)
    parent = subprocess.Popen([sys.executable, str(program)], stderr=subprocess.PIPE)
    until = time.monotonic() + 30
    while len(noted(tmp_path)) < 2:
        assert time.monotonic() < until and parent.poll() is None
        time.sleep(0.02)
    found = noted(tmp_path)
    parent.send_signal(number)
    assert parent.wait(30) == (128 + number if number != signal.SIGKILL else -number)
    if number != signal.SIGKILL:
        assert parent.stderr.read().decode().endswith("stopped; run the same command again to continue\n")
    parent.stderr.close()
    ended = found if number != signal.SIGKILL else ["good"]
    until = time.monotonic() + 10
    while any(alive(int(found[prompt][0])) for prompt in ended):
        assert time.monotonic() < until
        time.sleep(0.02)
    if number == signal.SIGKILL:
        os.kill(int(found["sleeps-1"][0]), signal.SIGKILL)


def finish_run(out: Path, prompt: str) -> Path:
    cfg = load_config(Path("smoke"), [f"out={out}"], prompt)
    run = RunFolder.create(cfg, prior_ids(cfg))
    names = ("mesh.glb", "preview.png")
    for name in names:
        (run.path / name).write_text(name)
    outputs = {name: file_sha256(run.path / name) for name in names}
    (run.path / "report.json").write_text(json.dumps({"config_hash": run.config_hash, "outputs": outputs}))
    return run.path


def test_finished_runs_are_not_repeated_and_missing_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def make_two(prompts: list[str], make: object, each: list) -> None:
        calls.append(prompts)
        assert len(each) == min(3, len(prompts))
        for prompt in prompts[:2]:
            finish_run(tmp_path, prompt)

    monkeypatch.setattr(runs, "work_through", make_two)
    finish_run(tmp_path, "b")
    with pytest.raises(UserError, match=r"2 of 5 runs are missing: 'd', \"it's\"; run the command again"):
        runs.make_runs(["a", "b", "c", "d", "it's"], "smoke", tmp_path, jobs=3)
    folders = runs.make_runs(["d", "b", "it's"], "smoke", tmp_path, jobs=3)
    assert calls == [["a", "c", "d", "it's"], ["d", "it's"]]
    assert folders == [finish_run(tmp_path, prompt) for prompt in ("d", "b", "it's")]
    assert runs.make_runs(["b"], "smoke", tmp_path, jobs=3) == folders[1:2] and len(calls) == 2


@pytest.mark.slow
def test_runs_from_prompt_to_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Two processes make three runs."""
    prior, config = write_tiny_prior(tmp_path / "prior"), tmp_path / "tiny.yaml"
    smoke = (ROOT / "configs" / "smoke.yaml").read_text()
    config.write_text(f"device: cpu\nprior: {{path: {prior}}}\n{smoke}")
    prompts = ["a red mushroom", "-x", "it's `here`; $(rm)"]
    folders = runs.make_runs(prompts, str(config), tmp_path / "runs", jobs=2)
    reports = [json.loads((folder / "report.json").read_text()) for folder in folders]
    assert [report["prompt"] for report in reports] == prompts
    assert "3 of 3: " in capsys.readouterr().err
