"""The benchmarks: what they count, what they write, and that their unseen words are unseen."""

import importlib
import json
import random
import re
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from gaussian_prior import GaussianPrior
from PIL import Image, ImageChops
from tiny_prior import write_tiny_prior

from sds3d import trainer
from sds3d.config import (
    Config,
    EstimatorConfig,
    GaussiansConfig,
    ISMConfig,
    SDEditConfig,
    SDIConfig,
    SDSConfig,
    StageConfig,
    VSDConfig,
)
from sds3d.errors import UserError
from sds3d.evaluation.judge import save_towers
from sds3d.evaluation.towers import Towers
from sds3d.interfaces import Render, TexturedMesh
from sds3d.mesh.export import write_glb
from sds3d.priors.pocket.objects import sample_object, scenes
from sds3d.priors.pocket.objects.held_out import SIZE, held_out_pool, pool_id
from sds3d.priors.pocket.objects.kinds import OBJECTS
from sds3d.priors.pocket.objects.vocabulary import HELD_OUT, pluralize
from sds3d.priors.pocket.objects.wordings import INVERSE, SYNONYMS, reword
from sds3d.priors.pocket.parts import MAX_PARTS
from sds3d.priors.sample import sample_views
from sds3d.representations.gaussians import Gaussians
from sds3d.representations.splat_ply import splat_ply
from sds3d.schedules import Ramp

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
asset, estimators, quality, sheet, wordings = (
    importlib.import_module(f"benchmarks.{name}") for name in ("asset", "estimators", "quality", "sheet", "wordings")
)
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


def red_square() -> TexturedMesh:
    """A mesh that is seen from the front alone."""
    corners = torch.tensor([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    faces = torch.tensor([[4, 6, 7], [4, 7, 5]])  # x = 0.5
    return TexturedMesh(corners, faces, corners, torch.full((8, 2), 0.5), torch.tensor([1.0, 0, 0]).expand(4, 4, 3))


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
    write_glb(red_square(), tmp_path / "mesh.glb")
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
    for kind in (*asset.LIMITS, "prior step"):
        assert asset.replace_block(page, kind, "new") != page


def test_settings_are_of_one_stage_or_of_every_one(tmp_path: Path) -> None:
    column = estimators.Column("a", ("stages.*.prior_every=2", "stages.1.loss.sparsity=3"))
    cfg = estimators.configure(column, str(estimators.CONFIG), tmp_path, "a ball")
    assert [stage.prior_every for stage in cfg.stages] == [2, 2, 2]
    assert [stage.loss.sparsity for stage in cfg.stages] == [10, 3, 40]


def test_the_comparison_has_every_estimator_in_every_stage(tmp_path: Path) -> None:
    kinds = set()
    for column in estimators.COLUMNS:
        cfg = estimators.configure(column, str(estimators.CONFIG), tmp_path, "a ball")
        [kind] = {type(stage.estimator) for stage in cfg.stages}
        kinds.add(kind)
        assert cfg.negative_prompt == column.negative_prompt and len(cfg.stages) == 3
    assert kinds == set(get_args(EstimatorConfig))


class Painted(GaussianPrior):
    """Sees through any noise the brightness that the text says, in [-1, 1]."""

    def encode_prompt(self, prompt: str, negative: bool = False) -> torch.Tensor:
        return torch.tensor(float(prompt))


def test_the_judge_measures_how_far_a_text_is_from_what_is_there() -> None:
    def grey(cameras, backgrounds):
        image = torch.full((len(cameras), cameras.height, cameras.width, 3), 0.75)
        return Render(image, image[..., :1], image[..., :1])

    errors = estimators.text_errors(Painted(0.0), grey, ["0.5", "0", "-1"])
    torch.testing.assert_close(errors, torch.tensor([0, 0.25, 2.25]), atol=1e-5, rtol=1e-5)  # float32


@pytest.mark.parametrize(
    ("estimator", "calls"),
    [
        (SDSConfig(), 1),
        (ISMConfig(), 3),  # at 0 and at 200, where the interval begins, without guidance; at 250 with it
        (SDEditConfig(steps=3), 3),
        (SDIConfig(), 4),  # at 0, 100 and 200 on the way to noise; at 250
        (VSDConfig(train_steps=3), 5),  # the prior, its twin, and what the twin learns from
    ],
    ids=lambda x: getattr(x, "kind", None),
)
def test_calls_are_counted(estimator: EstimatorConfig, calls: int) -> None:
    level = Ramp(0.25, 0.25)
    stage = StageConfig(steps=10, prior_every=4, t_min=level, t_max=level, estimator=estimator)
    cfg = Config(prompt="a ball", stages=(stage, replace(stage, name="again", steps=4)))
    assert estimators.count_calls(cfg, GaussianPrior(0.0)) == 4 * calls


def results(*numbers: tuple[float, float, bool]) -> list[estimators.Result]:
    size = (estimators.TILE, estimators.NUM_VIEWS * estimators.TILE, 3)
    return [estimators.Result(torch.full(size, index / 10), *values) for index, values in enumerate(numbers)]


def test_the_comparison_takes_medians_and_means_of_columns() -> None:
    columns = (estimators.Column("a"), estimators.Column("b", ("x=1", "y=2"), negative_prompt="bad"))
    rows = [results((1, 0.1, True), (7, 0.3, False)), results((2, 0.2, False), (8, 0.3, False))]
    rows.append(results((9, 0.6, True), (9, 0.3, False)))
    lines = estimators.table(columns, (200, 400), rows).splitlines()
    assert lines[2] == "| a | as in the config | 200 | 2.0 | 0.30000 | 2 of 3 |"
    assert lines[3] == '| b | `x=1`, `y=2`, `negative_prompt="bad"` | 400 | 8.0 | 0.30000 | 0 of 3 |'
    assert {line.count("|") for line in lines} == {7}


def test_the_comparison_shows_each_asset_in_its_row_and_column() -> None:
    rows = [results((1, 1, True), (1, 1, True)), results((1, 1, True), (1, 1, True))[::-1]]
    picture = estimators.draw(estimators.COLUMNS[:2], ["one", "two"], rows)
    tile, width = estimators.TILE, estimators.NUM_VIEWS * estimators.TILE
    assert picture.size == (estimators.LABEL + 2 * width, estimators.HEADER + 2 * tile)
    shown = [
        [picture.getpixel((estimators.LABEL + width * x + 9, estimators.HEADER + tile * y + 9))[0] for x in (0, 1)]
        for y in (0, 1)
    ]
    assert shown == [[0, 26], [26, 0]]
    for box in ((estimators.LABEL, 0, picture.width, estimators.HEADER), (0, estimators.HEADER, estimators.LABEL, 99)):
        assert picture.crop(box).convert("L").getextrema()[0] < 100  # there is text


def test_the_comparison_from_end_to_end_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    prior, config, page = write_tiny_prior(tmp_path / "prior"), tmp_path / "tiny.yaml", tmp_path / "page.md"
    stages = "[{name: one, steps: 4, resolution: 32}, {name: two, steps: 2, resolution: 32}]"
    config.write_text(f"device: cpu\nprior: {{path: {prior}}}\nstages: {stages}\nrepresentation: {{num_init: 60}}\n")
    page.write_text("before\n<!-- estimators: begin -->\nold\n<!-- estimators: end -->\nafter\n")
    monkeypatch.setattr(estimators, "ROWS", sheet.ROWS[:3])
    arguments = ["--prompts", "2", "--estimators", "vsd", "sds", "--config", config, "--out", tmp_path / "runs"]
    arguments += ["--picture", tmp_path / "picture.png", "--write", page]
    monkeypatch.setattr(sys, "argv", ["estimators.py", *map(str, arguments)])
    monkeypatch.setattr(trainer, "build_prior", trainer.build_prior)  # and its own after the test
    monkeypatch.setattr(estimators, "describe_machine", lambda device: "a machine")
    assert estimators.main() == 0
    first = page.read_text()
    assert first.startswith("before\n<!-- estimators: begin -->\n| estimator |") and first.endswith("end -->\nafter\n")
    lines = first.splitlines()
    assert lines[4].startswith("| sds | as in the config | 2 |") and lines[5].startswith("| vsd |")
    assert "2 prompts" in lines[7] and "a machine" in lines[7]
    assert Image.open(tmp_path / "picture.png").width == estimators.LABEL + 4 * estimators.TILE

    def refuse(*arguments: object) -> None:
        raise AssertionError("made again")

    picture = (tmp_path / "picture.png").read_bytes()
    monkeypatch.setattr("sds3d.steps.Steps.start", refuse)
    assert estimators.main() == 0
    assert page.read_text() == first and (tmp_path / "picture.png").read_bytes() == picture


def leave_run(folder: Path) -> Path:
    """What a run leaves to look at: as Gaussians a ball, as a mesh two triangles that are seen from the front alone."""
    scene = Gaussians.random_ball(GaussiansConfig(num_init=300), 10, torch.Generator().manual_seed(0))
    scene.logit_opacities.data += 6  # solid
    folder.mkdir(parents=True)
    (folder / "splats.ply").write_bytes(splat_ply(scene))
    triangle = torch.tensor([[0.5, -0.4, -0.2], [0.5, -0.1, -0.2], [0.5, -0.4, 0.2]])
    corners = torch.cat([triangle, triangle + torch.tensor([0, 0.5, 0])])
    two = replace(red_square(), vertices=corners, normals=corners, uvs=corners[:, :2], faces=torch.arange(6).view(2, 3))
    write_glb(two, folder / "mesh.glb")
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
            ("optimised Gaussians", "3"),
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
    assert all(asset.replace_block(text, name, "x") != text for name in ("quality", "prior training"))
