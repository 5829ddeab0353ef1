"""Normals from depths, and priors that predict normals: their training, and runs with them."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trimesh

from sds3d.cameras import Cameras, pixel_rays, turntable
from sds3d.config.schema import Config, GaussiansConfig, PocketConfig, RendererConfig, StageConfig, VSDConfig
from sds3d.imaging.normals import COVERED, depth_normals, normal_images
from sds3d.interfaces import Render, Splats
from sds3d.optimization.targets import shown
from sds3d.priors.blueprint import pocket_blueprint
from sds3d.priors.pocket import data, model, train
from sds3d.priors.pocket.learner import Learner
from sds3d.priors.pocket.mixed import MixedObjects
from sds3d.priors.pocket.prior import PocketPrior
from sds3d.priors.pocket.text import TextEncoder
from sds3d.priors.sample import sample_views
from sds3d.priors.weights import POCKET
from sds3d.procedural import library, views
from sds3d.procedural.parts import Part, pack
from sds3d.procedural.tracer import trace
from sds3d.renderers import build_renderer
from sds3d.renderers.splat_scene import Surface
from sds3d.representations.gaussians.splats import Gaussians
from sds3d.runs.folder import RunFolder
from tests.helpers.observer import RecordingObserver, optimize_alone
from tests.helpers.tiny_prior import write_tiny_prior

CPU = torch.device("cpu")
CAMERAS = turntable(4, 48, elevation_deg=20.0)


def in_double(cameras: Cameras) -> Cameras:
    return Cameras(cameras.viewmats.double(), cameras.Ks.double(), cameras.width, cameras.height)


def camera_z(along: torch.Tensor, cameras: Cameras) -> torch.Tensor:
    """Depths [C, H, W, 1] of the points `along` [C, H, W] world units along the pixels' rays."""
    _, directions = pixel_rays(cameras)
    forward = cameras.viewmats[:, 2, :3][:, None, None]
    return (along * (directions * forward).sum(-1))[..., None]


def ball(cameras: Cameras, radius: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depths and alphas of a ball at the origin, and its normals times alpha."""
    origins, directions = pixel_rays(cameras)
    middle = (origins * directions).sum(-1)
    half = middle.square() - origins.square().sum(-1) + radius**2
    seen = half > 0
    along = torch.where(seen, -middle - half.clamp_min(0).sqrt(), 0.0)
    normals = torch.where(seen[..., None], (origins + along[..., None] * directions) / radius, 0.0)
    return camera_z(along, cameras), seen[..., None].to(along), normals


def angles_deg(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(torch.nn.functional.cosine_similarity(a, b, dim=-1).clamp(-1, 1).acos())


def test_normals_of_a_plane_are_exact_including_its_border():
    """Central and one-sided differences of points lie in the plane; 1e-7 is the rounding error of the cameras."""
    cameras = in_double(CAMERAS[:1])
    normal = torch.nn.functional.normalize(torch.tensor([0.9, 0.3, 0.4], dtype=torch.float64), dim=0)
    origins, directions = pixel_rays(cameras)
    along = (0.1 - (origins * normal).sum(-1)) / (directions * normal).sum(-1)
    alphas = torch.zeros(1, 48, 48, 1, dtype=torch.float64)
    alphas[:, 10:40, 5:30] = 0.5  # coverage is a weight
    alphas[:, 20:, 10:12] = COVERED / 2
    got = depth_normals(camera_z(along, cameras), alphas, cameras)
    covered = alphas[..., 0] >= COVERED
    torch.testing.assert_close(got[covered], (0.5 * normal).expand_as(got[covered]), atol=1e-7, rtol=0)
    assert (got[~covered] == 0).all()


def test_normals_of_a_ball():
    """The error of central differences is quadratic in the size of a pixel, away from the silhouette."""
    errors = []
    for resolution in (64, 128):
        cameras = in_double(turntable(4, resolution, elevation_deg=20.0))
        depths, alphas, expected = ball(cameras, 0.6)
        _, directions = pixel_rays(cameras)
        facing = -(expected * directions).sum(-1) > 0.5
        errors.append(angles_deg(depth_normals(depths, alphas, cameras), expected)[facing].max().item())
    assert errors[1] < 0.5
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


class Shell:
    """Flat solid splats on a sphere."""

    def __init__(self, radius: float, count: int) -> None:
        index = torch.arange(count) + 0.5
        z, angle = 1 - 2 * index / count, math.pi * (1 + math.sqrt(5)) * index  # an even spiral
        normals = torch.stack([(1 - z * z).sqrt() * angle.cos(), (1 - z * z).sqrt() * angle.sin(), z], -1)
        # turns z to the normal
        quats = torch.stack([1 + normals[:, 2], -normals[:, 1], normals[:, 0], torch.zeros(count)], -1)
        spacing = radius * math.sqrt(4 * math.pi / count)
        scales = torch.tensor([spacing, spacing, 0.1 * spacing]).expand(count, 3)
        self.splats = Splats(radius * normals, quats, scales, torch.full((count,), 0.95), torch.full((count, 3), 0.5))

    def activated(self) -> Splats:
        return self.splats


def test_normals_of_a_rendered_shell():
    """The error comes from the renderer's depths, which are too near on oblique surfaces, and falls with splat size.

    Depths are those of the splats' centers, and the nearer ones of overlapping splats are visible.
    """
    cameras = turntable(4, 64, elevation_deg=20.0)
    _, _, expected = ball(cameras, 0.6)
    _, directions = pixel_rays(cameras)
    facing = -(expected * directions).sum(-1) > 0.5
    means = []
    for count in (1500, 6000):  # half the size
        render = build_renderer(RendererConfig(), Shell(0.6, count), "cpu")(cameras, torch.zeros(4, 3))
        got = depth_normals(render.depths, render.alphas, cameras)
        means.append(angles_deg(got, expected)[facing].mean().item())
    assert means[0] < 8 and means[1] < 0.7 * means[0]


def test_normals_face_the_camera_for_any_depths():
    depths = torch.rand(4, 48, 48, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 5 + 0.1
    alphas = torch.rand(4, 48, 48, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cameras = in_double(CAMERAS)
    normals = depth_normals(depths, alphas, cameras)
    _, directions = pixel_rays(cameras)
    drawn = normals.norm(dim=-1) > 0
    assert drawn.float().mean() > 0.8
    torch.testing.assert_close(normals.norm(dim=-1)[drawn], alphas[..., 0][drawn])
    assert ((normals * directions).sum(-1)[drawn] < 0).all()


def test_only_depths_receive_a_gradient_that_of_the_formula():
    """Also next to empty pixels, and for a pixel without neighbors in its row, whose normal is zero."""
    cameras = in_double(turntable(1, 6))
    depths = 2 + torch.rand(1, 6, 6, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alphas = torch.ones_like(depths)
    alphas[0, 0] = alphas[0, 3:5, 4] = alphas[0, 5, [0, 2, 4]] = 0
    depths[alphas == 0] = 0
    leaf, weights = depths.requires_grad_(), alphas.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: depth_normals(x, alphas.detach(), cameras), leaf)
    normals = depth_normals(leaf, weights, cameras)
    assert (normals[0, 5, [1, 3, 5]] == 0).all()
    loss = normals.square().sum() + normals.sum()
    of_depths, of_alphas = torch.autograd.grad(loss, (leaf, weights), allow_unused=True)
    assert of_alphas is None and torch.isfinite(of_depths).all() and (of_depths[alphas == 0] == 0).all()
    assert (of_depths != 0).sum() > 10


def test_normals_only_move_and_rotate_splats():
    scene = Gaussians.random_ball(GaussiansConfig(num_init=200), torch.Generator().manual_seed(0))
    cameras, backgrounds = turntable(2, 32), torch.zeros(2, 3)
    whole, surface = [build_renderer(RendererConfig(), x, CPU)(cameras, backgrounds) for x in (scene, Surface(scene))]
    torch.testing.assert_close(surface.depths, whole.depths, atol=0, rtol=0)
    depth_normals(surface.depths, surface.alphas, cameras)[..., 2].sum().backward()
    moved = {name for name, x in scene.named_parameters() if x.grad is not None and (x.grad != 0).any()}
    assert moved == {"means", "quats"}


def test_the_prior_determines_whether_it_sees_normals(tmp_path):
    depths, alphas, normals = ball(turntable(4, 128), 0.6)
    colors = torch.rand(4, 128, 128, 3, generator=torch.Generator().manual_seed(0))
    render = Render(colors, alphas, depths)
    folders = [write_tiny_prior(tmp_path / str(draws), draws) for draws in (True, False)]
    with_normals, plain = (PocketPrior(folder, CPU) for folder in folders)
    both, alone = (shown(prior, render, turntable(4, 128)) for prior in (with_normals, plain))
    assert both.shape == (4, 6, 64, 64) and alone.shape == (4, 3, 64, 64)
    torch.testing.assert_close(both[:, :3], alone)
    latents = with_normals.encode_images(both)
    assert latents.shape == (4, 24, 32, 32)
    assert (latents[:, 12:, 0] == 0).all()  # the first row is empty
    middle = both[0, 3:, 31:33, 31:33].mean((1, 2))
    expected = normal_images(normals[0, 63:65, 63:65].mean((0, 1)))
    torch.testing.assert_close(middle, expected, atol=0.01, rtol=0)  # means over four smaller pixels


def test_training_latents_have_equal_colors_and_normals_that_are_zero_outside_of_the_object():
    batch = data.ProceduralObjects(0, 2, range(1), TextEncoder(POCKET / "text_encoder"))[0]
    both, alone = data.render_latents(batch, normals=True), data.render_latents(batch)
    assert both.shape == (8, 24, 32, 32) and torch.equal(both[:, :12], alone)
    images = torch.nn.functional.pixel_shuffle(both, model.PATCH)
    lengths = images[:, 3:].norm(dim=1)
    backgrounds = 2 * batch.backgrounds[..., None, None] - 1
    empty = (images[:, :3] - backgrounds).abs().amax(1) < 1e-6
    assert (lengths[empty] == 0).float().mean() > 0.99  # an object can have exactly the color of its background
    assert lengths.max() < 1 + 1e-5 and (lengths > 0.999).float().mean() > 0.05


def options(out: Path, *more: str) -> list[str]:
    small = ("--batch", "1", "--workers", "0", "--device", "cpu", "--log-every", "1")
    return ["--out", str(out), *small, *more]


def test_a_widened_network_predicts_equal_colors_for_any_normals(tmp_path):
    plain = write_tiny_prior(tmp_path / "plain")
    widened = Learner(train.parse(options(tmp_path / "out", "--init", str(plain), "--normals")), CPU).unet
    generator = torch.Generator().manual_seed(0)
    noisy, context, camera = (torch.randn(x, generator=generator) for x in ((4, 24, 32, 32), (4, 8, 384), (4, 19)))
    with torch.no_grad():
        got = widened(noisy, torch.full((4,), 300), context, camera)
        expected = model.load_unet(plain)(noisy[:, :12], torch.full((4,), 300), context, camera)
    torch.testing.assert_close(got[:, :12], expected, atol=1e-5, rtol=1e-5)  # sums in another order
    assert (got[:, 12:] == 0).all()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny prior of colors, widened and trained for two steps."""
    folder = tmp_path_factory.mktemp("normals")
    plain = write_tiny_prior(folder / "plain")
    train.main(options(folder / "trained", "--init", str(plain), "--normals", "--steps", "2", "--lr", "0.01"))
    return folder / "trained"


def test_a_trained_prior_predicts_normals_and_previews_colors(trained):
    prior = PocketPrior(trained, CPU)
    assert prior.normals and not PocketPrior(trained.parent / "plain", CPU).normals
    weights = prior.unet.conv_out.weight.flatten(1).norm(dim=1)
    assert (weights[12:] > 0).all()  # they started at zero and learn
    assert pocket_blueprint(trained).latents == (24, 32, 32)
    generator = torch.Generator().manual_seed(0)
    views = sample_views(prior, "red", "", turntable(4, 64), torch.full((4, 3), 0.5), generator, steps=2)
    assert views.shape == (4, 3, 64, 64)
    images = torch.rand(4, 6, 64, 64)
    torch.testing.assert_close(prior.decode_latents(prior.encode_images(images)), images)


def test_training_from_a_prior_with_normals_predicts_normals(trained, tmp_path):
    args = train.parse(options(tmp_path, "--init", str(trained)))
    assert args.normals
    state = Learner(args, CPU).unet.state_dict()
    torch.testing.assert_close(state, dict(model.load_unet(trained).state_dict()), rtol=0, atol=0)


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ball with smooth normals, and a box without normals whose sides share corners."""
    folder = tmp_path_factory.mktemp("meshes")
    sphere, cube = trimesh.creation.icosphere(5), trimesh.creation.box((1, 1, 1))
    (folder / "ball.glb").write_bytes(sphere.export(file_type="glb", include_normals=True))
    (folder / "box.glb").write_bytes(cube.export(file_type="glb", include_normals=False))
    lines = ('{"file": "ball.glb", "caption": "a red ball"}', '{"file": "box.glb", "caption": "a box"}')
    (folder / "captions.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def own(meshes: Path) -> list[library.UserObject]:
    return library.render_library(meshes, 0, CPU, lambda text: None, num_rings=2, normals=True)


def seen(one: library.UserObject) -> tuple[torch.Tensor, Cameras]:
    """The training layers of a mesh, [C, H, W, 7], and their cameras."""
    cameras = Cameras(one.viewmats.flatten(0, 1), one.Ks.flatten(0, 1), 64, 64)
    return views.from_bytes(one.pictures).flatten(0, 1), cameras


def supersampled(cameras: Cameras) -> Cameras:
    """Cameras of the same views whose pixels are the four samples of each pixel."""
    return Cameras(cameras.viewmats, cameras.Ks * torch.tensor([2.0, 2.0, 1.0])[:, None], 128, 128)


def mean_of_samples(layers: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(layers.movedim(-1, 1), 2).movedim(1, -1)


def cube(cameras: Cameras, half: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Normals and coverage of a cube at the origin: a ray hits it where it passes the last near plane."""
    origins, directions = pixel_rays(cameras)
    near, far = (((side * directions.sign() * half) - origins) / directions for side in (-1, 1))
    hit = (near.amax(-1) < far.amin(-1))[..., None]
    sides = torch.nn.functional.one_hot(near.argmax(-1), 3) * -directions.sign()
    return sides * hit, hit.float()


ROUNDING = 0.5 / 127 + 1e-6  # of a component of a normal in eight bits


def test_normals_of_user_meshes_in_closed_form(own):
    """All normals of the box, and those of the ball except at its silhouette, where the mesh has corners."""
    (ball_layers, cameras), (box_layers, box_cameras) = map(seen, own)
    normals, coverage = cube(supersampled(box_cameras), 0.9 / math.sqrt(3))
    torch.testing.assert_close(box_layers[..., 4:], mean_of_samples(normals), atol=ROUNDING, rtol=0)
    torch.testing.assert_close(box_layers[..., 3:4], mean_of_samples(coverage), atol=0.5 / 255 + 1e-6, rtol=0)
    _, coverage, normals = ball(supersampled(cameras), 0.9)
    inside = (mean_of_samples(coverage)[..., 0] == 1) & (ball_layers[..., 3] == 1)
    assert inside.float().sum() > 0.95 * coverage.sum() / 4
    # the faces of the mesh are at most 1.5e-4 below the ball, so an oblique ray hits them later
    expected = mean_of_samples(normals)[inside]
    torch.testing.assert_close(ball_layers[inside][:, 4:], expected, atol=ROUNDING + 3e-3, rtol=0)


def test_normals_of_user_meshes_equal_those_of_the_tracer(own):
    half = 0.9 / math.sqrt(3)
    parts = [Part("ellipsoid", (0, 0, 0), (0.9,) * 3, (1, 1, 1)), Part("box", (0, 0, 0), (half,) * 3, (1, 1, 1))]
    for one, part in zip(own, parts, strict=True):
        layers, cameras = seen(one)
        traced = trace(torch.from_numpy(pack([part]))[None], cameras, normals=True)[0]
        inside = (layers[..., 3] == 1) & (traced[..., 3] == 1)
        if part.kind == "box":  # not at its edges, which the tracer rounds, since it stops 1.5e-3 before a surface
            inside &= (layers[..., 4:].norm(dim=-1) == 1) & (traced[..., 4:].abs().amax(-1) > 0.99999)
        assert inside.float().sum() > 0.9 * traced[..., 3].sum()
        torch.testing.assert_close(layers[inside][:, 4:], traced[inside][:, 4:], atol=ROUNDING + 4e-3, rtol=0)


def test_zero_and_unit_normals_are_exact_in_eight_bits():
    steps = torch.arange(-127, 128) / 127
    layers = torch.cat([torch.zeros(255, 4), steps[:, None].expand(-1, 3)], 1)
    assert torch.equal(views.from_bytes(views.to_bytes(layers)), layers)
    assert layers[127].eq(0).all() and layers[-1, 4:].eq(1).all() and layers[0, 4:].eq(-1).all()


def test_normals_of_a_mixed_batch_are_zero_outside_of_the_objects(own):
    encoder = TextEncoder(POCKET / "text_encoder")
    batch = MixedObjects(0, 3, range(1), encoder, user_objects=own, mix=1 / 3)[0]
    assert batch.pictures.shape == (2, 4, 64, 64, 7)
    latents = data.render_latents(batch, normals=True)
    assert latents.shape == (12, 24, 32, 32)
    procedural = data.render_latents(data.ProceduralObjects(0, 3, range(1), encoder)[0], normals=True)
    assert torch.equal(latents[:4], procedural[:4])
    images = torch.nn.functional.pixel_shuffle(latents[4:], model.PATCH)
    empty = batch.pictures.flatten(0, 1)[..., 3] == 0
    assert 0.1 < empty.float().mean() < 0.9
    assert (images[:, 3:].movedim(1, -1)[empty] == 0).all()
    assert (images[:, 3:].norm(dim=1)[~empty] > 0).all()


@pytest.mark.parametrize("option", ["--normals", "--init"])
def test_training_on_user_meshes_has_normals_if_the_prior_has(trained, meshes, tmp_path, monkeypatch, option):
    """Either by --normals, or because the initial prior predicts normals."""
    monkeypatch.setattr(library.render_library, "__defaults__", (1,))
    monkeypatch.setattr(train, "CAPTIONS", 10)
    start = ["--normals", "--init", str(write_tiny_prior(tmp_path / "plain"))]
    start = start if option == "--normals" else ["--init", str(trained)]
    shapes = []

    def draw(batch: data.Batch, normals: bool) -> torch.Tensor:
        shapes.append(batch.pictures.shape)
        return data.render_latents(batch, normals)

    monkeypatch.setattr("sds3d.priors.pocket.learner.render_latents", draw)
    train.main(options(tmp_path / "out", *start, "--objects", str(meshes), "--steps", "3", "--mix", "0"))
    assert shapes == [(1, 4, 64, 64, 7)] * 3
    prior = PocketPrior(tmp_path / "out", CPU)
    assert prior.normals
    before = model.load_unet(Path(start[-1])).state_dict()["conv_out.weight"]
    moved = prior.unet.conv_out.weight[12:] - (before[12:] if option == "--init" else 0)
    assert (moved.flatten(1).norm(dim=1) > 0).all()


@pytest.mark.parametrize("estimator", [StageConfig().estimator, VSDConfig()], ids=lambda cfg: cfg.kind)
def test_colors_and_normals_both_move_the_scene(trained, tmp_path, monkeypatch, estimator):
    """Without the gradient of the normals, a few steps lead to another result."""
    cfg = Config(
        prompt="a red mushroom", device="cpu", prior=PocketConfig(path=str(trained)), out=str(tmp_path / "with"),
        representation=GaussiansConfig(num_init=60, max_gaussians=60),
        stages=(StageConfig(steps=4, prior_every=2, resolution=48, estimator=estimator),),
    )  # fmt: skip

    def means() -> torch.Tensor:
        return optimize_alone(cfg, RunFolder.create(cfg), RecordingObserver()).scene.gaussians.means.detach()

    moved = means()
    assert torch.isfinite(moved).all()
    cfg = replace(cfg, out=str(tmp_path / "without"))
    monkeypatch.setattr("sds3d.optimization.targets.depth_normals", lambda *inputs: depth_normals(*inputs).detach())
    assert (means() - moved).abs().max() > 1e-4
