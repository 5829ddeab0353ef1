"""The measure of shapes: nothing for the shapes themselves, and as much as was done to them for others."""

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
    """Fine triangulations of shapes that are nowhere special, turned as far as they may be."""
    create = trimesh.creation
    return {
        "ball": moved(create.icosphere(subdivisions=round(math.log2(sections)) - 3, radius=0.7)),
        "cube": moved(create.box(extents=(0.8, 0.9, 1.0))),
        "cylinder": moved(create.cylinder(radius=0.4, height=1.1, sections=sections)),
        "cone": moved(create.cone(radius=0.5, height=1.2, sections=sections)),
        "ring": moved(create.torus(0.6, 0.2, major_sections=sections, minor_sections=sections // 2), TILT),
    }


@pytest.mark.parametrize("name", geometry.SHAPES)
def test_a_shape_is_itself(name):
    """The triangulations are within 0.03 % of the round shapes, and turned from them by less than 0.9 degrees."""
    deviation = geometry.measure(*exact()[name], geometry.SHAPES[name])
    assert deviation.rms_percent < 0.03 and deviation.angle_deg < 0.9


@pytest.mark.parametrize("name", geometry.SHAPES)
def test_distances_are_distances(name):
    """Their slope is 1 wherever there is one nearest point; far away they are large, and inside negative."""
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


def test_what_is_inside_does_not_count():
    """Of a ball in a ball the outer one is seen, but for its very bottom, which the lowest views only graze."""
    vertices, faces = exact(sections=64)["ball"]
    inner = (vertices - PLACE) * 0.6 + PLACE
    seen = geometry.seen_faces(np.concatenate([vertices, inner]), np.concatenate([faces, faces + len(vertices)]))
    above = faces[(vertices[faces] - PLACE)[..., 2].min(1) > -0.7 * math.sin(math.radians(60))]
    found = {tuple(face) for face in seen.tolist()}
    assert {tuple(face) for face in above.tolist()} <= found <= {tuple(face) for face in faces.tolist()}


def test_waves_on_a_ball_are_measured():
    """r = R + a sin(k z / R): z is spread evenly, so rms and slopes are integrals over z; a fit takes out little."""
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
def test_edges_count_where_they_are_rounder_than_the_grammar_makes_them(roundness):
    """A cube swept by a ball; what is as round as may be keeps off the corners and edges of one that is rounder."""
    fine = trimesh.creation.icosphere(subdivisions=6, radius=1.0)
    fine.vertices = 0.5 * ((1 - roundness) * np.sign(fine.vertices.round(9)) + roundness * fine.vertices)
    deviation = geometry.measure(*moved(fine), geometry.SHAPES["cube"])
    if roundness <= geometry.ROUNDEST:
        assert deviation.rms_percent < 0.03 and deviation.angle_deg < 0.9
    else:
        assert deviation.rms_percent > 2 and deviation.angle_deg > 5


@pytest.mark.parametrize("name", geometry.SHAPES)
def test_other_shapes_are_told_from_it(name):
    others = [geometry.measure(*mesh, geometry.SHAPES[name]) for other, mesh in exact().items() if other != name]
    assert min(other.rms_percent for other in others) > 3 and min(other.angle_deg for other in others) > 8


def test_prompts_are_of_kinds_that_training_shows():
    assert set(geometry.PROMPTS.values()) == set(geometry.SHAPES) <= set(CATEGORIES)
    for prompt, shape in geometry.PROMPTS.items():
        assert shape in prompt.split() and not is_held_out(prompt)


def test_the_table_is_made_from_runs(tmp_path, monkeypatch, capsys):
    asked = []

    def make_runs(prompts, *arguments):
        asked.append((prompts, *arguments))
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
    assert geometry.main(["--config", "a.yaml", "--out", str(tmp_path), "--jobs", "3"]) == 0
    assert asked == [(list(geometry.PROMPTS), "a.yaml", tmp_path, 3)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [*map(list, geometry.PROMPTS.items()), ["mean", ""]]
    numbers = np.array([row[2:] for row in rows], float)
    assert (abs(numbers[-1] - numbers[:-1].mean(0)) < [0.011, 0.11]).all()  # as far as they are rounded
    assert numbers[:, 0].max() < 0.5 and numbers[:, 1].max() < 4  # 64 flat sides
