"""The folder of the user's meshes: pictures that are kept, progress, and files that are not read."""

import io
import json
import os
import sys

import pytest
import torch

from sds3d.mesh.importers.solid import make_solid
from sds3d.priors.pocket import train
from sds3d.procedural import library, picture_cache
from sds3d.procedural.library import render_library

CPU = torch.device("cpu")
NAMES = ("a.obj", "b.obj", "c.obj")


def mesh(color):
    return f"mtllib {color}.mtl\nusemtl x\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "meshes"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(mesh("red"))
    (folder / "red.mtl").write_text("newmtl x\nKd 1 0 0\n")
    say(folder, *NAMES)
    return folder


def say(folder, *names):
    lines = [json.dumps({"file": name, "caption": "a triangle"}) for name in names]
    (folder / "captions.jsonl").write_text("\n".join(lines))


def draw(folder, cache, seed=0, **settings):
    """The objects, and which of them were drawn."""
    drawn, reports = [], []
    original = library.render_solid

    def recorded(solid, cameras, **more):
        drawn.append(solid)
        return original(solid, cameras, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "render_solid", recorded)
        objects = render_library(folder, seed, CPU, reports.append, num_rings=1, cache=cache, **settings)
    return objects, len(drawn), reports


def same(objects, others):
    return all(torch.equal(one.pictures, other.pictures) for one, other in zip(objects, others, strict=True))


def test_pictures_are_kept_as_they_are(folder, tmp_path):
    first, drawn, reports = draw(folder, tmp_path / "cache")
    assert drawn == 3 and reports[-1].startswith("drew 3 meshes, found 0 drawn before, in")
    again, drawn, reports = draw(folder, tmp_path / "cache")
    assert drawn == 0 and same(first, again) and reports[-1].startswith("drew 0 meshes, found 3 drawn before, in")
    assert again[0].pictures.any() and torch.equal(first[0].viewmats, again[0].viewmats)
    assert same(first, draw(folder, None)[0])


def test_what_pictures_depend_on_makes_new_ones(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    draw(folder, cache)
    assert draw(folder, cache, seed=1)[1] == 3
    assert draw(folder, cache, normals=True)[1] == 3
    (folder / "b.obj").write_text(mesh("red").replace("v 1 0 0", "v 1 0 1"))
    assert draw(folder, cache)[1] == 1
    (folder / "red.mtl").write_text("newmtl x\nKd 0 0 1\n")  # the same meshes, in another color
    assert draw(folder, cache)[1] == 3
    monkeypatch.setattr(picture_cache, "_drawn_by", lambda: "other code")
    assert draw(folder, cache)[1] == 3
    monkeypatch.undo()
    (folder / "a.obj").rename(folder / "d.obj")  # the name chooses the views
    say(folder, "b.obj", "c.obj", "d.obj")
    assert draw(folder, cache)[1] == 1


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1], lambda data: b"", lambda data: data[:40], lambda data: data[:-1] + bytes([data[-1] ^ 1])],
    ids=["cut", "empty", "most is missing", "a bit"],
)
def test_damaged_pictures_are_drawn_again(folder, tmp_path, damage):
    first, _, _ = draw(folder, tmp_path / "cache")
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(damage(path.read_bytes()))
    again, drawn, _ = draw(folder, tmp_path / "cache")
    assert drawn == 3 and same(first, again)
    assert draw(folder, tmp_path / "cache")[1] == 0


def test_what_was_drawn_before_a_kill_is_kept(folder, tmp_path):
    def killed(names):
        yield names[0]
        yield names[1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(folder, tmp_path / "cache", progress=killed)
    assert draw(folder, tmp_path / "cache")[1] == 1


def test_a_cache_that_cannot_be_written_is_reported_once(folder, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    objects, drawn, reports = draw(folder, tmp_path / "cache")
    assert len(objects) == drawn == 3
    assert [text for text in reports if "are not kept" in text] == [
        f"pictures are not kept for the next training: {tmp_path / 'cache'} cannot be written ({os.strerror(17)})"
    ]


def test_files_of_other_formats_are_refused_by_name(folder):
    for name in ("box.stl", "scan.PLY", "silent.fbx", "notes.txt"):
        (folder / name).write_bytes(b"solid")
    say(folder, "a.obj", "box.stl", "gone.stl", "notes.txt")
    objects, _, reports = draw(folder, None)
    why = "is not GLB, glTF or OBJ; open it in Blender or another program and export it as GLB"
    assert [one.name for one in objects] == ["a.obj"]
    assert reports[:-2] == [
        f"captions.jsonl, line 2: skipped: 'box.stl' {why}",
        "captions.jsonl, line 3: skipped: the folder has no mesh 'gone.stl'",
        f"captions.jsonl, line 4: skipped: 'notes.txt' {why}",
        "'b.obj': skipped: captions.jsonl has no caption of it",
        "'c.obj': skipped: captions.jsonl has no caption of it",
        f"'scan.PLY': skipped: it {why}",
        f"'silent.fbx': skipped: it {why}",
    ]


def test_what_a_mesh_lacks_is_reported(folder):
    (folder / "red.mtl").unlink()
    _, _, reports = draw(folder, None)
    assert "'a.obj': refers to 'red.mtl': no such file in that folder" in reports
    assert "'a.obj': 1 materials without a description ('x'): drawn white, or in vertex colors" in reports


def test_without_a_terminal_a_line_every_half_minute_says_how_far_drawing_is():
    times = iter(range(0, 10_000, 12))  # one look at the clock for each mesh
    reports = []
    names = [str(number) for number in range(8)]
    assert list(train.shown(names, reports.append, lambda: next(times))) == names
    assert reports == ["2 of 8 meshes, about 108 s left", "5 of 8 meshes, about 43 s left"]


def test_on_a_terminal_a_bar_says_how_far_drawing_is(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    reports = []
    assert list(train.shown(["a", "b", "c"], reports.append)) == ["a", "b", "c"]
    assert "drawing your meshes" in terminal.getvalue() and "100%" in terminal.getvalue() and not reports


def test_the_key_of_pictures_tells_all_columns_apart():
    """Also from each other: two columns may have the same bytes."""

    def solid(**changes):
        ones = torch.eye(3).double().numpy()
        columns = {"vertices": ones, "normals": ones, "colors": ones, "uvs": ones[:, :2]} | changes
        return make_solid(columns, torch.arange(3)[None].numpy(), torch.zeros(1).long().numpy(), [None])

    half = torch.eye(3).double().numpy() / 2
    keys = {picture_cache.picture_key(solid(**{name: half[:, : 2 if name == "uvs" else 3]}), 0)
            for name in ("vertices", "normals", "colors", "uvs")}  # fmt: skip
    assert len(keys | {picture_cache.picture_key(solid(), 0)}) == 5
