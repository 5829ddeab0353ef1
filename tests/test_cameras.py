"""Axes, orbits and rays."""

import math

import torch

from sds3d.cameras import Cameras, orbit_cameras, pixel_rays, sample_orbits, turntable


def test_the_front_camera_is_on_plus_x_with_z_up_and_y_right():
    cameras = turntable(4, 64, elevation_deg=0.0, distance=3.0)
    torch.testing.assert_close(cameras.positions[0], torch.tensor([3.0, 0.0, 0.0]))
    torch.testing.assert_close(cameras.positions[1], torch.tensor([0.0, 3.0, 0.0]), atol=1e-6, rtol=0)
    pixels, _ = cameras.project(torch.tensor([[0.0, 0, 0], [0, 0, 0.5], [0, -0.5, 0]]))
    center, up, left = pixels[0]
    torch.testing.assert_close(center, torch.tensor([32.0, 32.0]))
    assert up[1] < 32 and left[0] < 32


def test_projection_of_points_before_a_camera_on_plus_x():
    """With focal length f at distance d, (x, y, z) is seen at 32 + f (y, -z) / (d - x) and at depth d - x."""
    camera = turntable(1, 64, elevation_deg=0.0, distance=3.0, fov_deg=90.0)  # f = 32
    pixels, depths = camera.project(torch.tensor([[1.0, 0.5, 0.25], [-1.0, -1.0, 2.0]]))
    torch.testing.assert_close(depths, torch.tensor([[2.0, 4.0]]))
    torch.testing.assert_close(pixels, torch.tensor([[[40.0, 28.0], [24.0, 16.0]]]))


def test_grid_maps_the_corners_of_the_image_to_plus_and_minus_one():
    camera = Cameras(torch.eye(4)[None], torch.eye(3)[None], width=8, height=4)
    corners = camera.grid(torch.tensor([[0.0, 0.0], [8.0, 4.0], [2.0, 2.0]]))
    torch.testing.assert_close(corners, torch.tensor([[-1.0, -1.0], [1.0, 1.0], [-0.5, 0.0]]))


def test_viewmats_are_rigid_and_camtoworlds_are_their_inverses():
    generator = torch.Generator().manual_seed(0)
    cameras = sample_orbits(5, 4, 32, (-20.0, 60.0), (2.0, 3.0), (30.0, 50.0), generator)
    identity = torch.eye(4).expand(20, -1, -1)
    torch.testing.assert_close(cameras.camtoworlds @ cameras.viewmats, identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(cameras.viewmats), torch.ones(20))


def test_views_of_an_orbit_differ_only_in_equally_spaced_azimuths():
    cameras = sample_orbits(3, 4, 32, (-20.0, 60.0), (2.0, 3.0), (30.0, 50.0), torch.Generator().manual_seed(1))
    positions = cameras.positions.reshape(3, 4, 3)
    azimuths = torch.atan2(positions[..., 1], positions[..., 0])
    steps = (azimuths - azimuths.roll(1, 1)) % (2 * math.pi)
    torch.testing.assert_close(steps, torch.full((3, 4), math.pi / 2), atol=1e-4, rtol=0)
    torch.testing.assert_close(positions[..., 2], positions[:, :1, 2].expand(-1, 4), atol=1e-6, rtol=0)
    assert positions[:, 0, 2].unique().numel() == 3


def test_elevations_are_distributed_as_configured():
    """Kolmogorov's statistic of 20,000 orbits is below 1.63 / sqrt(20,000) in 99 of 100 tests of the right law."""
    count, top = 20_000, 30.0
    laws = {
        "uniform": lambda degrees: degrees / top,
        # half uniform, half asin(u / 3) with u uniform: at most 19.5 degrees
        "mvdream": lambda degrees: degrees / top / 2 + (3 * degrees.deg2rad().sin()).clamp_max(1) / 2,
    }
    for seed, (elevations, law) in enumerate(laws.items()):
        generator = torch.Generator().manual_seed(seed)
        views = sample_orbits(count, 1, 8, (0.0, top), (1.0, 1.0), (40.0, 40.0), generator, elevations=elevations)
        degrees = views.positions[:, 2].double().asin().rad2deg().sort().values
        ranks = torch.arange(count + 1) / count
        distance = torch.maximum(ranks[1:] - law(degrees), law(degrees) - ranks[:-1]).max()
        assert distance < 1.63 / math.sqrt(count)
    # the mean of u in [0, 30] degrees is 15, and of asin(u / 3) it is asin(1/3) + sqrt(8) - 3
    mean = (15 + math.degrees(math.asin(1 / 3) + math.sqrt(8) - 3)) / 2
    assert abs(degrees.mean() - mean) < 0.2 and abs(mean - 12.3) < 0.05


def test_the_views_of_an_orbit_share_their_elevation_and_all_else_stays_as_it_is():
    orbits = [
        sample_orbits(9, 4, 8, (-30.0, 60.0), (1.0, 2.0), (30.0, 50.0), torch.Generator().manual_seed(0), elevations=x)
        for x in ("uniform", "mvdream")
    ]
    angles = [torch.asin(x.positions[:, 2] / x.positions.norm(dim=1)).view(9, 4) for x in orbits]
    for each in angles:
        torch.testing.assert_close(each, each[:, :1].expand(-1, 4), atol=1e-6, rtol=0)
    same = (angles[0] - angles[1]).abs()[:, 0] < 1e-5
    assert 0 < same.sum() < 9  # about half of them
    assert torch.equal(orbits[0].Ks, orbits[1].Ks)
    torch.testing.assert_close(orbits[0].positions.norm(dim=1), orbits[1].positions.norm(dim=1))


def test_rays_project_to_their_pixel_centers():
    cameras = orbit_cameras(torch.tensor([0.3, 2.0]), torch.tensor([0.4, -0.2]), torch.tensor([2.5, 2.7]), 0.7, 8)
    origins, directions = pixel_rays(cameras)
    points = (origins + 1.7 * directions)[1].reshape(-1, 3)
    pixels = cameras.project(points)[0][1].reshape(8, 8, 2)
    torch.testing.assert_close(pixels[3, 5], torch.tensor([5.5, 3.5]), atol=1e-4, rtol=0)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(2, 8, 8))
