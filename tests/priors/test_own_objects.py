"""Training on user meshes: listing, rendering in the style of procedural objects, and learning."""

import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial, SimpleMaterial

from sds3d.cameras import turntable
from sds3d.cli.main import main
from sds3d.errors import UserError
from sds3d.mesh.foreign import read_solid
from sds3d.priors.pocket import data, learner, model, train
from sds3d.priors.pocket.data import ProceduralObjects, render_latents
from sds3d.priors.pocket.mixed import MixedObjects, reworded
from sds3d.priors.pocket.prior import load_pocket
from sds3d.priors.pocket.text import TextEncoder
from sds3d.priors.weights import POCKET
from sds3d.procedural import library
from sds3d.procedural import views as training_views
from sds3d.procedural.parts import Part, pack
from sds3d.procedural.render_solid import normalize, render_solid
from sds3d.procedural.tracer import trace
from tests.helpers.tiny_prior import write_tiny_prior

CPU = torch.device("cpu")
RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def solid_of(folder, name):
    return read_solid(name, {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")})


def views(folder, name, resolution=64, **turn):
    """Four views [4, H, W, 4] of a file, from the front, its left, the back and its right."""
    return render_solid(normalize(solid_of(folder, name)), turntable(4, resolution, **turn))


def hue(pixel):
    """The color of a pixel if it is clearly red, green or blue."""
    assert pixel.max() > 0.4 and pixel.sort().values[1] < 0.1 * pixel.max(), pixel
    return ["red", "green", "blue"][int(pixel.argmax())]


def box_with_a_green_front(path):
    """Red, except for green at +z, which is the front of glTF, and blue on top."""
    box = trimesh.creation.box((1, 1, 1))
    box.unmerge_vertices()
    colors = np.tile(np.uint8([255, 0, 0, 255]), (12, 1))
    colors[box.face_normals[:, 2] > 0.9] = [0, 255, 0, 255]
    colors[box.face_normals[:, 1] > 0.9] = [0, 0, 255, 255]
    box.visual.face_colors = colors
    box.export(path)


def three_objects(folder):
    """A box of vertex colors, a sphere of one color, and an OBJ of a cone with a texture."""
    (folder / "more").mkdir(parents=True)
    box_with_a_green_front(folder / "box.glb")
    sphere = trimesh.creation.icosphere(2)
    sphere.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=[0, 255, 0, 255]))
    sphere.export(folder / "more/sphere.glb")
    cone = trimesh.creation.cone(0.5, 1)
    picture = Image.new("RGB", (4, 4), (0, 0, 255))
    cone.visual = TextureVisuals(uv=cone.vertices[:, :2] + 0.5, material=SimpleMaterial(image=picture))
    cone.export(folder / "more/cone.obj")
    say(folder, {"file": "box.glb", "caption": "a red box"}, {"file": "more/sphere.glb", "captions": ["a green ball"]},
        {"file": "./more/cone.obj", "captions": ["a blue cone", "a cone"], "caption": "a  pointed\nthing"})  # fmt: skip
    return folder


def say(folder, *entries):
    lines = (entry if isinstance(entry, bytes) else json.dumps(entry).encode() for entry in entries)
    (folder / "captions.jsonl").write_bytes(b"\n".join(lines) + b"\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return three_objects(tmp_path_factory.mktemp("objects") / "mine")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_prior(tmp_path_factory.mktemp("priors") / "tiny")


@pytest.fixture(scope="module")
def own(folder):
    return library.render_library(folder, 0, CPU, lambda text: None, num_rings=2)


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_the_front_of_a_file_faces_azimuth_zero_and_its_top_is_up(tmp_path, suffix):
    box_with_a_green_front(tmp_path / f"box.{suffix}")
    level = views(tmp_path, f"box.{suffix}", elevation_deg=0.0)
    assert [hue(view[32, 32, :3]) for view in level] == ["green", "red", "red", "red"]
    from_above = views(tmp_path, f"box.{suffix}", elevation_deg=89.0)
    assert hue(from_above[0, 32, 32, :3]) == "blue"


def test_node_transforms_are_applied(tmp_path):
    """The x axis of glTF points right as seen from the front; a mirrored node turns its triangles inside out."""
    scene = trimesh.Scene()
    for color, x, mirror in ((RED, 1.0, 1), (BLUE, -1.0, -1)):
        box = trimesh.creation.box((0.5, 0.5, 0.5))
        box.unmerge_vertices()  # each side its own normals
        box.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=[*color, 1.0]))
        transform = np.diag([mirror, 1.0, 1.0, 1.0])
        transform[0, 3] = x
        scene.add_geometry(box, transform=transform)
    scene.export(tmp_path / "two.glb")
    front = views(tmp_path, "two.glb", elevation_deg=0.0)[0]
    columns = (front[..., 3] > 0.5).any(0).nonzero()[:, 0]
    assert hue(front[32, columns[-1] - 3, :3]) == "red" and hue(front[32, columns[0] + 3, :3]) == "blue"
    solid = normalize(solid_of(tmp_path, "two.glb"))
    assert solid.vertices.norm(dim=1).max().item() == pytest.approx(0.9, abs=1e-6)
    # the front of the mirrored box is as bright as that of the other: its normals point outwards too
    left, right = (front[32, column, :3].max().item() for column in (columns[0] + 3, columns[-1] - 3))
    assert left == pytest.approx(right, abs=0.01)


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_textures_follow_their_coordinates(tmp_path, suffix):
    """A square that faces the front, its picture red on top left, green on top right, blue below; seen from behind,
    where its triangles show their backs, it is mirrored. The coordinates lie one period off: textures repeat."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32, :32, 0] = pixels[:32, 32:, 1] = pixels[32:, :, 2] = 255
    material = {"glb": PBRMaterial, "obj": SimpleMaterial}[suffix]
    picture = {("baseColorTexture" if suffix == "glb" else "image"): Image.fromarray(pixels)}
    corners = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    square = trimesh.Trimesh(
        np.c_[corners, np.zeros(4)], [[0, 1, 2], [0, 2, 3]], process=False,
        visual=TextureVisuals(uv=corners - [2, -1], material=material(**picture)),
    )  # fmt: skip
    square.export(tmp_path / f"square.{suffix}")
    front, _, back, _ = views(tmp_path, f"square.{suffix}", elevation_deg=0.0)
    assert [hue(front[y, x, :3]) for y, x in ((24, 24), (24, 40), (40, 24))] == ["red", "green", "blue"]
    assert [hue(back[y, x, :3]) for y, x in ((24, 24), (24, 40), (40, 24))] == ["green", "red", "blue"]


def test_shading_of_a_ball_equals_that_of_the_tracer(tmp_path):
    """The factor of a glTF is linear light: 0.5 in sRGB is 0.214 (IEC 61966-2-1)."""
    ball = trimesh.creation.icosphere(5)
    ball.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=[1.0, 0.214, 0.0, 1.0]))
    ball.export(tmp_path / "ball.glb")
    cameras = turntable(4, 64, elevation_deg=20.0)
    drawn = render_solid(normalize(solid_of(tmp_path, "ball.glb")), cameras)
    part = Part("ellipsoid", (0, 0, 0), (0.9, 0.9, 0.9), (1.0, 0.5, 0.0))
    traced = trace(torch.from_numpy(pack([part]))[None], cameras)[0]
    inside = (drawn[..., 3] == 1) & (traced[..., 3] == 1)
    assert inside.float().sum() > 0.98 * traced[..., 3].sum() - 4 * 4 * 64  # all but the rim
    # the file keeps the factor in eight bits, and the tracer stops 1.5e-3 before a surface
    torch.testing.assert_close(drawn[inside], traced[inside], atol=0.012, rtol=0)


def test_normals_of_a_file_face_the_visible_side(tmp_path):
    """A square facing the front has tilted ones, in glTF's axes (0.6, 0, 0.8); z there is x of the world, x there y."""
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    tilted = np.tile([0.6, 0, 0.8], (4, 1))
    trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], vertex_normals=tilted).export(tmp_path / "square.glb")
    solid = normalize(solid_of(tmp_path, "square.glb"))
    expected = torch.tensor([0.8, 0.6, 0.0])
    # files that turn their triangles or their normals round look the same
    for one in (solid, replace(solid, faces=solid.faces.flip(1)), replace(solid, normals=-solid.normals)):
        layers = render_solid(one, turntable(4, 64, elevation_deg=0.0), normals=True)
        for view, side in ((0, 1), (2, -1)):
            covered = layers[view, ..., 3:4]
            assert covered.sum() > 100
            torch.testing.assert_close(layers[view, ..., 4:], side * covered * expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(layers[..., :4], render_solid(one, turntable(4, 64, elevation_deg=0.0)))


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_a_file_without_normals_has_those_of_its_triangles(tmp_path, suffix):
    """They are not smooth, although the sides share their corners (glTF 2.0, section 3.7.2.1)."""
    trimesh.creation.box((1, 1, 1)).export(tmp_path / f"box.{suffix}")
    solid = solid_of(tmp_path, f"box.{suffix}")
    assert len(solid.vertices) == 8
    drawn = render_solid(normalize(solid), turntable(4, 64, elevation_deg=0.0), normals=True)
    middles = drawn[:, 32, 22:42, 4:]
    expected = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    torch.testing.assert_close(middles, expected[:, None].expand_as(middles), atol=1e-6, rtol=0)


def test_every_unusable_mesh_and_line_is_reported_by_name(tmp_path):
    folder = three_objects(tmp_path / "mine")
    (folder / "silent.glb").write_bytes(b"")
    (folder / "empty.obj").write_bytes(b"")
    (tmp_path / "elsewhere.glb").write_bytes(b"")
    (folder / "link.glb").symlink_to(tmp_path / "elsewhere.glb")
    say(
        folder, {"file": "box.glb", "caption": "a red box"}, {"file": "gone.glb", "caption": "lost"},
        b"{", b"\xff", b"[]",
        {"file": "../elsewhere.glb", "caption": "out"}, {"file": "link.glb", "caption": "out"}, {"file": "box.glb"},
        {"file": "more/cone.obj", "captions": ["fine", 7]}, {"file": "more/cone.obj", "caption": " "},
        b'{"file": "more/cone.obj", "caption": "\\ud800"}', {"file": "empty.obj", "caption": "nothing"},
    )  # fmt: skip
    reports = []
    objects = library.render_library(folder, 0, CPU, reports.append, num_rings=1)
    assert [(one.name, one.captions) for one in objects] == [("box.glb", ("a red box",))]
    expected = [
        "'link.glb': skipped: a link to outside",
        "captions.jsonl, line 2: skipped: the folder has no mesh 'gone.glb'",
        "captions.jsonl, line 3: skipped: not JSON",
        "captions.jsonl, line 4: skipped: not JSON",
        "captions.jsonl, line 5: skipped: expected {",
        "captions.jsonl, line 6: skipped: the folder has no mesh '../elsewhere.glb'",
        "captions.jsonl, line 7: skipped: the folder has no mesh 'link.glb'",
        'captions.jsonl, line 8: skipped: has neither "caption" nor "captions"',
        "captions.jsonl, line 9: skipped: not a caption: '7'",
        "captions.jsonl, line 10: skipped: not a caption: ' '",
        "captions.jsonl, line 11: skipped: not a caption: '\\ud800'",
        "'more/sphere.glb': skipped: captions.jsonl has no caption of it",
        "'silent.glb': skipped: captions.jsonl has no caption of it",
        "2 meshes to draw",
        "'empty.obj': skipped: has no triangles",
        "drew 1 meshes, found 0 drawn before",
    ]
    assert [got[: len(start)] for got, start in zip(reports, expected, strict=True)] == expected


def test_a_folder_without_a_usable_mesh_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match="captions.jsonl: cannot be read"):
        library.render_library(tmp_path, 0, CPU, print)
    with pytest.raises(UserError, match="expected a folder of meshes"):
        library.render_library(tmp_path / "none", 0, CPU, print)
    say(tmp_path)
    with pytest.raises(UserError, match=re.escape(f"{tmp_path}: no mesh of it can be used")):
        library.render_library(tmp_path, 0, CPU, print)


def test_rings_are_reproducible_and_differ(folder, own):
    again = library.render_library(folder, 0, CPU, lambda text: None, num_rings=2)
    for one, other in zip(own, again, strict=True):
        assert torch.equal(one.pictures, other.pictures) and torch.equal(one.viewmats, other.viewmats)
    assert [one.name for one in own] == ["box.glb", "more/cone.obj", "more/sphere.glb"]
    assert own[1].captions == ("a blue cone", "a cone", "a pointed thing")
    assert own[0].pictures.shape == (2, 4, 64, 64, 4)
    assert not torch.equal(own[0].viewmats[0], own[0].viewmats[1])


def test_captions_vary_and_keep_their_content():
    rng = random.Random(0)
    wordings = {reworded("A red {} box", rng) for _ in range(500)}
    assert {"A red {} box", "red {} box", "a photo of A red {} box", "A red {} box, 3d asset"} < wordings
    assert all("red {} box" in wording for wording in wordings)
    assert {reworded("x" * 100, rng) for _ in range(20)} == {"x" * 100}


def test_a_batch_has_the_share_of_user_objects_with_their_captions(tiny, own):
    steps, encoder = range(200), TextEncoder(tiny / "text_encoder")
    mixed = MixedObjects(0, 3, steps, encoder, user_objects=own, mix=0.4)
    made_up = ProceduralObjects(0, 3, steps, encoder)
    kept = torch.tensor([len(mixed[k].parts) for k in steps]).float()
    # 1.2 of 3 on average; the standard error of 200 draws of 1 or 2 is 0.03
    assert set(kept.tolist()) == {1.0, 2.0} and abs(kept.mean() - 1.2) < 0.12
    step = int((kept == 1).nonzero()[0])
    batch, reference = mixed[step], made_up[step]
    images, expected = (model.latents_to_images(render_latents(x)) for x in (batch, reference))
    assert images.shape == (12, 3, 64, 64)
    torch.testing.assert_close(images[:4], expected[:4])  # the object that stays
    corners = images[4:, :, 0, 0]
    torch.testing.assert_close(corners, batch.backgrounds[4:])
    assert sorted(batch.timesteps.tolist()) == sorted(reference.timesteps.tolist())
    assert (batch.timesteps.unflatten(0, (3, 4)) == batch.timesteps[::4, None]).all()
    for index, matrices in enumerate(batch.viewmats.unflatten(0, (3, 4))[1:]):
        ((one, ring),) = [(o, r) for o in own for r in range(2) if torch.equal(o.viewmats[r], matrices)]
        assert torch.equal(batch.pictures[index], one.pictures[ring])
    poses = model.condition_vectors(turntable(4, 64), torch.zeros(4, 3)).shape
    assert batch.condition.shape == (12, poses[1])


def arguments(folder, tiny, out, *more):
    options = ["--batch", "2", "--workers", "0", "--device", "cpu", "--init", str(tiny), "--objects", str(folder)]
    return train.parse(["--out", str(out), *options, *more])


def test_a_resumed_training_on_user_objects_gives_the_same_weights(tmp_path, tiny, folder, own):
    args = arguments(folder, tiny, tmp_path, "--steps", "4", "--batch", "1")

    def steps(one, count):
        batches = train.training_data(args, one, own)
        return torch.stack(list(one.train(batches[k] for k in range(count))))

    whole = learner.Learner(args, CPU)
    losses = steps(whole, 4)
    first, second = learner.Learner(args, CPU), learner.Learner(args, CPU)
    before = steps(first, 2)
    first.save(tmp_path / "training.safetensors")
    second.load(tmp_path / "training.safetensors")
    assert torch.equal(torch.cat([before, steps(second, 2)]), losses)
    assert torch.equal(second.weights, whole.weights)


def test_the_loss_on_user_objects_falls(tmp_path, tiny, folder, monkeypatch):
    """In pictures of 32 pixels, for speed; the loss is that of other rings, words, timesteps and noise."""
    for module in (training_views, data, model):
        monkeypatch.setattr(module, "RESOLUTION", 32)
    own, others = (library.render_library(folder, seed, CPU, lambda text: None, num_rings=4) for seed in (0, 1))
    args = arguments(folder, tiny, tmp_path, "--steps", "1000", "--mix", "0", "--batch", "2", "--lr", "0.03")
    one = learner.Learner(args, CPU)
    inputs = one._inputs(MixedObjects(1, 16, range(1), one.encoder, user_objects=others, mix=0.0)[0], 0)
    latents, context, condition, timesteps, noise = inputs

    @torch.no_grad()
    def loss():
        alphas_cumprod = one.alphas_cumprod
        return learner.v_prediction_loss(one.unet, latents, context, condition, alphas_cumprod, timesteps, noise).item()

    before = loss()
    batches = train.training_data(args, one, own)
    list(one.train(batches[k] for k in range(60)))
    assert loss() < 0.85 * before


def test_the_program_writes_a_usable_prior(tmp_path, tiny, folder, capsys, monkeypatch):
    monkeypatch.setattr(library.render_library, "__defaults__", (1,))
    monkeypatch.setattr(train, "CAPTIONS", 100)
    monkeypatch.setattr(train, "cache_folder", lambda: tmp_path / "cache")
    out = tmp_path / "my prior"
    command = ["prior", "train", "--out", str(out), "--objects", str(folder), "--init", str(tiny), "--batch", "1"]
    command += ["--workers", "0", "--device", "cpu"]
    (tmp_path / "broken").mkdir()
    assert main([*command, "--steps", "1"]) == 0
    assert main([*command, "--steps", "2"]) == 0
    streams = capsys.readouterr()
    assert "resumed at step 1" in streams.out and "drew 3 meshes, found 0" in streams.err
    assert "drew 0 meshes, found 3 drawn before" in streams.err
    assert f"sds3d prior preview --prior '{out}' -- 'a red box'" in streams.out
    assert f"sds3d generate --prior '{out}' -- 'a red box'" in streams.out
    prior = load_pocket(out, CPU)
    assert prior.encode_prompt("a red box").isfinite().all()
    assert main(["prior", "verify", str(out)]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mix", "0.5"], "--mix: needs --objects DIR"),
        (["--objects", "x", "--mix", "1"], "--mix: expected a share from 0 to less than 1, got 1.0"),
        (["--objects", "x", "--channels", "32", "64"], "--channels: [32, 64] is not what the network of --init"),
        (["--init", "/nowhere"], "/nowhere/sha256.json: cannot be read"),
    ],
)
def test_contradictory_options_are_rejected(capsys, options, message):
    assert main(["prior", "train", "--out", "y", *options]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_defaults_depend_on_the_initial_prior(tmp_path, tiny):
    plain = train.parse(["--out", "y"])
    assert (plain.channels, plain.layers, plain.steps, plain.init) == ([96, 192, 256], 1, 16000, None)
    own = arguments(tmp_path, tiny, "y")
    assert (own.channels, own.mix, own.text) == ([16, 32], 0.5, tiny / "text_encoder")
    assert train.parse(["--out", "y", "--objects", "x"]).init == POCKET
