"""The run folder: after any fault of the disk or the process, the last good state is found."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from sds3d.config.load import load_config
from sds3d.config.schema import Config, MVDreamConfig, StableDiffusionConfig, StageConfig
from sds3d.errors import UserError
from sds3d.files import atomic_write
from sds3d.priors.weights import file_sha256, verify
from sds3d.runs.folder import RunFolder, outputs_of
from sds3d.runs.identity import config_hash, identity, run_name
from tests.helpers.hostile import HOSTILE
from tests.helpers.runs import flip, replace_by_fifo, replace_by_link, report, save, tensors


def names(run: RunFolder) -> list[str]:
    return sorted(path.name for path in run.checkpoints.folder.iterdir())


def test_a_saved_checkpoint_loads_equal(run: RunFolder) -> None:
    assert run.load_latest() is None
    save(run, 4)
    checkpoint = run.load_latest()
    assert (checkpoint.step, checkpoint.state, checkpoint.messages) == (4, {"stage": "shape", "elapsed": 2.0}, ())
    assert checkpoint.tensors.keys() == tensors(4).keys()
    for name, expected in tensors(4).items():
        assert checkpoint.tensors[name].dtype == expected.dtype
        assert torch.equal(checkpoint.tensors[name], expected)


def test_views_of_one_tensor_are_saved_separately(run: RunFolder) -> None:
    base = torch.arange(12.0).view(3, 4)
    run.save_checkpoint(1, {"a": base.T, "b": base[1]}, {})
    checkpoint = run.load_latest()
    assert torch.equal(checkpoint.tensors["a"], base.T) and torch.equal(checkpoint.tensors["b"], base[1])


def test_the_newest_checkpoints_are_kept_and_a_step_can_be_saved_again(run: RunFolder) -> None:
    save(run, 2, 4, 1000000, 6)
    assert names(run) == ["step-000006", "step-1000000"]
    run.save_checkpoint(1000000, tensors(7), {"again": True})
    assert names(run) == ["step-000006", "step-1000000"]
    assert run.load_latest().state == {"again": True}


DAMAGE = {
    "bit flip in tensors": lambda path: flip(path / "tensors.safetensors"),
    "bit flip in state": lambda path: flip(path / "state.json"),
    "truncated tensors": lambda path: os.truncate(path / "tensors.safetensors", 50),
    "truncated state": lambda path: os.truncate(path / "state.json", 50),
    "empty tensors": lambda path: os.truncate(path / "tensors.safetensors", 0),
    "zeroed state": lambda path: (path / "state.json").write_bytes(bytes(100)),
    "state is a list": lambda path: (path / "state.json").write_text("[]"),
    "state is nested deeply": lambda path: (path / "state.json").write_text('{"a":' * 200_000),
    "state is huge": lambda path: os.truncate(path / "state.json", 60 << 30),
    "state is a device": lambda path: replace_by_link(path / "state.json", "/dev/zero"),
    "tensors are huge": lambda path: os.truncate(path / "tensors.safetensors", 60 << 30),
    "tensors are a FIFO": lambda path: replace_by_fifo(path / "tensors.safetensors"),
    "no tensors": lambda path: (path / "tensors.safetensors").unlink(),
    "no state": lambda path: (path / "state.json").unlink(),
    "empty folder": lambda path: [file.unlink() for file in path.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_checkpoint_is_named_and_the_previous_one_is_used(damage, run: RunFolder) -> None:
    save(run, 2, 4)
    damage(run.checkpoints.folder / "step-000004")
    checkpoint = run.load_latest()
    assert checkpoint.step == 2 and torch.equal(checkpoint.tensors["means"], tensors(2)["means"])
    (message,) = checkpoint.messages
    assert "step-000004" in message and "going back" in message
    save(run, 4)
    assert run.load_latest().step == 4


def test_the_error_of_damaged_checkpoints_has_a_next_step(run: RunFolder) -> None:
    save(run, 2, 4)
    for path in run.checkpoints.folder.iterdir():
        flip(path / "tensors.safetensors")
    with pytest.raises(UserError, match="all checkpoints .* damaged .* delete .*checkpoints to start this run again"):
        run.load_latest()
    shutil.rmtree(run.checkpoints.folder)
    run, _ = RunFolder.open(run.path)
    assert run.load_latest() is None


def test_leftovers_of_a_kill_are_removed(run: RunFolder) -> None:
    save(run, 2)
    shutil.copytree(run.checkpoints.folder / "step-000002", run.checkpoints.folder / "step-000004.tmp-123")
    assert run.load_latest().step == 2
    assert names(run) == ["step-000002"]


def test_metrics_are_truncated_to_the_checkpoint_and_lose_a_partial_line(run: RunFolder, cfg: Config) -> None:
    save(run, 2, 4)
    run.log(5, loss=0.1)
    with run.metrics.open("a") as file:
        file.write('{"step": 6, "lo')
    flip(run.checkpoints.folder / "step-000004" / "state.json")
    again = RunFolder.create(cfg)
    assert again.load_latest().step == 2
    again.log(3, loss=float("nan"))
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3]


def test_a_checkpoint_of_another_config_is_rejected(run: RunFolder, cfg: Config) -> None:
    save(run, 2)
    other = RunFolder(run.path, replace(cfg, seed=5))
    with pytest.raises(UserError, match="made with another config"):
        other.load_latest()


@pytest.mark.parametrize("limit", [100, 600])
def test_a_full_disk_keeps_the_last_checkpoint(limit: int, run: RunFolder) -> None:
    save(run, 2)
    code = f"""
import resource, sys, torch
from pathlib import Path
from sds3d.runs.folder import RunFolder
run, cfg = RunFolder.open(Path({str(run.path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
run.save_checkpoint(4, {{"x": torch.zeros(1000)}}, {{"pad": "x" * 1000}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"UserError: cannot write .*step-000004: .*limit is reached \(0\.0 MB needed, .*free", done.stderr)
    assert names(run) == ["step-000002"]
    assert run.load_latest().step == 2


def test_missing_disk_space_is_found_before_writing(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    save(run, 2)
    monkeypatch.setattr("sds3d.runs.checkpoints.free_bytes", lambda path: 10)
    with pytest.raises(UserError, match="the disk is full .* needed, 0.0 MB free.*sds3d resume"):
        save(run, 4)
    assert names(run) == ["step-000002"]


def test_a_full_disk_while_writing_a_file_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "mesh.glb"
    atomic_write(path, b"old")

    def onto_a_full_device(partial: Path) -> None:
        partial.symlink_to("/dev/full")
        partial.write_bytes(b"x" * 10000)

    with pytest.raises(UserError, match="mesh.glb: the disk is full .* free on that disk"):
        atomic_write(path, onto_a_full_device)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_accepts_bytes_text_and_functions(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for content, expected in ((b"1", "1"), ("\u00e9", "\u00e9"), (lambda partial: partial.write_text("3"), "3")):
        atomic_write(path, content)
        assert path.read_text() == expected
    with pytest.raises(ZeroDivisionError):
        atomic_write(path, lambda partial: partial.write_text(str(1 // 0)))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("out", ["/sys/outputs", "/dev/null/outputs"])
def test_an_unwritable_folder_is_an_error(out: str, cfg: Config) -> None:
    with pytest.raises(UserError, match=f"cannot write {out}.*choose .*out=FOLDER"):
        RunFolder.create(replace(cfg, out=out))


@pytest.mark.parametrize("prompt", HOSTILE)
def test_every_prompt_has_a_safe_folder_name(prompt: str, cfg: Config) -> None:
    cfg = load_config(None, [f"out={cfg.out}"], prompt)
    name = run_name(cfg)
    assert re.fullmatch(r"[a-z0-9-]{1,48}-[0-9a-f]{10}", name) and not name.startswith("-")
    run = RunFolder.create(cfg)
    assert run.path.resolve().parent == Path(cfg.out).resolve()
    again, loaded = RunFolder.open(run.path)
    assert loaded == cfg and again.config_hash == run.config_hash


def test_the_identity_covers_everything_that_the_result_depends_on(cfg: Config) -> None:
    same = replace(cfg, out="/elsewhere", device="cpu", checkpoint=replace(cfg.checkpoint, keep=9))
    assert config_hash(same) == config_hash(cfg)
    changes = ({"seed": 1}, {"prompt": "a red mushroon"}, {"mesh": replace(cfg.mesh, faces=999)})
    for other in (replace(cfg, **change) for change in changes):
        assert config_hash(other) != config_hash(cfg)
        assert run_name(other) != run_name(cfg)


def test_the_identity_omits_exactly_the_fields_marked_aside() -> None:
    """These are the location of weights, how a result is computed, and where it is stored."""

    def paths(value: object, key: str = "") -> set[str]:
        if isinstance(value, dict):
            return {path for name, item in value.items() for path in paths(item, f"{key}.{name}")}
        return {path for item in value for path in paths(item, key)} if isinstance(value, list | tuple) else {key[1:]}

    stages = tuple(StageConfig(prior=prior) for prior in (MVDreamConfig(), StableDiffusionConfig()))
    cfg = Config(prompt="x", stages=stages)
    left_out = paths(asdict(cfg)) - paths(identity(cfg))
    assert left_out == {
        "device", "out", "checkpoint.every_steps", "checkpoint.every_seconds", "checkpoint.keep",
        "prior.path", "stages.prior.path", "stages.prior.compile", "stages.prior.vae_batch",
    }  # fmt: skip


def test_other_weights_give_another_run(cfg: Config) -> None:
    hashes = [config_hash(cfg, ids) for ids in ((), ("a",), ("b",), ("a", "b"), ("b", "a"))]
    assert len(set(hashes)) == 5
    run = RunFolder.create(cfg, ("a",))
    assert RunFolder.open(run.path, lambda cfg: ("a",))[0].config_hash == run.config_hash
    save(run, 2)
    with pytest.raises(UserError, match="made with another config or prior"):
        RunFolder.open(run.path, lambda cfg: ("b",))[0].load_latest()


def test_a_link_out_of_the_folder_is_rejected(cfg: Config, tmp_path: Path) -> None:
    out = Path(cfg.out)
    out.mkdir()
    (out / run_name(cfg)).symlink_to(tmp_path)
    with pytest.raises(UserError, match="points outside"):
        RunFolder.create(cfg)


def test_only_one_process_can_lock_a_run(run: RunFolder) -> None:
    other, _ = RunFolder.open(run.path)
    with run.locked(), pytest.raises(UserError, match="another process"), other.locked():
        pass
    with other.locked():
        pass


def test_a_run_is_finished_if_all_outputs_in_the_report_are_unchanged(run: RunFolder, cfg: Config) -> None:
    assert not run.finished and run.outputs == {}
    outputs = report(run, "mesh.glb", "scene.bin")
    assert run.finished and list(run.outputs.items()) == list(outputs.items()) and outputs_of(run.path) == outputs
    assert not RunFolder(run.path, replace(cfg, seed=1)).finished
    flip(run.path / "mesh.glb")
    assert not run.finished and run.outputs == {}
    report(run, "mesh.glb")
    assert run.finished
    (run.path / "mesh.glb").unlink()
    assert not run.finished


@pytest.mark.parametrize("outputs", [{}, [], None, "mesh.glb", {"mesh.glb": None}, {"\0": ""}, {"\ud800": ""}])
def test_a_run_whose_report_has_no_outputs_is_not_finished(outputs: object, run: RunFolder) -> None:
    (run.path / "mesh.glb").touch()
    (run.path / "report.json").write_text(json.dumps({"config_hash": run.config_hash, "outputs": outputs}))
    assert not run.finished and run.outputs == {}


def test_opening_another_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        RunFolder.open(tmp_path)


def make_weights(folder: Path) -> dict[str, str]:
    (folder / "unet").mkdir()
    (folder / "unet" / "model.safetensors").write_bytes(b"weights" * 100)
    (folder / "config.json").write_text("{}")
    manifest = {name: file_sha256(folder / name) for name in ("unet/model.safetensors", "config.json")}
    (folder / "sha256.json").write_text(json.dumps(manifest))
    return manifest


def test_damaged_weights_are_an_error(tmp_path: Path) -> None:
    manifest = make_weights(tmp_path)
    verify(tmp_path)
    file = tmp_path / "unet" / "model.safetensors"
    flip(file)
    expected, got = manifest["unet/model.safetensors"], file_sha256(file)
    with pytest.raises(UserError, match=f"{file}: damaged: expected sha256 {expected}, got {got}; make it again"):
        verify(tmp_path)
    file.unlink()
    with pytest.raises(UserError, match=f"{file}: missing"):
        verify(tmp_path)


@pytest.mark.parametrize("manifest", [None, "", "[]", "{}", '{"../x": "0"}', '{"a": 3}'])
def test_a_bad_manifest_is_an_error(manifest: str | None, tmp_path: Path) -> None:
    if manifest is not None:
        (tmp_path / "sha256.json").write_text(manifest)
    with pytest.raises(UserError, match="sha256.json.*; make it again"):
        verify(tmp_path)
