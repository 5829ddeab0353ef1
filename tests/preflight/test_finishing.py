"""The memory after the optimization: what is estimated bounds what is measured, and is checked before the run."""

import subprocess
import sys
from dataclasses import replace

import pytest

from sds3d.config.schema import Config, MeshConfig
from sds3d.errors import UserError
from sds3d.preflight.check import LEAST, preflight
from sds3d.preflight.finishing import RESERVED, finishing_parts, host_memory

GIB = 2**30
MEASURE = """
import sys, torch
from sds3d.mesh.bake import bake
from sds3d.mesh.clean import clean, vertex_normals
from sds3d.mesh.extract import Field, isosurface
from sds3d.mesh.unwrap import unwrap
from tests.helpers.ball import Ball

def peak():
    return next(1024 * int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

def surface(grid):
    x = torch.linspace(-0.75, 0.75, grid).square()
    values = (x[:, None, None] + x[:, None] + x).sqrt_().neg_().add_(1)  # in little memory
    field = Field(values, torch.full((3,), -0.75), 1.5 / (grid - 1))
    return clean(*isosurface(field, 0.4)[:2], 2000)

def texture(size):
    vertices, faces = surface(32)
    sources, triangles, uvs = unwrap(vertices, faces, 1024)
    normals = vertex_normals(vertices, faces)[sources]
    arrays = [torch.from_numpy(x) for x in (vertices[sources], triangles, normals, uvs)]
    return bake(*[x if x.dtype == torch.int64 else x.float() for x in arrays], Ball().render, size, 4, 64)

step, size = globals()[sys.argv[1]], int(sys.argv[2])
step(32)  # what libraries set up at first use
open("/proc/self/clear_refs", "w").write("5")
before = peak()
step(size)
print(peak() - before)
"""


@pytest.mark.parametrize(
    ("step", "size", "key"),
    [("surface", 192, "mesh.grid"), ("surface", 288, "mesh.grid"), ("texture", 1536, "mesh.texture_size")],
)
def test_the_estimate_bounds_what_is_measured(step: str, size: int, key: str) -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE, step, str(size)], capture_output=True, check=True)
    measured = int(done.stdout)
    cfg = Config(mesh=MeshConfig(grid=size, texture_size=size))
    assert measured <= finishing_parts(cfg)[key] <= 2 * measured, measured


@pytest.mark.parametrize(
    ("key", "value", "at_least"),
    [
        ("mesh.grid", 1024, 15),
        ("mesh.texture_size", 8192, 9),
        ("mesh.bake_resolution", 2048, 0.5),
        ("mesh.faces", 1_000_000, 0.2),
        ("preview.resolution", 1024, 1.4),
    ],
)
def test_a_larger_setting_is_rejected_before_the_run(key, value, at_least, monkeypatch) -> None:
    section, name = key.split(".")
    cfg = Config(prompt="a chair")
    cfg = replace(cfg, **{section: replace(getattr(cfg, section), **{name: value})})
    needed = max(finishing_parts(cfg).values()) + LEAST
    assert needed > at_least * GIB
    monkeypatch.setattr("sds3d.preflight.check.host_memory", lambda: needed)
    preflight(cfg)
    monkeypatch.setattr("sds3d.preflight.check.host_memory", lambda: needed - 1)
    with pytest.raises(UserError) as caught:
        preflight(cfg)
    assert str(caught.value).startswith(f"{key}: {value} needs about ")
    assert str(caught.value).endswith(f"lower {key}")


@pytest.mark.parametrize(
    ("override", "gibibytes"),
    [
        ({"stages": (replace(Config().stages[0], num_orbits=64, resolution=1024),)}, 20),
        ({"representation": replace(Config().representation, max_gaussians=5_000_000)}, 3),
    ],
)
def test_an_optimization_that_cannot_fit_is_rejected(override, gibibytes, monkeypatch) -> None:
    cfg = replace(Config(prompt="a chair", device="cpu"), **override)
    monkeypatch.setattr("sds3d.preflight.check.host_memory", lambda: 100 * GIB)
    preflight(cfg)
    monkeypatch.setattr("sds3d.preflight.check.host_memory", lambda: gibibytes * GIB)
    with pytest.raises(UserError, match=r"^stages.\d: \w+ needs about [\d.]+ GiB of memory for \d+ images at once, "):
        preflight(cfg)


def test_a_limit_of_address_space_counts() -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2 * 10**9, 2 * 10**9)); "
    code += f"from sds3d.preflight.finishing import host_memory; assert host_memory() == 2 * 10**9 - {RESERVED}"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert host_memory() > GIB
