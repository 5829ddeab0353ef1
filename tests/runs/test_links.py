"""Links in the folder of a run: refused before anything is changed, here or where they lead to."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sds3d.config.schema import Config
from sds3d.errors import UserError
from sds3d.files import atomic_write
from sds3d.runs.folder import RunFolder
from tests.helpers.runs import save, snapshot


def link(run: RunFolder, name: str, target: Path) -> None:
    path = run.path / name
    if path.is_dir():
        os.rename(path, path.with_name("moved"))
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of somebody else, with what a run deletes or writes to in its own."""
    folder = tmp_path / "elsewhere"
    (folder / "step-000001.tmp-1").mkdir(parents=True)
    (folder / "step-000001.tmp-1" / "mine").write_text("mine")
    (folder / "file").write_text("mine")
    return folder


LINKED_FILES = (
    ".lock", "config.yaml", "metrics.jsonl", "failed.json", "parts.json", "report.json", "mesh.glb", "splats.ply",
    "turntable.mp4", "preview.png", "previews/step-000004.png", "checkpoints/step-000004/state.json",
    "checkpoints/step-000004/tensors.safetensors",
)  # fmt: skip
ENTER = {"resume": lambda run, cfg: run, "generate": lambda run, cfg: RunFolder.create(cfg)}
LINKED_FOLDERS = ("checkpoints", "previews", "checkpoints/step-000004", "checkpoints/step-000006.tmp-1", "export")


@pytest.mark.parametrize("name", [*LINKED_FILES, *LINKED_FOLDERS])
@pytest.mark.parametrize("enter", ENTER.values(), ids=ENTER.keys())
def test_a_link_is_refused_and_nothing_is_touched(
    enter: Callable[[RunFolder, Config], RunFolder], name: str, run: RunFolder, cfg: Config, elsewhere: Path
) -> None:
    save(run, 2, 4)
    run.save_preview(4, b"picture")
    link(run, name, elsewhere / "file" if name in LINKED_FILES else elsewhere)
    before = snapshot(run.path), snapshot(elsewhere)
    message = f"{name} is a link; nothing was changed: move it out"
    with pytest.raises(UserError, match=message), enter(run, cfg).locked():
        run.load_latest()
    assert (snapshot(run.path), snapshot(elsewhere)) == before


def test_a_link_that_leads_nowhere_is_refused(run: RunFolder, tmp_path: Path) -> None:
    (run.path / ".lock").symlink_to(tmp_path / "new")
    with pytest.raises(UserError, match=r"\.lock is a link"), run.locked():
        pass
    assert not (tmp_path / "new").exists()


def test_a_log_with_another_name_is_refused(run: RunFolder, tmp_path: Path) -> None:
    """It is the only file that is written in place."""
    save(run, 2)
    os.link(run.metrics, tmp_path / "copy.jsonl")
    before = (tmp_path / "copy.jsonl").read_bytes()
    with pytest.raises(UserError, match="metrics.jsonl has another name, a hard link"), run.locked():
        pass
    assert (tmp_path / "copy.jsonl").read_bytes() == before


def test_other_names_of_files_that_are_replaced_keep_their_content(run: RunFolder, cfg: Config, tmp_path: Path) -> None:
    """As in a copy by `cp -al` whose log was copied."""
    save(run, 2, 4)
    run.save_preview(4, b"picture")
    run.save_failure({})
    names = [path.relative_to(run.path) for path in run.path.rglob("*") if path.is_file() and path != run.metrics]
    assert len(names) == 7
    before = {}
    for name in names:
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(run.path / name, tmp_path / "copy" / name)
        before[name] = (run.path / name).read_bytes()
    again = RunFolder.create(cfg)
    with again.locked():
        again.load_latest()
        save(again, 4, 6, 8)
        again.save_preview(4, b"another")
        again.save_failure({"step": 8})
    assert {name: (tmp_path / "copy" / name).read_bytes() for name in names} == before


WRONG_KINDS = {
    ".lock": Path.mkdir, "failed.json": Path.mkdir, "report.json": Path.mkdir, "metrics.jsonl": Path.mkdir,
    "parts.json": Path.mkdir, "checkpoints": Path.touch, "previews": Path.touch, "mesh.glb": os.mkfifo,
}  # fmt: skip


@pytest.mark.parametrize(("name", "make"), WRONG_KINDS.items(), ids=WRONG_KINDS.keys())
def test_a_folder_in_the_place_of_a_file_is_refused_before_the_first_step(name, make, run: RunFolder) -> None:
    make(run.path / name)
    with pytest.raises(UserError, match=f"{name} is .*expected|mesh.glb is neither a file nor a folder"), run.locked():
        pass


def test_other_files_in_the_folder_are_allowed(run: RunFolder) -> None:
    save(run, 2)
    (run.path / "notes").mkdir()
    (run.path / "notes" / "mushroom").symlink_to("/")
    (run.path / "notes.txt").touch()
    with run.locked():
        assert run.load_latest().step == 2


@pytest.mark.parametrize("content", [b"new", lambda partial: partial.write_bytes(b"new")])
def test_no_file_is_written_through_a_link(content: bytes | Callable[[Path], object], tmp_path: Path) -> None:
    """Neither at the path nor at that of the temporary file, whose name can be guessed."""
    (tmp_path / "mine").write_text("mine")
    path = tmp_path / "a.txt"
    (tmp_path / f".a.tmp-{os.getpid()}.txt").symlink_to(tmp_path / "mine")
    atomic_write(path, content)
    assert path.read_bytes() == b"new" and not path.is_symlink()
    path.unlink()
    path.symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="a.txt is a link"):
        atomic_write(path, content)
    assert path.is_symlink() and (tmp_path / "mine").read_text() == "mine"
    assert {entry.name for entry in tmp_path.iterdir()} == {"mine", "a.txt"}
