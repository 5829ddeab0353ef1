"""The benchmarks: what they count, what they write, and that their unseen words are unseen."""

import importlib
import json
import random
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from sds3d.errors import UserError
from sds3d.interfaces import TexturedMesh
from sds3d.mesh.export import write_mesh
from sds3d.procedural.objects import sample_object, scenes
from sds3d.procedural.objects.kinds import OBJECTS
from sds3d.procedural.objects.vocabulary import HELD_OUT, pluralize
from sds3d.procedural.objects.wordings import INVERSE, SYNONYMS, reword
from sds3d.procedural.parts import MAX_PARTS
from tests.helpers.red_square import red_square

ROOT = Path(__file__).resolve().parents[2]
asset, sheet, wordings = (importlib.import_module(f"benchmarks.{name}") for name in ("asset", "sheet", "wordings"))
blocks = importlib.import_module("benchmarks.report")
PROMPTS = importlib.import_module("benchmarks.pocket_prompts").PROMPTS


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
        assert reword(trained, SYNONYMS) == unseen
        assert reword(unseen, INVERSE) == trained


def test_rewording_can_be_undone(captions: list[str]) -> None:
    assert len(INVERSE) == len(SYNONYMS)
    for caption in captions:
        assert reword(reword(caption, SYNONYMS), INVERSE) == caption


def test_synonyms_pair_spoken_words_with_unspoken_ones(captions: list[str]) -> None:
    spoken = set().union(*map(words, captions))
    assert {word for trained in SYNONYMS for word in trained.split()} <= spoken
    assert set(INVERSE) <= set(HELD_OUT)
    assert not set(INVERSE) & spoken


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
        num_views, resolution, normals = 4, 16, False
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


def kinds_in(prompt: str) -> list[str]:
    """The kinds of objects that a prompt names, in its order; the longest names are read first."""
    names = {pluralize(noun) if many else noun: kind for kind in OBJECTS for noun in (kind,) for many in (0, 1)}
    pattern = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return [names[name] for name in re.findall(rf"\b(?:{pattern})\b", prompt)]


def test_pocket_prompts_are_many_and_of_many_kinds() -> None:
    prompts = [prompt for prompts in PROMPTS.values() for prompt in prompts]
    assert len(prompts) == len(set(prompts)) == 48
    assert [len(PROMPTS[tried]) for tried in ("count", "on top of", "next to", "no attribute")] == [8, 4, 4, 8]
    kinds = Counter(kind for prompt in prompts for kind in kinds_in(prompt))
    assert len(kinds) >= 45 and len({OBJECTS[kind].__module__ for kind in kinds}) >= 10
    for tried, asked in PROMPTS.items():
        for prompt in asked:
            assert len(kinds_in(prompt)) == (2 if tried in ("on top of", "next to") else 1), prompt


def test_pocket_prompts_say_what_training_captions_say(captions: list[str]) -> None:
    spoken = set().union(*map(words, captions))
    spoken |= {pluralize(word) for word in spoken if word}  # a plural of each name is rare in so few
    for prompt in (prompt for prompts in PROMPTS.values() for prompt in prompts):
        assert words(prompt) <= spoken, prompt
    for prompt in PROMPTS["count"]:
        assert words(prompt) & {"two", "three", "four", "pair"}


def test_pocket_prompts_ask_for_scenes_that_training_shows() -> None:
    """No more things than fit in a scene, and below others only what can carry them."""
    rng = random.Random(0)
    for prompt in PROMPTS["count"]:
        [kind] = kinds_in(prompt)
        draw = scenes.stacked if "stack" in prompt else scenes.several
        wanted = {"two": 2, "pair": 2, "three": 3, "four": 4}
        [number] = [wanted[word] for word in words(prompt) & set(wanted)]
        drawn = (draw(rng, *OBJECTS[kind](rng)) for _ in range(200))
        shown = {scene.say(rng): len(scene.parts) for scene in drawn if scene}
        numbers = {2: ("two", "pair", "2"), 3: ("three", "3"), 4: ("four", "4")}[number]
        fitting = [parts for text, parts in shown.items() if words(text) & set(numbers)]
        assert fitting and min(fitting) <= MAX_PARTS, prompt
    for prompt in PROMPTS["on top of"]:
        assert kinds_in(prompt)[1] in scenes.SUPPORTS


def test_sheets_label_each_row() -> None:
    twelve, pocket = sheet.twelve(), sheet.pocket()
    assert twelve.labels["a blue chair"] == "a blue chair"
    assert twelve.labels["an azure automobile"] == "an azure automobile\n(unseen words)"
    labels = list(pocket.labels.items())
    assert labels[0] == ("a purple frog", "1. a purple frog\n(colour)")
    assert labels[47] == ("an anchor", "48. an anchor\n(no attribute)")


def test_rows_are_read_down_the_columns() -> None:
    strips = [Image.new("RGB", (5, 2), (value, 0, 0)) for value in (10, 20, 30, 40, 50)]
    picture = sheet.stack(strips, 2)
    assert picture.size == (10, 6)
    assert [[picture.getpixel((5 * x, 2 * y))[0] for y in range(3)] for x in range(2)] == [[10, 20, 30], [40, 50, 10]]


def test_sheet_fits_its_size() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    assert len(sheet.encode(noise, 4000)) <= 4000
    with pytest.raises(ValueError, match="does not fit"):
        sheet.encode(noise, 100)


def test_row_shows_the_label_and_six_views() -> None:
    """The first view is from the front."""
    for which in (sheet.twelve(), sheet.pocket()):
        for prompt in (min(which.labels, key=len), max(which.labels, key=len)):
            strip = sheet.draw_row(which, prompt, red_square())
            assert strip.size == (which.label + 6 * which.tile, which.tile)
            assert strip.getpixel((which.label + which.tile // 2, which.tile // 2)) == (255, 0, 0)
            grey = (237, 237, 237)
            assert strip.getpixel((0, 0)) == strip.getpixel((strip.width - 1, 0)) == grey
            written = ImageChops.difference(strip, Image.new("RGB", strip.size, grey)).crop((0, 0, which.label, 999))
            left, top, right, bottom = written.getbbox()
            assert 0 < left < right < which.label - 1 and 0 < top < bottom < which.tile  # none of it is cut off


def test_sheet_is_drawn_from_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """And from all of them, or not at all."""
    write_mesh(red_square(), tmp_path / "mesh.glb", "glb")
    report = {"psnr_db": 30.04, "iou": 0.98765, "components": 2, "watertight": False}
    (tmp_path / "report.json").write_text(json.dumps(report))
    asked = []
    labels = dict(list(sheet.pocket().labels.items())[:3])
    short = replace(sheet.pocket(), labels=labels)
    monkeypatch.setitem(sheet.SHEETS, "pocket", lambda: short)

    def make_runs(*arguments: object) -> list[Path]:
        asked.append(arguments)
        return [tmp_path] * 3

    monkeypatch.setattr(sheet, "make_runs", make_runs)
    picture = tmp_path / "sheet.png"
    arguments = ["sheet.py", "pocket", "--jobs", "3", "--out", str(tmp_path), "--picture", str(picture)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert sheet.main() == 0
    assert asked == [(list(labels), "asset", tmp_path, 3)]
    assert "| a purple frog | 30.0 | 0.988 | 2 | no |\n" in capsys.readouterr().out
    assert Image.open(picture).size == (2 * (144 + 6 * 96), 2 * 96)
    picture.unlink()

    def miss(*arguments: object) -> None:
        raise UserError("1 of 3 runs are missing: 'an owl'")

    monkeypatch.setattr(sheet, "make_runs", miss)
    with pytest.raises(SystemExit, match="error: 1 of 3 runs are missing: 'an owl'"):
        sheet.main()
    assert not picture.exists()


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


def test_block_replacement_touches_nothing_else() -> None:
    text = "a\n<!-- cpu: begin -->\nold\nolder\n<!-- cpu: end -->\nb\n<!-- cuda: begin -->\n<!-- cuda: end -->\nc\n"
    new = blocks.replace_block(text, "cpu", "\\1 new\n")
    assert new == text.replace("old\nolder", "\\1 new")
    assert blocks.replace_block(new, "cpu", "\\1 new") == new
    assert blocks.replace_block(text, "cuda", "x").endswith("<!-- cuda: begin -->\nx\n<!-- cuda: end -->\nc\n")
    with pytest.raises(ValueError, match="cpu: begin"):
        blocks.replace_block("nothing here", "cpu", "new")


def test_benchmark_page_has_a_place_for_each_kind_of_machine() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for kind in (*asset.LIMITS, "prior step"):
        assert blocks.replace_block(page, kind, "new") != page
