"""Meshing from a scene to a GLB, for a ball with known colors."""

import json
import math
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sds3d.cameras import turntable
from sds3d.config.schema import MeshConfig
from sds3d.errors import UserError
from sds3d.interfaces import Render
from sds3d.mesh import build_mesh
from sds3d.mesh.clean import vertex_normals
from sds3d.mesh.export import write_mesh
from sds3d.mesh.exporters.glb import read_glb
from sds3d.mesh.render import render_mesh
from tests.helpers.ball import Ball

TOOLS = Path(__file__).parents[1] / "tools"
SMALL = MeshConfig(grid=64, faces=3000, texture_size=256, bake_views=16, bake_resolution=128)


@pytest.fixture(scope="module")
def ball():
    return build_mesh(Ball().density, Ball().render, SMALL, torch.device("cpu"))


def test_meshing_reproduces_a_colored_ball(ball):
    mesh, report = ball
    assert report["watertight"] and report["components"] == 1 and report["faces"] <= 3000
    assert report["iou"] > 0.98 and report["psnr_db"] > 28
    views = turntable(4, 96)
    drawn = render_mesh(mesh, views, torch.zeros(4, 3))
    truth = Ball().render(views, torch.zeros(4, 3))
    both = (drawn.alphas[..., 0] == 1) & (truth.alphas[..., 0] == 1)
    assert (drawn.colors - truth.colors)[both].abs().mean() < 0.02
    torch.testing.assert_close(mesh.vertices.norm(dim=-1).mean(), torch.tensor(0.6), atol=0.02, rtol=0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_ball(ball):
    mesh, report = build_mesh(Ball().density, Ball().render, SMALL, torch.device("cuda"))
    assert mesh.vertices.is_cuda and report["watertight"] and report["components"] == 1
    for name in ("threshold", "psnr_db", "iou"):
        assert report[name] == pytest.approx(ball[1][name], rel=0.02), name


def test_supersampling_softens_the_outline_only(ball):
    views, backgrounds = turntable(1, 64), torch.tensor([[0.2, 0.4, 0.6]])
    hard, soft = (render_mesh(ball[0], views, backgrounds, supersample=n) for n in (1, 4))
    assert set(hard.alphas.unique().tolist()) == {0.0, 1.0} and len(soft.alphas.unique()) > 4
    torch.testing.assert_close(soft.colors[0, 0, 0], backgrounds[0])
    assert abs(hard.alphas.mean() - soft.alphas.mean()) < 0.01


def test_a_scene_without_solid_parts_is_an_error():
    def nothing(cameras, backgrounds):
        flat = torch.zeros(len(cameras), cameras.height, cameras.width, 1)
        return Render(backgrounds[:, None, None] + flat, flat, flat)

    with pytest.raises(UserError, match="empty"):
        build_mesh(Ball().density, nothing, SMALL, torch.device("cpu"))


def test_a_diverged_scene_is_an_error():
    with pytest.raises(UserError, match="NaN"):
        build_mesh(lambda points: points[:, 0] * math.nan, Ball().render, SMALL, torch.device("cpu"))


def test_normals_point_outwards(ball):
    vertices, faces = ball[0].vertices.numpy(), ball[0].faces.numpy()
    assert ((vertices * ball[0].normals.numpy()).sum(1) > 0).all()
    assert (vertex_normals(vertices, faces) * vertices).sum() > 0


def test_glb_has_its_front_at_plus_z_and_reads_back_equal(ball, tmp_path):
    import trimesh

    mesh, _ = ball
    write_mesh(mesh, tmp_path / "mesh.glb", "glb")
    raw = trimesh.load(tmp_path / "mesh.glb", force="mesh", process=False)
    front, top = mesh.vertices[:, 0].argmax(), mesh.vertices[:, 2].argmax()
    assert raw.vertices[front].argmax() == 2 and raw.vertices[top].argmax() == 1
    back = read_glb(tmp_path / "mesh.glb")
    torch.testing.assert_close(back.vertices, mesh.vertices, atol=1e-6, rtol=0)
    torch.testing.assert_close(back.faces, mesh.faces)
    torch.testing.assert_close(back.normals, mesh.normals, atol=1e-5, rtol=0)
    torch.testing.assert_close(back.uvs, mesh.uvs, atol=1e-6, rtol=0)
    torch.testing.assert_close(back.texture, mesh.texture, atol=0.5 / 255 + 1e-6, rtol=0)


def test_glb_passes_the_khronos_validator(ball, tmp_path):
    if shutil.which("node") is None or not (TOOLS / "node_modules").is_dir():
        pytest.skip("needs node and `npm install --prefix tests/tools`")
    write_mesh(ball[0], tmp_path / "mesh.glb", "glb")
    command = ["node", str(TOOLS / "validate_glb.js"), str(tmp_path / "mesh.glb")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    issues = json.loads(result.stdout)
    assert result.returncode == 0 and issues["errors"] == 0 and issues["warnings"] == 0


def test_nonfinite_meshes_are_rejected(ball, tmp_path):
    broken = replace(ball[0], vertices=ball[0].vertices * torch.nan)
    with pytest.raises(UserError, match="NaN"):
        write_mesh(broken, tmp_path / "mesh.glb", "glb")
    assert not list(tmp_path.iterdir())
