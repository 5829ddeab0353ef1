"""The comparison of estimators: settings, text errors, table and picture."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from PIL import Image

from sds3d.config.ramp import Ramp
from sds3d.config.schema import (
    Config,
    EstimatorConfig,
    ISMConfig,
    SDEditConfig,
    SDIConfig,
    SDSConfig,
    StageConfig,
    VSDConfig,
)
from sds3d.interfaces import Render
from tests.helpers.gaussian_prior import GaussianPrior
from tests.helpers.tiny_prior import write_tiny_prior

ROOT = Path(__file__).resolve().parents[2]
estimators = importlib.import_module("benchmarks.estimators")
sheet = importlib.import_module("benchmarks.sheet")


def test_a_setting_applies_to_one_stage_or_to_all(tmp_path: Path) -> None:
    column = estimators.Column("a", ("stages.*.prior_every=2", "stages.1.loss.sparsity=3"))
    cfg = estimators.configure(column, str(estimators.CONFIG), tmp_path, "a ball")
    assert [stage.prior_every for stage in cfg.stages] == [2, 2, 2]
    assert [stage.loss.sparsity for stage in cfg.stages] == [10, 3, 40]


def test_each_column_has_one_estimator_in_all_stages(tmp_path: Path) -> None:
    kinds = set()
    for column in estimators.COLUMNS:
        cfg = estimators.configure(column, str(estimators.CONFIG), tmp_path, "a ball")
        [kind] = {type(stage.estimator) for stage in cfg.stages}
        kinds.add(kind)
        assert cfg.negative_prompt == column.negative_prompt and len(cfg.stages) == 3
    assert kinds == set(get_args(EstimatorConfig))


class Painted(GaussianPrior):
    """Predicts an image of the brightness that the text names, in [-1, 1], from any noise."""

    def encode_prompt(self, prompt: str, negative: bool = False) -> torch.Tensor:
        return torch.tensor(float(prompt))


def test_text_errors_are_squared_distances_from_the_view() -> None:
    def gray(cameras, backgrounds):
        image = torch.full((len(cameras), cameras.height, cameras.width, 3), 0.75)
        return Render(image, image[..., :1], image[..., :1])

    errors = estimators.text_errors(Painted(0.0), gray, ["0.5", "0", "-1"])
    torch.testing.assert_close(errors, torch.tensor([0, 0.25, 2.25]), atol=1e-5, rtol=1e-5)  # float32


@pytest.mark.parametrize(
    ("estimator", "calls"),
    [
        (SDSConfig(), 1),
        (ISMConfig(), 3),  # at 0 and at 200, where the interval begins, without guidance; at 250 with it
        (SDEditConfig(steps=3), 3),
        (SDIConfig(), 4),  # at 0, 100 and 200 on the way to noise; at 250
        (VSDConfig(train_steps=3), 5),  # the prior, its copy, and three training steps
    ],
    ids=lambda x: getattr(x, "kind", None),
)
def test_network_calls_are_counted(estimator: EstimatorConfig, calls: int) -> None:
    level = Ramp(0.25, 0.25)
    stage = StageConfig(steps=10, prior_every=4, t_min=level, t_max=level, estimator=estimator)
    cfg = Config(prompt="a ball", stages=(stage, replace(stage, name="again", steps=4)))
    assert estimators.count_calls(cfg, GaussianPrior(0.0)) == 4 * calls


def results(*numbers: tuple[float, float, bool]) -> list[estimators.Result]:
    size = (estimators.TILE, estimators.NUM_VIEWS * estimators.TILE, 3)
    return [estimators.Result(torch.full(size, index / 10), *values) for index, values in enumerate(numbers)]


def test_the_table_has_medians_and_means_of_columns() -> None:
    columns = (estimators.Column("a"), estimators.Column("b", ("x=1", "y=2"), negative_prompt="bad"))
    rows = [results((1, 0.1, True), (7, 0.3, False)), results((2, 0.2, False), (8, 0.3, False))]
    rows.append(results((9, 0.6, True), (9, 0.3, False)))
    lines = estimators.table(columns, (200, 400), rows).splitlines()
    assert lines[2] == "| a | as in the config | 200 | 2.0 | 0.30000 | 2 of 3 |"
    assert lines[3] == '| b | `x=1`, `y=2`, `negative_prompt="bad"` | 400 | 8.0 | 0.30000 | 0 of 3 |'
    assert {line.count("|") for line in lines} == {7}


def test_the_picture_shows_each_asset_in_its_row_and_column() -> None:
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


def test_a_repeated_comparison_gives_equal_files_and_makes_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    prior, config, page = write_tiny_prior(tmp_path / "prior"), tmp_path / "tiny.yaml", tmp_path / "page.md"
    stages = "[{name: one, steps: 4, resolution: 32}, {name: two, steps: 2, resolution: 32}]"
    config.write_text(f"device: cpu\nprior: {{path: {prior}}}\nstages: {stages}\nrepresentation: {{num_init: 60}}\n")
    page.write_text("before\n<!-- estimators: begin -->\nold\n<!-- estimators: end -->\nafter\n")
    monkeypatch.setattr(estimators, "ROWS", sheet.ROWS[:3])
    arguments = ["--prompts", "2", "--estimators", "vsd", "sds", "--config", config, "--out", tmp_path / "runs"]
    arguments += ["--picture", tmp_path / "picture.png", "--write", page]
    monkeypatch.setattr(sys, "argv", ["estimators.py", *map(str, arguments)])
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
    monkeypatch.setattr("sds3d.optimization.step.Steps.start", refuse)
    assert estimators.main() == 0
    assert page.read_text() == first and (tmp_path / "picture.png").read_bytes() == picture
