"""The judge's scores of samples, assets and true objects (`benchmarks/quality.py`)."""

import importlib
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from sds3d.config.schema import GaussiansConfig
from sds3d.errors import UserError
from sds3d.evaluation.judge import save_towers
from sds3d.evaluation.towers import Towers
from sds3d.mesh.export import write_mesh
from sds3d.priors.sample import sample_views
from sds3d.procedural.objects.held_out import SIZE, held_out_pool, pool_id
from sds3d.representations.gaussians.ply import splat_ply
from sds3d.representations.gaussians.splats import Gaussians
from tests.helpers.red_square import red_square
from tests.helpers.tiny_prior import write_tiny_prior

ROOT = Path(__file__).resolve().parents[2]
report = importlib.import_module("benchmarks.report")
quality = importlib.import_module("benchmarks.quality")


def leave_run(folder: Path) -> Path:
    """A run folder with a ball of Gaussians, and with a mesh of two triangles that only the front view shows."""
    scene = Gaussians.random_ball(GaussiansConfig(num_init=300), torch.Generator().manual_seed(0))
    scene.logit_opacities.data += 6  # solid
    folder.mkdir(parents=True)
    (folder / "splats.ply").write_bytes(splat_ply(scene))
    triangle = torch.tensor([[0.5, -0.4, -0.2], [0.5, -0.1, -0.2], [0.5, -0.4, 0.2]])
    corners = torch.cat([triangle, triangle + torch.tensor([0, 0.5, 0])])
    two = replace(red_square(), vertices=corners, normals=corners, uvs=corners[:, :2], faces=torch.arange(6).view(2, 3))
    write_mesh(two, folder / "mesh.glb", "glb")
    return folder


def test_quality_runs_the_judge_on_samples_assets_and_true_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """With an untrained prior, an untrained judge and finished runs."""
    prior = write_tiny_prior(tmp_path / "prior")
    torch.manual_seed(0)
    sizes = {"channels": [8], "text_width": 16}
    save_towers(Towers(**sizes), sizes, pool_id(), tmp_path / "judge")
    config, page = tmp_path / "tiny.yaml", tmp_path / "page.md"
    config.write_text(f"device: cpu\nprior: {{path: {prior}}}\n")
    page.write_text("before\n<!-- quality: begin -->\nold\n<!-- quality: end -->\nafter\n")
    arguments = ["--judge", tmp_path / "judge", "--samples", "2", "--prompts", "3", "--config", config]
    arguments += ["--workers", "5", "--out", tmp_path / "runs", "--write", page]
    monkeypatch.setattr(sys, "argv", ["quality.py", *map(str, arguments)])
    calls = []

    def make_runs(prompts: list[str], *arguments: object) -> list[Path]:
        calls.append((prompts, *arguments))
        return [leave_run(tmp_path / f"{len(calls)} {index}") for index in range(len(prompts))]

    monkeypatch.setattr(quality, "make_runs", make_runs)
    monkeypatch.setattr(quality, "describe_machine", lambda device: "a machine")
    monkeypatch.setattr(quality, "RESOLUTION", 32)  # 800 pictures of true objects are traced
    monkeypatch.setattr("sds3d.priors.sample.sample_views", partial(sample_views, steps=2))
    assert quality.main() == 0
    pool = held_out_pool()
    wordings = [[held.plain for held in pool[:3]], [held.caption for held in pool[:3]]]
    assert calls == [(captions, str(config), tmp_path / "runs", 5) for captions in wordings]
    text = page.read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:12]]
    assert all(len(row) == len(quality.HEADINGS) for row in rows)
    assert [row[:3] for row in rows[2:]] == [
        [f"{words} words", name, number]
        for words in ("trained", "held-out")
        for name, number in (
            ("samples of the prior", "2"),
            ("optimized Gaussians", "3"),
            ("textured meshes", "3"),
            ("true objects", "200"),
        )
    ]
    rows = [row[1:] for row in rows]
    assert rows[2][6:] == ["", "", ""]  # samples of the prior have no alpha
    assert rows[3][7] == "3 of 3"  # a ball
    assert rows[4][6:8] == ["0.0000", "0 of 3"]  # a mesh has no haze; this one is in two pieces
    assert rows[5][6:] == ["0.0000", "200 of 200", "0 of 200"]  # true objects are sound
    assert "our dual encoder" in text and "a machine" in text
    printed = capsys.readouterr().out
    assert "Confused captions:" in printed and "Confused" not in text


def test_confusions_include_ties() -> None:
    """R-precision does not count a tie as found."""
    texts, words_for = torch.eye(5), ["a", "b", "c", "d", "e"]

    def seen(*numbers: int) -> torch.Tensor:
        return torch.eye(5)[list(numbers)][:, None].expand(-1, quality.NUM_VIEWS, -1)

    between = torch.nn.functional.normalize(torch.tensor([[0.0, 0, 1, 1, 0]]), dim=-1)[:, None].expand(-1, 4, -1)
    few, many, true = torch.cat([seen(0, 3), between]), seen(0, 1, 2, 0, 4), seen(1, 1, 0, 3, 3)
    table = quality.confusions(["few", "many", "true"], [few, many, true], texts, words_for)
    rows = [
        "| b | d |  |  |",
        "| c | d |  | a |",
        "| d | - | a |  |",
    ]  # not a and e, which are confused only for true objects
    assert table.splitlines()[2:] == ["| caption | few | many | true |", "| --- | --- | --- | --- |", *rows]


def test_only_the_first_confusions_are_listed() -> None:
    captions = [f"caption {index}" for index in range(quality.MAX_MISSES + 3)]
    texts = torch.eye(len(captions))
    wrong = texts.roll(1, 0)[:, None].expand(-1, quality.NUM_VIEWS, -1)
    lines = quality.confusions(["all", "true"], [wrong, wrong], texts, captions).splitlines()
    assert lines[-2].startswith(f"| caption {quality.MAX_MISSES - 1} | ") and lines[-1] == "and 3 more"


def test_quality_without_a_judge_names_the_training_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["quality.py", "--judge", str(tmp_path)])
    with pytest.raises(SystemExit, match="no judge there .* train one with `python -m sds3d.evaluation.train_judge"):
        quality.main()


def test_quality_refuses_a_judge_of_another_pool(tmp_path: Path) -> None:
    sizes = {"channels": [8], "text_width": 16}
    save_towers(Towers(**sizes), sizes, "another", tmp_path)
    with pytest.raises(UserError, match="have changed since this judge was trained"):
        quality.check_pool(tmp_path)
    save_towers(Towers(**sizes), sizes, pool_id(), tmp_path)
    quality.check_pool(tmp_path)


def test_quality_finds_the_right_captions_and_no_others() -> None:
    """The fake judge reads a number from each picture and each text; one of four views has the wrong number."""

    class Counting:
        def embed_images(self, images: torch.Tensor) -> torch.Tensor:
            return torch.eye(4)[images[:, 0, 0, 0].long()]

    images = torch.arange(3.0)[:, None, None, None, None].expand(3, quality.NUM_VIEWS, 3, 8, 8).clone()
    images[0, 1] = 3
    pictures = quality.Pictures("numbers", images)
    row = quality.line(pictures, quality.embed(Counting(), pictures), torch.eye(4), pictures)
    assert [cell.strip() for cell in row.strip("|").split("|")][:4] == ["numbers", "3", "1.000", f"{11 / 12:.3f}"]


def test_the_pocket_page_has_the_blocks_of_its_tables() -> None:
    assert quality.SIZE == SIZE
    text = (ROOT / "docs" / "pocket.md").read_text()
    assert all(report.replace_block(text, name, "x") != text for name in ("quality", "prior training"))
