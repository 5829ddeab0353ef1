"""The files of a finished run, as viewers read them."""

import io
import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from sds3d.config.schema import Config, GaussiansConfig, MeshConfig, PreviewConfig, RasterizeMode, RendererConfig
from sds3d.errors import UserError
from sds3d.finish import BACKGROUND, finish, peak_memory, png, preview_sheet, write_turntable
from sds3d.interfaces import TexturedMesh
from sds3d.renderers.splat_scene import SplatScene
from sds3d.representations.gaussians.ply import AXES, COLUMNS, SH0, read_splat_ply, splat_ply
from sds3d.representations.gaussians.splats import Gaussians
from sds3d.representations.ply_size import check_ply
from sds3d.runs.folder import RunFolder


def rotations(quats: torch.Tensor) -> torch.Tensor:
    """Matrices [N, 3, 3] of unit `quats` [N, 4] wxyz, column by column: q v q*."""
    w, v = quats[:, :1, None], quats[:, 1:]
    eye = torch.eye(3).expand(len(quats), 3, 3)
    cross = torch.linalg.cross(v[:, None].expand(-1, 3, -1), eye).transpose(1, 2)
    return eye + 2 * w * cross + 2 * cross @ cross


def read_ply(data: bytes) -> dict[str, np.ndarray]:
    header, body = data.split(b"end_header\n", 1)
    names = [line.split()[2].decode() for line in header.splitlines() if line.startswith(b"property float")]
    return dict(zip(names, np.frombuffer(body, "<f4").reshape(-1, len(names)).T, strict=True))


def test_splat_ply_has_the_scene_in_the_axes_of_viewers() -> None:
    scene = Gaussians.random_ball(GaussiansConfig(num_init=50), torch.Generator().manual_seed(0))
    scene.quats.data *= 3
    scene.log_scales.data += torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    table = {name: torch.from_numpy(column.copy()) for name, column in read_ply(splat_ply(scene)).items()}
    assert tuple(table) == COLUMNS
    means, quats, scales, opacities, colors = (x.detach() for x in scene.activated())
    widths = {"rot": 4, "scale": 3, "f_dc": 3}
    read = {stem: torch.stack([table[f"{stem}_{i}"] for i in range(n)], -1) for stem, n in widths.items()}
    x, y, z = (table[axis] for axis in "xyz")
    torch.testing.assert_close(torch.stack([-z, x, -y], -1), means)  # the front faces the viewer, up is -y
    torch.testing.assert_close(table["opacity"].sigmoid(), opacities)
    torch.testing.assert_close(0.5 + SH0 * read["f_dc"], colors)
    world = rotations(torch.nn.functional.normalize(quats, dim=-1)) * scales[:, None]
    file = rotations(read["rot"]) * read["scale"].exp()[:, None]
    torch.testing.assert_close(file @ file.mT, AXES @ world @ world.mT @ AXES.T)


@pytest.mark.parametrize("rasterize_mode", get_args(RasterizeMode))
def test_splat_ply_reads_back_equal(rasterize_mode: RasterizeMode) -> None:
    """Up to the length and sign of quaternions, and float32 rounding of colors at the ends of their range."""
    scene = Gaussians.random_ball(GaussiansConfig(num_init=50), torch.Generator().manual_seed(0))
    scene.quats.data *= 3
    scene.logit_colors.data[0] = torch.tensor([200.0, -200.0, 0])
    again, mode = read_splat_ply(splat_ply(scene, rasterize_mode))
    assert mode == rasterize_mode
    (means, quats, *rest), (means_again, quats_again, *rest_again) = scene.activated(), again.activated()
    torch.testing.assert_close(means_again, means)
    torch.testing.assert_close(rotations(quats_again), rotations(torch.nn.functional.normalize(quats, dim=-1)))
    for one, other in zip(rest_again, rest, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)
    points = means.detach() + 0.05
    torch.testing.assert_close(again.density(points), scene.density(points))


@pytest.mark.parametrize("rasterize_mode", get_args(RasterizeMode))
def test_the_file_of_a_scene_names_its_rasterize_mode(rasterize_mode: RasterizeMode) -> None:
    gaussians = Gaussians.random_ball(GaussiansConfig(num_init=5), torch.Generator().manual_seed(0))
    cfg = RendererConfig(rasterize_mode=rasterize_mode)
    content = SplatScene(gaussians, cfg, 10, torch.device("cpu")).files()["splats.ply"]
    check_ply(content)
    assert read_splat_ply(content)[1] == rasterize_mode
    assert (b"\ncomment rasterize_mode antialiased\n" in content) == (rasterize_mode == "antialiased")


@pytest.mark.parametrize(
    "change", [lambda x: x[:-1], lambda x: x + b"0", lambda x: x.replace(b"rot_3", b"rot_4"), lambda x: b""]
)
def test_splat_ply_rejects_other_files(change: Callable[[bytes], bytes]) -> None:
    scene = Gaussians.random_ball(GaussiansConfig(num_init=5), torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match="splats: expected a PLY file as sds3d writes it"):
        read_splat_ply(change(splat_ply(scene)))


def test_splat_ply_rejects_nonfinite_scenes() -> None:
    scene = Gaussians.random_ball(GaussiansConfig(num_init=5), torch.Generator().manual_seed(0))
    scene.means.data[2, 1] = math.nan
    with pytest.raises(UserError, match="diverged"):
        splat_ply(scene)


@pytest.fixture
def mesh() -> TexturedMesh:
    """A red tetrahedron."""
    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 2
    faces = torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    normals = torch.nn.functional.normalize(corners, dim=-1)
    texture = torch.tensor([1.0, 0, 0]).expand(4, 4, 3)
    return TexturedMesh(corners, faces, normals, torch.full((4, 2), 0.5), texture)


def test_preview_has_six_views_in_two_rows(mesh: TexturedMesh) -> None:
    sheet = preview_sheet(mesh, PreviewConfig(resolution=32))
    assert sheet.shape == (64, 96, 3)
    for row in range(2):
        for column in range(3):
            view = sheet[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
            torch.testing.assert_close(view[0, 0], torch.full((3,), BACKGROUND))
            torch.testing.assert_close(view[16, 16], torch.tensor([1.0, 0, 0]))
    picture = np.asarray(Image.open(io.BytesIO(png(sheet))))
    np.testing.assert_array_equal(picture, (sheet * 255).round().byte().numpy())


def test_the_turntable_can_be_decoded(mesh: TexturedMesh, tmp_path: Path) -> None:
    import imageio_ffmpeg

    path = tmp_path / "turntable.mp4"
    write_turntable(mesh, PreviewConfig(resolution=32, frames=6), path)
    frames = imageio_ffmpeg.read_frames(path)
    meta = next(frames)
    assert (meta["size"], meta["codec"], meta["fps"]) == ((32, 32), "h264", 24)
    assert "yuv420p" in meta["pix_fmt"]
    pictures = [np.frombuffer(frame, np.uint8).reshape(32, 32, 3) for frame in frames]
    assert len(pictures) == 6
    for picture in pictures:  # lossy compression reduces a saturated red
        assert picture[16, 16, 0] > 200 and picture[16, 16, 1:].max() < 60
        assert abs(int(picture[0, 0].min()) - round(255 * BACKGROUND)) <= 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be tied to a processor")
def test_the_turntable_does_not_depend_on_the_number_of_processors(mesh: TexturedMesh, tmp_path: Path) -> None:
    processors = os.sched_getaffinity(0)
    if len(processors) == 1:
        pytest.skip("there is one processor")
    write_turntable(mesh, PreviewConfig(resolution=64, frames=12), tmp_path / "all.mp4")
    os.sched_setaffinity(0, {min(processors)})
    try:
        write_turntable(mesh, PreviewConfig(resolution=64, frames=12), tmp_path / "one.mp4")
    finally:
        os.sched_setaffinity(0, processors)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "all.mp4").read_bytes()


def test_peak_memory_is_in_bytes() -> None:
    before = peak_memory()["host"]
    held = torch.ones(100_000_000 // 4)
    assert before > 50e6 and peak_memory()["host"] >= max(before, held.nbytes)


def test_finish_writes_all_files_of_a_run(tmp_path: Path) -> None:
    gaussians = Gaussians.random_ball(GaussiansConfig(num_init=1500), torch.Generator().manual_seed(0))
    gaussians.logit_opacities.data += 6  # a solid ball
    cfg = Config(
        prompt="a crimson ball, a ball",
        device="cpu",
        out=str(tmp_path),
        renderer=RendererConfig(rasterize_mode="antialiased"),
        mesh=MeshConfig(grid=32, faces=500, texture_size=128, bake_views=8, bake_resolution=64),
        preview=PreviewConfig(resolution=32, frames=4),
    )
    scene = SplatScene(gaussians, cfg.renderer, 10, torch.device("cpu"))
    run = RunFolder.create(cfg, ["0123456789abcdef"] * len(cfg.stages))
    notes: list[str] = []
    report = finish(cfg, run, scene, seconds={"shape": 1.5}, unread_texts={"prompt": "end"}, note=notes.append)
    assert run.finished and notes
    assert {path.name for path in run.path.iterdir()} >= {*report["outputs"], "report.json", "config.yaml"}
    assert {*report["outputs"]} == {"mesh.glb", "splats.ply", "turntable.mp4", "preview.png"}
    assert report == json.loads((run.path / "report.json").read_text(encoding="utf-8"))
    assert report["prompt"] == cfg.prompt and report["unseen_words"] == ["crimson"]
    assert report["unread_texts"] == {"prompt": "end"}
    assert report["priors"] == {stage.name: "0123456789abcdef" for stage in cfg.stages}  # those at the start of the run
    assert report["cpu_threads"] == torch.get_num_threads()
    assert [*report["seconds"]] == ["shape", "mesh", "glb", "preview", "turntable"]
    assert report["rasterize_mode"] == "antialiased"
    assert report["watertight"] and report["components"] == 1 and 100 <= report["faces"] <= 500
    assert report["iou"] > 0.9 and report["psnr_db"] > 15
    assert (run.path / "mesh.glb").read_bytes().startswith(b"glTF")


def test_a_failed_film_does_not_affect_other_files(
    mesh: TexturedMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier files remain; the next attempt makes only the film, with the bytes of an undisturbed run."""
    gaussians = Gaussians.random_ball(GaussiansConfig(num_init=50), torch.Generator().manual_seed(0))
    scene = SplatScene(gaussians, RendererConfig(), 10, torch.device("cpu"))
    cfg = Config(prompt="x", device="cpu", out=str(tmp_path), preview=PreviewConfig(resolution=32, frames=4))
    shaded = replace(mesh, texture=torch.rand(4, 4, 3, generator=torch.Generator().manual_seed(0)))
    built: list[int] = []
    monkeypatch.setattr("sds3d.mesh.build_mesh", lambda *args: (built.append(1), (shaded, {"faces": 4}))[1])
    whole = finish(cfg, RunFolder.create(replace(cfg, out=str(tmp_path / "whole"))), scene, note=str)
    run = RunFolder.create(cfg)
    with monkeypatch.context() as broken:
        broken.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
        for _ in range(2):
            with pytest.raises(UserError, match="splats.ply, mesh.glb, preview.png are kept") as error:
                finish(cfg, run, scene, note=str)
            assert str(error.value).startswith(f"no {run.path / 'turntable.mp4'}: ffmpeg exited with code 1; ")
            assert not run.finished
    files = {"mesh.glb", "splats.ply", "preview.png"}
    assert {path.name for path in run.path.iterdir()} == {*files, "parts.json", "config.yaml"}
    before = {name: (run.path / name).stat().st_mtime_ns for name in files}
    report = finish(cfg, run, scene, note=str)
    assert run.finished and report["outputs"] == whole["outputs"] and report["faces"] == 4
    assert before == {name: (run.path / name).stat().st_mtime_ns for name in files}
    assert len(built) == 2 and not (run.path / "parts.json").exists()
    assert [*report["seconds"]] == ["mesh", "glb", "preview", "turntable"]


@pytest.mark.parametrize(
    ("function", "name", "key"),
    [
        ("sds3d.mesh.build_mesh", "mesh.glb", "mesh.grid"),
        ("sds3d.finish.preview_sheet", "preview.png", "preview.resolution"),
        ("sds3d.finish.write_turntable", "turntable.mp4", "preview.resolution"),
    ],
)
def test_a_lack_of_memory_names_the_file_and_the_setting(function, name, key, mesh, tmp_path, monkeypatch) -> None:
    gaussians = Gaussians.random_ball(GaussiansConfig(num_init=50), torch.Generator().manual_seed(0))
    scene = SplatScene(gaussians, RendererConfig(), 10, torch.device("cpu"))
    cfg = Config(prompt="x", device="cpu", out=str(tmp_path), preview=PreviewConfig(resolution=32, frames=4))
    run = RunFolder.create(cfg)
    monkeypatch.setattr("sds3d.mesh.build_mesh", lambda *args: (mesh, {"faces": 4}))
    with monkeypatch.context() as lack, pytest.raises(UserError) as error:
        lack.setattr(function, lambda *args: torch.empty(1 << 60, dtype=torch.uint8))
        finish(cfg, run, scene, note=str)
    assert str(error.value).startswith(f"{run.path / name}: out of memory; end other programs, then `sds3d resume ")
    assert f"begin a run with lower {key}" in str(error.value)
    assert not run.finished and not (run.path / name).exists()
    assert finish(cfg, run, scene, note=str) and run.finished


@pytest.mark.parametrize("change", ["scene", "mesh", "record"])
def test_parts_of_another_scene_are_made_again(
    change: str, mesh: TexturedMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaussians = Gaussians.random_ball(GaussiansConfig(num_init=50), torch.Generator().manual_seed(0))
    scene = SplatScene(gaussians, RendererConfig(), 10, torch.device("cpu"))
    cfg = Config(prompt="x", device="cpu", out=str(tmp_path), preview=PreviewConfig(resolution=32, frames=4))
    built: list[int] = []
    monkeypatch.setattr("sds3d.mesh.build_mesh", lambda *args: (built.append(1), (mesh, {"faces": 4}))[1])
    run = RunFolder.create(cfg)
    with monkeypatch.context() as broken, pytest.raises(UserError):
        broken.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
        finish(cfg, run, scene, note=str)
    if change == "scene":
        gaussians.means.data[0] += 0.1
    elif change == "mesh":
        (run.path / "mesh.glb").write_bytes(b"glTF")
    else:
        record = (run.path / "parts.json").read_text(encoding="utf-8")
        (run.path / "parts.json").write_text(record.replace('"faces": 4', '"faces": 5'), encoding="utf-8")
    report = finish(cfg, run, scene, note=str)
    assert run.finished and len(built) == 2 and report["faces"] == 4


@pytest.mark.parametrize("name", ["scene.ply", "scene.png"])
def test_a_file_that_does_not_match_its_suffix_is_rejected(name: str, tmp_path: Path) -> None:
    """As from a representation with an error in its `files`."""
    gaussians = Gaussians.random_ball(GaussiansConfig(num_init=5), torch.Generator().manual_seed(0))
    scene = SplatScene(gaussians, RendererConfig(), 10, torch.device("cpu"))
    run = RunFolder.create(Config(prompt="x", device="cpu", out=str(tmp_path)))
    scene.files = lambda: {name: splat_ply(gaussians)[:-1]}
    with pytest.raises(UserError, match=name):
        finish(Config(prompt="x"), run, scene, note=str)
    assert not run.finished and not (run.path / name).exists()
