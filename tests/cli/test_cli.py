"""The command line: it starts fast, reports errors in one line, and never runs code of a prompt."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sds3d.cli.generate import split_literal
from sds3d.cli.main import VERBS, main
from sds3d.cli.progress import BarProgress, LineProgress, duration, make_progress
from sds3d.cli.work import work
from sds3d.config.schema import Config
from sds3d.errors import UserError
from sds3d.files import atomic_write
from sds3d.native.devices import resolve_device
from sds3d.optimization.guard import Guard
from sds3d.runs.folder import RunFolder
from tests.helpers.hostile import HOSTILE
from tests.helpers.runs import finished_run

ROOT = Path(__file__).resolve().parents[2]
NO_TORCH = "import sys; {code}; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"


def best_seconds(command: list[str], tries: int = 5) -> float:
    times = []
    for _ in range(tries):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        times.append(time.perf_counter() - began)
    return min(times)


def test_import_and_help_are_fast() -> None:
    assert best_seconds([sys.executable, "-c", "import sds3d"]) < 0.3
    assert best_seconds([sys.executable, "-m", "sds3d", "--help"]) < 0.3
    assert best_seconds([sys.executable, "-m", "sds3d", "generate", "--help"]) < 0.3


@pytest.mark.parametrize(("verb", "message", "code"), [("generate", "", 2), ("doctr", "python ends\n", 2)])
def test_only_verbs_without_remaining_work_exit_at_once(verb: str, message: str, code: int) -> None:
    """`out` is in Python's buffer when the program ends; what is registered at exit runs when Python is taken down."""
    program = "import atexit, sys; from sds3d.cli.main import program; atexit.register(print, 'python ends')\n"
    program += f"sys.argv = ['sds3d', {verb!r}, 'a chair', 'steeds=1']; print('out'); program()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "out\n" + message) and done.stderr.startswith("error: ")


@pytest.mark.parametrize("code", ["import sds3d", "import sds3d.cli.main as m; m.main(['--help'])"])
def test_torch_is_not_imported_before_it_is_needed(code: str) -> None:
    subprocess.run([sys.executable, "-c", NO_TORCH.format(code=code)], check=True, capture_output=True, cwd=ROOT)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "prior"])
def test_the_help_of_every_verb_does_not_import_torch(verb: str, capsys: pytest.CaptureFixture) -> None:
    code = f"""
try:
    import sds3d.cli.main as m; m.main([{verb!r}, '--help'])
except SystemExit as e: assert e.code == 0
import sys; assert 'torch' not in sys.modules"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert f"usage: sds3d {verb}" in done.stdout


def fails(capsys: pytest.CaptureFixture, *argv: str) -> str:
    """The one line on stderr of a command that exits with 2."""
    assert main(list(argv)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def test_errors_are_one_line(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    out = f"out={tmp_path}"
    assert "the prompt is empty" in fails(capsys, "generate", " ", out)
    assert "601 characters" in fails(capsys, "generate", "x" * 601, out)
    assert "did you mean 'seed'" in fails(capsys, "generate", "x", "sed=1", out)
    assert "out of range" in fails(capsys, "generate", "x", "stages.0.steps=0", out)
    assert "needs quotes" in fails(capsys, "generate", "a", "red", "mushroom")
    assert "no such file, did you mean 'smoke'?" in fails(capsys, "generate", "x", "--config", "smoek", out)
    assert "did you mean 'generate'?" in fails(capsys, "generat", "x")
    assert 'sds3d generate "PROMPT"' in fails(capsys, "a red mushroom")
    assert "is not a run folder" in fails(capsys, "resume", str(tmp_path))
    assert "is not a run folder" in fails(capsys, "export", str(tmp_path))
    assert "no known model" in fails(capsys, "generate", "x", "--prior", "sd-9", out)
    assert "got 'stl'" in fails(capsys, "export", str(tmp_path), "--format", "glb,stl")
    assert "ends in .png" in fails(capsys, "prior", "preview", "x", "--out", "x.jpg")
    assert "sds3d prior preview" in fails(capsys, "prior", "x")
    assert "cannot write /sys" in fails(capsys, "generate", "x", "out=/sys/x")
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where_an_error_came_from() -> None:
    with pytest.raises(UserError, match="the prompt is empty"):
        main(["generate", "", "--debug"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="wants a machine without CUDA")
def test_device_cuda_without_cuda_is_an_error(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert "device=cuda: " in fails(capsys, "generate", "x", "device=cuda", f"out={tmp_path}")
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")


def test_nothing_after_two_dashes_is_an_option() -> None:
    assert split_literal(["--config", "q", "--", "--debug", "--"]) == (["--config", "q"], ["--debug", "--"])
    assert split_literal(["x", "seed=1"]) == (["x", "seed=1"], [])


@pytest.mark.parametrize("prompt", ["a red mushroom", "-x", "it's `here`; $(rm)"])
def test_a_finished_run_is_not_repeated(prompt: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    import shlex

    cfg, run = finished_run(tmp_path, prompt)
    assert main(["generate", f"out={tmp_path}", "--", prompt]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"already finished: {run.path}\n") and str(run.path / "mesh.glb") in text
    assert main(["resume", str(run.path)]) == 0
    (again,) = [line.split(":", 1)[1] for line in text.splitlines() if "another try:" in line]
    assert shlex.split(again)[-3:] == ["seed=1", "--", prompt]


def test_export_writes_every_format(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    import numpy as np
    import trimesh

    _, run = finished_run(tmp_path)
    folder = tmp_path / "export"
    assert main(["export", str(run.path), "--format", "glb,obj,ply", "--to", str(folder)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert sorted(printed) == sorted(str(path) for path in folder.iterdir())
    assert (folder / "asset.glb").read_bytes() == (run.path / "mesh.glb").read_bytes()
    assert (folder / "asset.ply").read_bytes() == (run.path / "splats.ply").read_bytes()
    mesh = trimesh.load(folder / "asset.obj", process=False)
    np.testing.assert_allclose(mesh.vertices, np.eye(3))
    np.testing.assert_allclose(mesh.visual.uv, [[0, 0], [1, 0], [0, 0.75]])
    assert mesh.faces.tolist() == [[0, 1, 2]]
    expected = np.arange(48).reshape(4, 4, 3)
    np.testing.assert_array_equal(np.asarray(mesh.visual.material.image.convert("RGB")), expected)


def test_export_of_an_unfinished_run_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    _, run = finished_run(tmp_path)
    (run.path / "report.json").unlink()
    assert "not finished" in fails(capsys, "export", str(run.path))


def test_export_needs_neither_the_weights_nor_a_config_that_this_version_reads(tmp_path: Path) -> None:
    _, run = finished_run(tmp_path)
    (run.path / "config.yaml").write_text("prior: {kind: gone, path: /nowhere}")
    assert main(["export", str(run.path), "--format", "glb,ply"]) == 0
    assert (run.path / "export" / "asset.ply").is_file()


def test_export_of_a_scene_without_a_ply_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    _, run = finished_run(tmp_path)
    report = json.loads((run.path / "report.json").read_text())
    report["outputs"] = {name: x for name, x in report["outputs"].items() if not name.endswith(".ply")}
    (run.path / "report.json").write_text(json.dumps(report))
    assert "has no .ply file" in fails(capsys, "export", str(run.path), "--format", "ply")
    assert main(["resume", str(run.path)]) == 0
    printed = capsys.readouterr().out
    assert "mesh.glb opens in Blender" in printed and ".ply" not in printed.split("other formats")[0]


def test_damaged_weights_end_a_run_before_it_starts(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    weights = tmp_path / "prior"
    weights.mkdir()
    (weights / "unet.bin").write_bytes(b"wrong")
    (weights / "sha256.json").write_text(json.dumps({"unet.bin": "0" * 64}))
    assert main(["generate", "x", f"out={tmp_path / 'out'}", f"prior.path={weights}"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert f"{weights / 'unet.bin'}: damaged: expected sha256 {'0' * 64}, got" in error


def test_doctor_reports_in_text_and_json(capsys: pytest.CaptureFixture) -> None:
    code = main(["doctor", "--json"])
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    names = {"python", "cpu", "torch", "cuda", "native", "cuda kernels", "gsplat", "weights", "models"}
    names |= {"ffmpeg", "disk"}
    assert names == checks.keys()
    assert code == (0 if all(check["ok"] or not check["required"] for check in checks.values()) else 1)
    assert all(check["remedy"] for check in checks.values() if not check["ok"])
    assert main(["doctor"]) == code
    assert len(capsys.readouterr().out.splitlines()) == len(checks)


def test_line_progress_prints_every_half_minute_and_at_stage_ends() -> None:
    stream, now = io.StringIO(), 0.0
    progress = LineProgress(stream, clock=lambda: now)
    progress.start(100, 20)
    for step in range(21, 101):
        now += 1.0
        progress.stage("shape" if step <= 60 else "detail")
        progress.advance(step, loss=0.5)
    progress.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "continuing from step 20 of 100"
    steps = [line.split("step ")[1].split("/")[0] for line in lines if "steps/s" in line]
    assert steps == ["50", "60", "91", "100"]
    assert "shape  step 50/100 (50%)  1.0 steps/s  50s left  loss 0.5" in lines


def test_bar_progress_shows_markup_as_text() -> None:
    stream = io.StringIO()
    progress = BarProgress(stream)
    progress.advance(0)
    progress.start(10, 2)
    progress.stage("shape")
    progress.advance(5, loss=0.5)
    progress.note("'[red]x[/red]' [/]")
    progress.close()
    assert "'[red]x[/red]' [/]" in stream.getvalue()
    assert "5/10" in stream.getvalue() and "shape" in stream.getvalue()
    assert isinstance(make_progress(stream, lambda: None), LineProgress)


def test_formatting_of_durations() -> None:
    assert [duration(x) for x in (7.4, 185, 7620)] == ["7s", "3m05s", "2h07m"]


@pytest.fixture(scope="module")
def makefile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Makefile beside an environment whose sds3d writes its arguments to a file."""
    folder = tmp_path_factory.mktemp("make")
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").write_text("#!/bin/sh\nexit 1\n")
    (binaries / "sds3d").write_text('#!/bin/sh\nprintf "%s\\0" "$@" > arguments\n')
    for path in binaries.iterdir():
        path.chmod(0o755)
    (folder / ".venv" / ".installed").touch()
    return folder


@pytest.mark.parametrize("prompt", [*HOSTILE, "$(shell touch x)", "$$", "a\\"])
def test_make_asset_passes_the_prompt_unchanged(prompt: str, makefile: Path) -> None:
    for command in (["make", "asset", f"PROMPT={prompt}"], ["env", f"PROMPT={prompt}", "make", "asset"]):
        subprocess.run(command, cwd=makefile, check=True, capture_output=True)
        arguments = (makefile / "arguments").read_text(encoding="utf-8").split("\0")[:-1]
        assert arguments == ["generate", "--config", "asset", "--", prompt]
    assert not (makefile / "x").exists()


@pytest.mark.usefixtures("with_terminal")
def test_the_closing_lines_name_the_stages_with_skipped_predictions(monkeypatch, tmp_path, capsys) -> None:
    skipped = {"detail": {"skipped": 2, "blocks": 40}, "crisp": {"skipped": 8, "blocks": 9}}
    result = SimpleNamespace(
        finished=True, scene=None, seconds={}, guard=Guard(skipped=10, in_a_row=8), skipped=skipped
    )
    reports: list[dict] = []

    def finish(*args: object, nonfinite: dict, **options: object) -> dict:
        reports.append({"nonfinite_predictions": nonfinite})
        return reports[-1]

    monkeypatch.setattr("sds3d.pipeline.optimize", lambda *args: result)
    monkeypatch.setattr("sds3d.pipeline.finish", finish)
    cfg = Config(prompt="a red mushroom", device="cpu", out=str(tmp_path))
    assert work(cfg, RunFolder.create(cfg)) == 0
    last = capsys.readouterr().out.splitlines()[-2:]
    effect = "were not finite and had no effect; check the prior's weights, a lower guidance_scale or another seed"
    assert last == [
        f"warning: 2 of 40 predictions of the prior in stage detail {effect}",
        f"warning: 8 of 9 predictions of the prior in stage crisp {effect}",
    ]
    counts = {"skipped": 10, "in_a_row": 8, "rollbacks": 0, "stages": skipped}
    assert reports == [{"nonfinite_predictions": counts}]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_finishing_leaves_nothing_half_written(number, monkeypatch, tmp_path, capsys) -> None:
    def interrupted(cfg: Config, run: RunFolder, *args: object, **kwargs: object) -> None:
        def write(partial: Path) -> None:
            partial.write_bytes(b"half a mesh")
            os.kill(os.getpid(), number)
            time.sleep(5)

        atomic_write(run.path / "mesh.glb", write)

    result = SimpleNamespace(finished=True, scene=None, seconds={}, guard=Guard(), skipped={})
    monkeypatch.setattr("sds3d.pipeline.optimize", lambda *args: result)
    monkeypatch.setattr("sds3d.pipeline.finish", interrupted)
    cfg = Config(prompt="a red mushroom", device="cpu", out=str(tmp_path))
    run = RunFolder.create(cfg)
    assert work(cfg, run) == 75
    assert f"sds3d resume {run.path}" in capsys.readouterr().err
    assert not [path for path in run.path.rglob("*mesh*")]
