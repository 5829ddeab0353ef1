"""The contact sheet of finished runs."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from sds3d.errors import UserError
from sds3d.mesh.export import write_mesh
from sds3d.procedural.objects.vocabulary import HELD_OUT
from tests.helpers.red_square import red_square
from tests.helpers.words import words

sheet = importlib.import_module("benchmarks.sheet")


def test_rows_list_exactly_the_held_out_words_of_their_prompts() -> None:
    assert len(sheet.ROWS) == 12 and sum(bool(row.unseen) for row in sheet.ROWS) >= 4
    for row in sheet.ROWS:
        assert words(row.prompt) & set(HELD_OUT) == set(row.unseen)


def test_sheets_label_each_row() -> None:
    twelve, pocket = sheet.twelve(), sheet.pocket()
    assert twelve.labels["a blue chair"] == "a blue chair"
    assert twelve.labels["an azure automobile"] == "an azure automobile\n(unseen words)"
    labels = list(pocket.labels.items())
    assert labels[0] == ("a purple frog", "1. a purple frog\n(color)")
    assert labels[47] == ("an anchor", "48. an anchor\n(no attribute)")


def test_rows_fill_one_column_after_another() -> None:
    strips = [Image.new("RGB", (5, 2), (value, 0, 0)) for value in (10, 20, 30, 40, 50)]
    picture = sheet.stack(strips, 2)
    assert picture.size == (10, 6)
    assert [[picture.getpixel((5 * x, 2 * y))[0] for y in range(3)] for x in range(2)] == [[10, 20, 30], [40, 50, 10]]


def test_encoded_sheet_is_at_most_max_bytes() -> None:
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
            gray = (237, 237, 237)
            assert strip.getpixel((0, 0)) == strip.getpixel((strip.width - 1, 0)) == gray
            written = ImageChops.difference(strip, Image.new("RGB", strip.size, gray)).crop((0, 0, which.label, 999))
            left, top, right, bottom = written.getbbox()
            assert 0 < left < right < which.label - 1 and 0 < top < bottom < which.tile  # none of it is cut off


def test_sheet_needs_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """With all runs it is written; if one is missing, it is not."""
    write_mesh(red_square(), tmp_path / "mesh.glb", "glb")
    report = {"psnr_db": 30.04, "iou": 0.98765, "components": 2, "watertight": False}
    (tmp_path / "report.json").write_text(json.dumps(report))
    calls = []
    labels = dict(list(sheet.pocket().labels.items())[:3])
    short = replace(sheet.pocket(), labels=labels)
    monkeypatch.setitem(sheet.SHEETS, "pocket", lambda: short)

    def make_runs(*arguments: object) -> list[Path]:
        calls.append(arguments)
        return [tmp_path] * 3

    monkeypatch.setattr(sheet, "make_runs", make_runs)
    picture = tmp_path / "sheet.png"
    arguments = ["sheet.py", "pocket", "--workers", "3", "--out", str(tmp_path), "--picture", str(picture)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert sheet.main() == 0
    assert calls == [(list(labels), "asset", tmp_path, 3)]
    assert "| a purple frog | 30.0 | 0.988 | 2 | no |\n" in capsys.readouterr().out
    assert Image.open(picture).size == (2 * (144 + 6 * 96), 2 * 96)
    picture.unlink()

    def miss(*arguments: object) -> None:
        raise UserError("1 of 3 runs are missing: 'an owl'")

    monkeypatch.setattr(sheet, "make_runs", miss)
    with pytest.raises(SystemExit, match="error: 1 of 3 runs are missing: 'an owl'"):
        sheet.main()
    assert not picture.exists()
