"""Hostile run folders: checkpoints of other versions, damaged reports, endless files."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sds3d.files import file_sha256
from sds3d.runs.folder import RunFolder
from sds3d.runs.parts import Parts
from tests.helpers.runs import checksum, replace_by_fifo, replace_by_link, replace_tensors, report, reseal, save


def sealed(**values: object) -> Callable[[Path], None]:
    """Puts `values` into state.json, or removes those that are None."""

    def change(head: dict) -> None:
        head.update(values)
        for name in (name for name, value in values.items() if value is None):
            del head[name]

    return lambda path: reseal(path, change)


FOREIGN = {f"no {name}": sealed(**{name: None}) for name in ("schema", "step", "metrics_bytes", "files", "state")} | {
    "another schema": sealed(schema=1),
    "a schema of 1 MB": sealed(schema="x" * 900_000),
    "no files": sealed(files={}),
    "a file without size": sealed(files={"tensors.safetensors": {"sha256": "0"}}),
    "files in a list": sealed(files=[]),
    "a huge size": sealed(files={"tensors.safetensors": {"bytes": 10**30, "sha256": "0"}}),
    "another step": sealed(step=3),
    "a step in words": sealed(step="4"),
    "a negative log": sealed(metrics_bytes=-1),
    "a state in a list": sealed(state=[]),
    "no safetensors": lambda path: replace_tensors(path, b"tensors"),
    "no content": lambda path: replace_tensors(path, b""),
    "an unknown type": lambda path: replace_tensors(path, safetensors_of("F8_E8M0")),
}


def safetensors_of(kind: str) -> bytes:
    header = json.dumps({"x": {"dtype": kind, "shape": [0], "data_offsets": [0, 0]}}).encode()
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_checkpoint_of_another_version_is_named_and_the_previous_one_is_used(change, run: RunFolder) -> None:
    """Its checksums are right."""
    save(run, 2, 4)
    change(run.checkpoints.folder / "step-000004")
    checkpoint = run.load_latest()
    assert checkpoint.step == 2
    (message,) = checkpoint.messages
    assert "step-000004" in message and len(message) < 1000


def test_a_log_size_beyond_any_file_keeps_the_whole_log(run: RunFolder) -> None:
    save(run, 2)
    reseal(run.checkpoints.folder / "step-000002", lambda head: head.update(metrics_bytes=10**30))
    run.load_latest()
    assert [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()] == [2]


def test_outputs_outside_the_folder_are_not_read(run: RunFolder) -> None:
    secret = run.path.parent / "secret.ply"
    secret.write_text("secret")
    for name in ("../secret.ply", str(secret)):
        outputs = {name: file_sha256(secret)}
        (run.path / "report.json").write_text(json.dumps({"config_hash": run.config_hash, "outputs": outputs}))
        assert not run.finished and run.outputs == {}


REPORTS = {
    "deep": lambda path: path.write_text('{"outputs":' * 200_000),
    "huge": lambda path: os.truncate(path, 60 << 30),
    "list": lambda path: path.write_text("[1]"),
    "latin-1": lambda path: path.write_bytes(b'{"prompt": "\xe9"}'),
    "FIFO": replace_by_fifo,
    "device": lambda path: replace_by_link(path, "/dev/zero"),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("spoil", REPORTS.values(), ids=REPORTS.keys())
def test_a_run_with_a_damaged_report_is_not_finished(spoil: Callable[[Path], object], run: RunFolder) -> None:
    report(run, "mesh.glb")
    spoil(run.path / "report.json")
    assert not run.finished and run.outputs == {}


def test_an_output_that_never_ends_is_not_read(run: RunFolder) -> None:
    for spoil in (replace_by_fifo, lambda path: replace_by_link(path, "/dev/zero")):
        report(run, "mesh.glb")
        spoil(run.path / "mesh.glb")
        assert not run.finished and run.outputs == {}
        (run.path / "mesh.glb").unlink()


@pytest.mark.parametrize("spoil", REPORTS.values(), ids=REPORTS.keys())
def test_a_damaged_list_of_parts_has_none(spoil: Callable[[Path], object], run: RunFolder) -> None:
    Parts(run.path, {"a": "b"}).make("mesh.glb", lambda path: {"bytes": path.write_bytes(b"mesh")})
    assert Parts(run.path, {"a": "b"}).known["mesh.glb"]["facts"] == {"bytes": 4}
    spoil(run.path / "parts.json")
    assert Parts(run.path, {"a": "b"}).known == {}


@pytest.mark.parametrize(
    "parts", [[], None, {"mesh.glb": []}, {"mesh.glb": {"sha256": 0}}, {"mesh.glb": {"facts": {}}}]
)
def test_a_list_of_parts_of_another_version_has_none(parts: object, run: RunFolder) -> None:
    """Its checksum is right."""
    record = {"source": {}, "parts": parts}
    (run.path / "parts.json").write_text(json.dumps({**record, "sha256": checksum(record)}))
    assert Parts(run.path, {}).known == {}
