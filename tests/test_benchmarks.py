"""The benchmarks: what they count, what they write, and that their unseen words are unseen."""

import importlib
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sds3d.interfaces import TexturedMesh
from sds3d.mesh.export import write_glb
from sds3d.priors.pocket.objects import sample_object
from sds3d.priors.pocket.objects.vocabulary import HELD_OUT
from sds3d.priors.weights import file_sha256
from sds3d.runs import OUTPUTS, RunFolder
from sds3d.settings import load_config

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
asset, sheet, wordings = (importlib.import_module(f"benchmarks.{name}") for name in ("asset", "sheet", "wordings"))


@pytest.fixture(scope="module")
def captions() -> list[str]:
    rng = random.Random(0)
    return [caption for _ in range(3000) for caption in sample_object(rng)[1]]


def words(text: str) -> set[str]:
    return set(text.replace(",", "").split())


def test_rewording_keeps_word_borders_and_articles() -> None:
    for trained, unseen in (
        ("a red car with blue stripes", "a crimson automobile with azure stripes"),
        ("an axe", "a hatchet"),
        ("a 3d model of a robot, white head", "a 3d model of an android, ivory head"),
        ("a carrot beside a pine tree", "a carrot beside a fir"),
        ("a teapot", "a teapot"),
    ):
        assert wordings.reword(trained, wordings.SYNONYMS) == unseen
        assert wordings.reword(unseen, wordings.INVERSE) == trained


def test_rewording_can_be_undone(captions: list[str]) -> None:
    assert len(wordings.INVERSE) == len(wordings.SYNONYMS)
    for caption in captions:
        assert wordings.reword(wordings.reword(caption, wordings.SYNONYMS), wordings.INVERSE) == caption


def test_synonyms_pair_spoken_words_with_unspoken_ones(captions: list[str]) -> None:
    spoken = set().union(*map(words, captions))
    assert {word for trained in wordings.SYNONYMS for word in trained.split()} <= spoken
    assert set(wordings.INVERSE) <= set(HELD_OUT)
    assert not set(wordings.INVERSE) & spoken


def test_samples_differ_in_held_out_words_alone() -> None:
    samples = wordings.draw_samples(20, seed=3)
    again = wordings.draw_samples(20, seed=3)
    assert [sample.caption for sample in samples] == [sample.caption for sample in again]
    for sample in samples:
        assert words(sample.held_out_caption) & set(HELD_OUT) and not words(sample.caption) & set(HELD_OUT)


def test_surviving_share() -> None:
    assert wordings.surviving_share(true=1.0, held_out=1.0, empty=3.0) == 1
    assert wordings.surviving_share(true=1.0, held_out=3.0, empty=3.0) == 0
    assert wordings.surviving_share(true=1.0, held_out=1.5, empty=3.0) == 0.75


def test_errors_of_a_prior_that_knows_one_word() -> None:
    """A prior that sees through the noise exactly when the text says red, and errs by 0.1 otherwise."""

    class Knowing:
        num_views, resolution = 4, 16
        alphas_cumprod = torch.linspace(0.99, 0.01, 100)

        def encode_prompt(self, prompt: str, negative: bool = False) -> torch.Tensor:
            return torch.tensor([float(words(prompt) >= {"red"})])

        def encode_images(self, images: torch.Tensor) -> torch.Tensor:
            self.x0 = images
            return images

        def predict_noise(self, noisy, timesteps, texts, cameras, backgrounds):
            alpha = self.alphas_cumprod[timesteps[0]]
            guesses = [self.x0 + 0.1 * (1 - text) for text in texts]
            return [(noisy - alpha.sqrt() * guess) / (1 - alpha).sqrt() for guess in guesses]

    parts = sample_object(random.Random(0))[0]
    samples = [wordings.Sample(parts, "a red car", "a crimson automobile")] * 2
    errors = wordings.measure(Knowing(), samples, seed=0)
    expected = torch.tensor([0, 0.01, 0, 0.01]).expand(len(wordings.FRACTIONS), -1)
    torch.testing.assert_close(errors, expected, rtol=1e-3, atol=1e-5)  # float32, noise cancelled at alpha 0.2


def test_sheet_marks_the_words_that_training_never_saw() -> None:
    assert len(sheet.ROWS) == 12 and sum(bool(row.unseen) for row in sheet.ROWS) >= 4
    for row in sheet.ROWS:
        assert words(row.prompt) & set(HELD_OUT) == set(row.unseen)


def test_sheet_does_not_repeat_a_finished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr("sds3d.cli.main.main", lambda argv: calls.append(argv) or 75)
    assert sheet.finished_run("a ball", "smoke", tmp_path) is None  # stopped
    assert calls == [["generate", "--config", "smoke", f"out={tmp_path}", "--", "a ball"]]
    run = RunFolder.create(load_config(Path("smoke"), [f"out={tmp_path}"], "a ball"))
    for name in OUTPUTS:
        (run.path / name).write_text(name)
    outputs = {name: file_sha256(run.path / name) for name in OUTPUTS}
    (run.path / "report.json").write_text(json.dumps({"config_hash": run.config_hash, "outputs": outputs}))
    assert sheet.finished_run("a ball", "smoke", tmp_path) == run.path
    assert len(calls) == 1


def test_sheet_fits_its_size() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    assert len(sheet.encode(noise, 4000)) <= 4000
    with pytest.raises(ValueError, match="does not fit"):
        sheet.encode(noise, 100)


def test_row_shows_the_prompt_and_six_views() -> None:
    """The first view is from the front, where this mesh has a red square."""
    corners = torch.tensor([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    faces = torch.tensor([[4, 6, 7], [4, 7, 5]])  # x = 0.5
    mesh = TexturedMesh(corners, faces, corners, torch.full((8, 2), 0.5), torch.tensor([1.0, 0, 0]).expand(4, 4, 3))
    strip = sheet.draw_row(sheet.ROWS[8], mesh)
    assert strip.size == (sheet.LABEL + 6 * sheet.TILE, sheet.TILE)
    assert strip.getpixel((sheet.LABEL + sheet.TILE // 2, sheet.TILE // 2)) == (255, 0, 0)
    assert strip.getpixel((0, 0)) == strip.getpixel((strip.width - 1, 0)) == (237, 237, 237)
    assert strip.crop((0, 0, sheet.LABEL, sheet.TILE)).convert("L").getextrema()[0] < 100  # there is text


def measurement(**changes: object) -> object:
    good = {"prompt": "a | b", "wall_s": 10.0, "peak_gb": 3.0, "psnr_db": 25.0, "iou": 0.95, "glb_errors": 0}
    return asset.Measurement(**{**good, "faces": 9, "components": 1, "watertight": True, "seconds": {}, **changes})


def test_the_parts_of_the_seconds_add_up_to_the_process() -> None:
    report = {"seconds": {"load": 1.0, "mesh": 3.0, "glb": 0.5}, "mesh_seconds": {"surface": 0.75, "unwrap": 1.25}}
    parts = asset.breakdown(report, wall_s=7.0)
    assert parts == {
        "start and end": 2.5, "load": 1.0, "glb": 0.5, "mesh other": 1.0, "mesh surface": 0.75, "mesh unwrap": 1.25
    }  # fmt: skip
    assert sum(parts.values()) == 7.0


@pytest.mark.parametrize(
    "name, value", [("wall_s", 11.0), ("peak_gb", 3.1), ("psnr_db", 24.9), ("iou", 0.94), ("glb_errors", 1)]
)
def test_each_limit_is_watched(name: str, value: float) -> None:
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
    write_glb(TexturedMesh(corners / 2, torch.tensor([[0, 1, 2]]), corners, corners[:, :2], torch.zeros(4, 4, 3)), path)
    assert asset.count_glb_errors(path) == 0


def test_table_has_a_cell_for_each_column() -> None:
    lines = asset.table([measurement(), measurement(glb_errors=None, watertight=False)]).splitlines()
    assert len(lines) == 4
    for line in lines:
        assert len(line.replace("\\|", "").strip("|").split("|")) == len(asset.COLUMNS)
    assert lines[2].endswith("| 9 | 1 | yes | 0 |") and lines[3].endswith("| no | not checked |")


def test_block_replacement_touches_nothing_else() -> None:
    text = "a\n<!-- cpu: begin -->\nold\nolder\n<!-- cpu: end -->\nb\n<!-- cuda: begin -->\n<!-- cuda: end -->\nc\n"
    new = asset.replace_block(text, "cpu", "\\1 new\n")
    assert new == text.replace("old\nolder", "\\1 new")
    assert asset.replace_block(new, "cpu", "\\1 new") == new
    assert asset.replace_block(text, "cuda", "x").endswith("<!-- cuda: begin -->\nx\n<!-- cuda: end -->\nc\n")
    with pytest.raises(ValueError, match="cpu: begin"):
        asset.replace_block("nothing here", "cpu", "new")


def test_benchmark_page_has_a_place_for_each_kind_of_machine() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for kind in asset.LIMITS:
        assert asset.replace_block(page, kind, "new") != page
