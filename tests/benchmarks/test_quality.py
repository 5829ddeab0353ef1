"""`benchmarks/quality.py`: what the judge finds among samples, assets and true objects, and where it is written."""

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
    """What a run leaves to look at: as Gaussians a ball, as a mesh two triangles that are seen from the front alone."""
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
    """With a prior and a judge that know nothing, of runs that are finished."""
    prior = write_tiny_prior(tmp_path / "prior")
    torch.manual_seed(0)
    sizes = {"channels": [8], "text_width": 16}
    save_towers(Towers(**sizes), sizes, pool_id(), tmp_path / "judge")
    config, page = tmp_path / "tiny.yaml", tmp_path / "page.md"
    config.write_text(f"device: cpu\nprior: {{path: {prior}}}\n")
    page.write_text("before\n<!-- quality: begin -->\nold\n<!-- quality: end -->\nafter\n")
    arguments = ["--judge", tmp_path / "judge", "--samples", "2", "--prompts", "3", "--config", config]
    arguments += ["--jobs", "5", "--out", tmp_path / "runs", "--write", page]
    monkeypatch.setattr(sys, "argv", ["quality.py", *map(str, arguments)])
    asked = []

    def make_runs(prompts: list[str], *arguments: object) -> list[Path]:
        asked.append((prompts, *arguments))
        return [leave_run(tmp_path / f"{len(asked)} {index}") for index in range(len(prompts))]

    monkeypatch.setattr(quality, "make_runs", make_runs)
    monkeypatch.setattr(quality, "describe_machine", lambda device: "a machine")
    monkeypatch.setattr(quality, "RESOLUTION", 32)  # 800 pictures of true objects are traced
    monkeypatch.setattr("sds3d.priors.sample.sample_views", partial(sample_views, steps=2))
    assert quality.main() == 0
    pool = held_out_pool()
    asked_for = [[held.plain for held in pool[:3]], [held.caption for held in pool[:3]]]
    assert asked == [(captions, str(config), tmp_path / "runs", 5) for captions in asked_for]
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
    assert rows[2][6:] == ["", "", ""]  # what the prior draws has no alpha
    assert rows[3][7] == "3 of 3"  # a ball
    assert rows[4][6:8] == ["0.0000", "0 of 3"]  # a mesh has no haze; this one is in two pieces
    assert rows[5][6:] == ["0.0000", "200 of 200", "0 of 200"]  # true objects are sound, or a metric is not
    assert "our dual encoder" in text and "a machine" in text
    printed = capsys.readouterr().out
    assert "Taken for something else:" in printed and "Taken for" not in text


def test_quality_says_what_was_taken_for_what() -> None:
    """Also where another caption is as near, which R-precision does not count as found."""
    texts, words_for = torch.eye(5), ["a", "b", "c", "d", "e"]

    def seen(*numbers: int) -> torch.Tensor:
        return torch.eye(5)[list(numbers)][:, None].expand(-1, quality.NUM_VIEWS, -1)

    between = torch.nn.functional.normalize(torch.tensor([[0.0, 0, 1, 1, 0]]), dim=-1)[:, None].expand(-1, 4, -1)
    few, many, true = torch.cat([seen(0, 3), between]), seen(0, 1, 2, 0, 4), seen(1, 1, 0, 3, 3)
    table = quality.misses(["few", "many", "true"], [few, many, true], texts, words_for)
    rows = ["| b | d |  |  |", "| c | d |  | a |", "| d | - | a |  |"]  # not a nor e, which only true objects miss
    assert table.splitlines()[2:] == ["| caption | few | many | true |", "| --- | --- | --- | --- |", *rows]


def test_quality_shows_the_first_misses() -> None:
    captions = [f"caption {index}" for index in range(quality.MAX_MISSES + 3)]
    texts = torch.eye(len(captions))
    wrong = texts.roll(1, 0)[:, None].expand(-1, quality.NUM_VIEWS, -1)
    lines = quality.misses(["all", "true"], [wrong, wrong], texts, captions).splitlines()
    assert lines[-2].startswith(f"| caption {quality.MAX_MISSES - 1} | ") and lines[-1] == "and 3 more"


def test_quality_tells_how_to_train_a_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    """A judge that reads a number from the pictures and from the texts, and errs by one in one view of four."""

    class Counting:
        def embed_images(self, images: torch.Tensor) -> torch.Tensor:
            return torch.eye(4)[images[:, 0, 0, 0].long()]

    images = torch.arange(3.0)[:, None, None, None, None].expand(3, quality.NUM_VIEWS, 3, 8, 8).clone()
    images[0, 1] = 3
    pictures = quality.Pictures("numbers", images)
    row = quality.line(pictures, quality.embed(Counting(), pictures), torch.eye(4), pictures)
    assert [cell.strip() for cell in row.strip("|").split("|")][:4] == ["numbers", "3", "1.000", f"{11 / 12:.3f}"]


def test_the_pocket_page_has_places_for_its_tables() -> None:
    assert quality.SIZE == SIZE
    text = (ROOT / "docs" / "pocket.md").read_text()
    assert all(report.replace_block(text, name, "x") != text for name in ("quality", "prior training"))
