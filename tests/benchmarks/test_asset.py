"""The benchmark of one asset: table, limits and blocks of the docs."""

import importlib
from pathlib import Path

import pytest
import torch

from sds3d.interfaces import TexturedMesh
from sds3d.mesh.export import write_mesh

asset = importlib.import_module("benchmarks.asset")

ROOT = Path(__file__).resolve().parents[2]
blocks = importlib.import_module("benchmarks.report")


def measurement(**changes: object) -> object:
    good = {"prompt": "a | b", "wall_s": 10.0, "peak_gb": 3.0, "psnr_db": 25.0, "iou": 0.95, "glb_errors": 0}
    return asset.Measurement(**{**good, "faces": 9, "components": 1, "watertight": True, "seconds": {}, **changes})


def test_parts_of_the_seconds_add_up_to_the_wall_time() -> None:
    report = {"seconds": {"load": 1.0, "mesh": 3.0, "glb": 0.5}, "mesh_seconds": {"surface": 0.75, "unwrap": 1.25}}
    parts = asset.breakdown(report, wall_s=7.0)
    assert parts == {
        "start and end": 2.5, "load": 1.0, "glb": 0.5, "mesh other": 1.0, "mesh surface": 0.75, "mesh unwrap": 1.25
    }  # fmt: skip
    assert sum(parts.values()) == 7.0


@pytest.mark.parametrize(
    "name, value", [("wall_s", 11.0), ("peak_gb", 3.1), ("psnr_db", 24.9), ("iou", 0.94), ("glb_errors", 1)]
)
def test_each_missed_limit_is_named(name: str, value: float) -> None:
    limits = asset.LIMITS["cuda"]
    assert not measurement().missed(limits) and not measurement(glb_errors=None).missed(limits)
    assert measurement(**{name: value}).missed(limits) == [name]


def test_glb_errors_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "mesh.glb"
    path.write_bytes(b"glTF, but not really")
    errors = asset.count_glb_errors(path)
    if errors is None:
        pytest.skip("no node, or no npm install in tests/tools")
    assert errors > 0
    corners = torch.eye(3)
    write_mesh(
        TexturedMesh(corners / 2, torch.tensor([[0, 1, 2]]), corners, corners[:, :2], torch.zeros(4, 4, 3)), path, "glb"
    )
    assert asset.count_glb_errors(path) == 0


def test_table_has_a_cell_for_each_column() -> None:
    lines = asset.table([measurement(), measurement(glb_errors=None, watertight=False)]).splitlines()
    assert len(lines) == 4
    for line in lines:
        assert len(line.replace("\\|", "").strip("|").split("|")) == len(asset.COLUMNS)
    assert lines[2].endswith("| 9 | 1 | yes | 0 |") and lines[3].endswith("| no | not checked |")


def test_replacing_a_block_changes_nothing_else() -> None:
    text = "a\n<!-- cpu: begin -->\nold\nolder\n<!-- cpu: end -->\nb\n<!-- cuda: begin -->\n<!-- cuda: end -->\nc\n"
    new = blocks.replace_block(text, "cpu", "\\1 new\n")
    assert new == text.replace("old\nolder", "\\1 new")
    assert blocks.replace_block(new, "cpu", "\\1 new") == new
    assert blocks.replace_block(text, "cuda", "x").endswith("<!-- cuda: begin -->\nx\n<!-- cuda: end -->\nc\n")
    with pytest.raises(ValueError, match="cpu: begin"):
        blocks.replace_block("nothing here", "cpu", "new")


def test_benchmark_page_has_a_block_for_each_kind_of_machine() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for kind in (*asset.LIMITS, "prior step"):
        assert blocks.replace_block(page, kind, "new") != page
