"""Errors of shapes: zero for exact shapes, known values for perturbed ones."""

import importlib
import math

import numpy as np
import pytest
import torch
import trimesh

from sds3d.interfaces import TexturedMesh
from sds3d.mesh.export import write_mesh
from sds3d.procedural.objects import CATEGORIES
from sds3d.procedural.objects.held_out import is_held_out

geometry = importlib.import_module("benchmarks.geometry")

PLACE = np.array([0.1, -0.2, 0.05])
TURN = trimesh.transformations.rotation_matrix(math.radians(33), [0, 0, 1])
TILT = trimesh.transformations.rotation_matrix(math.radians(80), [0.2, 1, 0])


def moved(mesh: trimesh.Trimesh, turn: np.ndarray = TURN) -> tuple[np.ndarray, np.ndarray]:
    mesh.apply_transform(turn)
    return np.asarray(mesh.vertices) + PLACE, np.asarray(mesh.faces)


def exact(sections: int = 400) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Fine triangulations of the shapes, moved and rotated in general position."""
    create = trimesh.creation
    return {
        "ball": moved(create.icosphere(subdivisions=round(math.log2(sections)) - 3, radius=0.7)),
        "cube": moved(create.box(extents=(0.8, 0.9, 1.0))),
        "cylinder": moved(create.cylinder(radius=0.4, height=1.1, sections=sections)),
        "cone": moved(create.cone(radius=0.5, height=1.2, sections=sections)),
        "ring": moved(create.torus(0.6, 0.2, major_sections=sections, minor_sections=sections // 2), TILT),
    }


@pytest.mark.parametrize("name", geometry.SHAPES)
def test_exact_shapes_have_no_errors(name):
    """The triangulations are within 0.03 % of the round shapes, and turned from them by less than 0.9 degrees."""
    deviation = geometry.measure(*exact()[name], geometry.SHAPES[name])
    assert deviation.rms_percent < 0.03 and deviation.angle_deg < 0.9


@pytest.mark.parametrize("name", geometry.SHAPES)
def test_distance_functions_have_unit_slope(name):
    """Where the nearest point is unique. Distances are large far away and negative inside."""
    shape, rng = geometry.SHAPES[name], np.random.default_rng(1)
    parameters = np.array(shape.starts(np.array([0.5, 0.45, 0.6]))[-1])
    points = rng.uniform(-1, 1, (4000, 3))
    slopes = [
        (shape.distance(points + e, parameters) - shape.distance(points - e, parameters)) / 2e-5
        for e in 1e-5 * np.eye(3)
    ]
    lengths = np.linalg.norm(slopes, axis=0)
    assert np.isclose(lengths, 1, atol=1e-4).mean() > 0.99  # the others are nearest to two points
    far = 10 * points / np.linalg.norm(points, axis=1, keepdims=True)
    assert (shape.distance(far, parameters) > 8).all()
    if name != "ring":
        assert shape.distance(np.zeros((1, 3)), parameters)[0] < 0


def test_inner_surfaces_are_left_out():
    """Of a ball in a ball, the outer one is visible, except for its bottom, which no view sees well."""
    vertices, faces = exact(sections=64)["ball"]
    inner = (vertices - PLACE) * 0.6 + PLACE
    seen = geometry.seen_faces(np.concatenate([vertices, inner]), np.concatenate([faces, faces + len(vertices)]))
    above = faces[(vertices[faces] - PLACE)[..., 2].min(1) > -0.7 * math.sin(math.radians(60))]
    found = {tuple(face) for face in seen.tolist()}
    assert {tuple(face) for face in above.tolist()} <= found <= {tuple(face) for face in faces.tolist()}


def test_waves_on_a_ball_have_their_closed_form_errors():
    """r = R + a sin(k z / R): z is uniform, so RMS and slopes are integrals over z. The fit reduces them little."""
    radius, height, waves = 0.7, 0.01, 25
    fine = trimesh.creation.icosphere(subdivisions=6, radius=1.0)
    fine.vertices *= radius + height * np.sin(waves * fine.vertices[:, 2:])
    deviation = geometry.measure(fine.vertices, fine.faces, geometry.SHAPES["ball"])
    rms = height * math.sqrt(0.5 - math.sin(2 * waves) / (4 * waves)) / radius
    assert deviation.rms_percent == pytest.approx(100 * rms, rel=0.05)
    z = np.linspace(-1, 1, 20001)
    slope = height * waves * np.cos(waves * z) * np.sqrt(1 - z**2) / (radius + height * np.sin(waves * z))
    assert deviation.angle_deg == pytest.approx(np.degrees(np.arctan(np.abs(slope))).mean(), rel=0.05)


@pytest.mark.parametrize("roundness", [0.15, 0.2, 0.5])
def test_edges_count_as_errors_if_rounder_than_in_the_grammar(roundness):
    """A cube swept by a ball. With the largest allowed radius, the fit misses the corners of a rounder cube."""
    fine = trimesh.creation.icosphere(subdivisions=6, radius=1.0)
    fine.vertices = 0.5 * ((1 - roundness) * np.sign(fine.vertices.round(9)) + roundness * fine.vertices)
    deviation = geometry.measure(*moved(fine), geometry.SHAPES["cube"])
    if roundness <= geometry.ROUNDEST:
        assert deviation.rms_percent < 0.03 and deviation.angle_deg < 0.9
    else:
        assert deviation.rms_percent > 2 and deviation.angle_deg > 5


@pytest.mark.parametrize("name", geometry.SHAPES)
def test_other_shapes_have_large_errors(name):
    others = [geometry.measure(*mesh, geometry.SHAPES[name]) for other, mesh in exact().items() if other != name]
    assert min(other.rms_percent for other in others) > 3 and min(other.angle_deg for other in others) > 8


def test_prompts_name_kinds_of_the_grammar():
    assert set(geometry.PROMPTS.values()) == set(geometry.SHAPES) <= set(CATEGORIES)
    for prompt, shape in geometry.PROMPTS.items():
        assert shape in prompt.split() and not is_held_out(prompt)


def test_the_table_has_the_errors_of_each_run(tmp_path, monkeypatch, capsys):
    calls = []

    def make_runs(prompts, *arguments):
        calls.append((prompts, *arguments))
        meshes = exact(sections=64)
        for index, prompt in enumerate(prompts):
            vertices, faces = (torch.from_numpy(x) for x in meshes[geometry.PROMPTS[prompt]])
            (tmp_path / str(index)).mkdir()
            flat = torch.zeros(len(vertices), 2)
            normals = torch.nn.functional.normalize(vertices.float(), dim=1)
            mesh = TexturedMesh(vertices.float(), faces.long(), normals, flat, torch.zeros(4, 4, 3))
            write_mesh(mesh, tmp_path / str(index) / "mesh.glb", "glb")
        return [tmp_path / str(index) for index in range(len(prompts))]

    monkeypatch.setattr(geometry, "make_runs", make_runs)
    monkeypatch.setattr(geometry, "RESOLUTION", 48)
    assert geometry.main(["--config", "a.yaml", "--out", str(tmp_path), "--workers", "3"]) == 0
    assert calls == [(list(geometry.PROMPTS), "a.yaml", tmp_path, 3)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [*map(list, geometry.PROMPTS.items()), ["mean", ""]]
    numbers = np.array([row[2:] for row in rows], float)
    assert (abs(numbers[-1] - numbers[:-1].mean(0)) < [0.011, 0.11]).all()  # up to rounding
    assert numbers[:, 0].max() < 0.5 and numbers[:, 1].max() < 4  # 64 flat sides
