"""Finished runs: nothing writes to them again, and export reads them as files from elsewhere."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sds3d.cli.main import main
from sds3d.errors import UserError
from sds3d.interfaces import TexturedMesh
from sds3d.mesh.exporters.glb import glb_files, read_glb
from tests.helpers.runs import EMPTY_PLY, finished_run, replace_output, snapshot


def triangle() -> TexturedMesh:
    return TexturedMesh(torch.eye(3), torch.tensor([[0, 1, 2]]), torch.eye(3), torch.eye(3)[:, :2], torch.ones(4, 4, 3))


def changed(change: Callable[[dict], object]) -> bytes:
    """A GLB with another JSON header."""
    data = glb_files(triangle(), "mesh")["mesh.glb"]
    (length,) = struct.unpack_from("<I", data, 12)
    header = json.loads(data[20 : 20 + length])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + data[20 + length :]
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def test_a_changed_header_is_read_as_such() -> None:
    assert changed(lambda header: None).startswith(b"glTF")


def primitive(header: dict) -> dict:
    return header["meshes"][0]["primitives"][0]


def chain(header: dict) -> None:
    """Many nodes, one below the other."""
    below = [{"children": [index + 1]} for index in range(20_000)]
    header.update(nodes=[*below, {"mesh": 0}], scene=0, scenes=[{"nodes": [0]}])


NO_MESH = {
    "empty": b"",
    "text": b"mesh",
    "cut": glb_files(triangle(), "mesh")["mesh.glb"][:-30],
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "deep": struct.pack("<4sIII4s", b"glTF", 2, 0, 1_000_000, b"JSON") + b"[" * 1_000_000,
    "no mesh": changed(lambda header: header.update(meshes=[], nodes=[], scenes=[{"nodes": []}])),
    "no material": changed(lambda header: primitive(header).pop("material")),
    "no texture coordinates": changed(lambda header: primitive(header)["attributes"].pop("TEXCOORD_0")),
    "a chain of nodes": changed(chain),
    "many items": changed(lambda header: header["accessors"][0].update(count=10**9)),
    "few vertices": changed(lambda header: [a.update(count=2) for a in header["accessors"] if a["type"] == "VEC3"]),
}


@pytest.mark.parametrize("format", ["glb", "obj"])
@pytest.mark.parametrize("content", NO_MESH.values(), ids=NO_MESH.keys())
def test_a_mesh_that_is_none_is_not_exported(content: bytes, format: str, tmp_path: Path, capsys) -> None:
    """Although the report lists it with its sha256."""
    _, run = finished_run(tmp_path)
    replace_output(run, "mesh.glb", content)
    assert main(["export", str(run.path), "--format", f"ply,{format}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {run.path / 'mesh.glb'}: expected a GLB file") and error.count("\n") == 1
    assert f"delete {run.path / 'report.json'} and run `sds3d resume {run.path}`" in error and len(error) < 1500
    assert not (run.path / "export").exists()


@pytest.mark.parametrize("content", [b"", b"splats", EMPTY_PLY + b"0", EMPTY_PLY.replace(b"binary", b"ascii")])
def test_a_scene_that_is_none_is_not_exported(content: bytes, tmp_path: Path, capsys) -> None:
    _, run = finished_run(tmp_path)
    replace_output(run, "splats.ply", content)
    assert main(["export", str(run.path), "--format", "glb,ply"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {run.path / 'splats.ply'}: expected a binary PLY file") and error.count("\n") == 1
    assert not (run.path / "export").exists()


def test_a_mesh_reads_no_other_file(tmp_path: Path) -> None:
    """A GLB may name a file for its arrays; ours has them all."""
    data = changed(lambda header: header["buffers"][0].update(uri="arrays.bin"))
    (length,) = struct.unpack_from("<I", data, 12)
    (tmp_path / "arrays.bin").write_bytes(data[28 + length :])
    (tmp_path / "mesh.glb").write_bytes(data[: 20 + length])
    with pytest.raises(UserError, match="mesh.glb: expected a GLB file"):
        read_glb(tmp_path / "mesh.glb")


def test_export_through_a_link_is_refused(tmp_path: Path, capsys) -> None:
    """In the folder of the run; where --to leads is the user's choice."""
    _, run = finished_run(tmp_path / "runs")
    other = tmp_path / "other"
    other.mkdir()
    (other / "asset.glb").write_text("mine")
    (run.path / "export").symlink_to(other)
    assert main(["export", str(run.path)]) == 2
    assert "export is a link; remove it, or name the folder that it leads to with --to" in capsys.readouterr().err
    assert [path.read_text() for path in other.iterdir()] == ["mine"]
    (tmp_path / "link").symlink_to(other)
    assert main(["export", str(run.path), "--to", str(tmp_path / "link")]) == 0
    assert (other / "asset.glb").read_bytes() == (run.path / "mesh.glb").read_bytes()
    (other / "asset.glb").unlink()
    (other / "asset.glb").symlink_to(run.path / "splats.ply")
    assert main(["export", str(run.path), "--to", str(other)]) == 2
    assert "asset.glb is a link" in capsys.readouterr().err
    assert (run.path / "splats.ply").read_bytes().startswith(b"ply")


def test_a_finished_run_is_not_written_to(tmp_path: Path, capsys) -> None:
    """It may be on a disk that is read-only."""
    cfg, run = finished_run(tmp_path)
    before = snapshot(tmp_path)
    assert main(["generate", f"out={tmp_path}", "checkpoint.keep=5", "--", cfg.prompt]) == 0
    assert main(["resume", str(run.path)]) == 0
    assert capsys.readouterr().out.count(f"already finished: {run.path}\n") == 2
    assert snapshot(tmp_path) == before


def test_a_folder_that_export_cannot_make_has_a_next_step(tmp_path: Path, capsys) -> None:
    _, run = finished_run(tmp_path)
    assert main(["export", str(run.path), "--to", "/sys/export"]) == 2
    assert capsys.readouterr().err.endswith("choose another folder with --to DIR\n")
