"""A folder of the user's meshes, GLB, glTF and OBJ, with captions in its captions.jsonl.

A line is {"file": "chair.glb", "caption": "a red chair"} or has "captions": [...]; a file may have several lines.
"""

from __future__ import annotations

import json
import os
import posixpath
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sds3d.cameras import Cameras
from sds3d.errors import UserError
from sds3d.files import read_regular
from sds3d.mesh.foreign import OTHER_SUFFIXES, SUFFIXES, read_solid
from sds3d.mesh.importers.solid import Solid
from sds3d.procedural.picture_cache import PictureCache, picture_key
from sds3d.procedural.render_solid import normalize, render_solid
from sds3d.procedural.views import NUM_VIEWS, sample_views, to_bytes

CAPTIONS = "captions.jsonl"
MAX_CAPTIONS_BYTES = 100_000_000
UNREAD = "is not GLB, glTF or OBJ; open it in Blender or another program and export it as GLB"
MAX_CAPTION = 1000  # characters
NUM_RINGS = 32  # of four views each, 2 MB for a mesh, 4 MB with normals


@dataclass(frozen=True)
class UserObject:
    """A mesh of the user as training sees it: R random rings of V views, and its captions."""

    name: str
    captions: tuple[str, ...]
    pictures: Tensor  # uint8 [R, V, H, W, 4 or 7], see `views.to_bytes`
    viewmats: Tensor  # [R, V, 4, 4]
    Ks: Tensor  # [R, V, 3, 3]


def render_library(
    folder: Path,
    seed: int,
    device: torch.device,
    report: Callable[[str], None],
    num_rings: int = NUM_RINGS,
    *,
    normals: bool = False,
    cache: Path | None = None,
    progress: Callable[[list[str]], Iterable[str]] = iter,
) -> list[UserObject]:
    """Every mesh of `folder` that can be read and has a caption; `report` gets a line for each one that is skipped.

    Meshes are rendered once, about a second each on one CPU core; training then only looks pictures up. Pictures are
    kept in the folder `cache`, so that the next training need not draw them again. `progress` is passed the names of
    all meshes and yields them.
    """
    files, problems = _list_files(folder)
    captions, more = _read_captions(folder / CAPTIONS, files)
    problems += more
    for problem in problems:
        report(problem)
    report(f"{len(captions)} meshes to draw")
    started = time.perf_counter()
    painter = _Painter(seed, device, num_rings, normals, PictureCache(cache, report) if cache else None)
    objects = []
    for name in progress(sorted(captions)):
        try:
            solid = read_solid(name, files)
        except UserError as error:
            report(f"{name!r}: skipped: {error}")
            continue
        for note in solid.notes:
            report(f"{name!r}: {note}")
        objects.append(painter.draw(name, tuple(captions[name]), solid))
    if not objects:
        raise UserError(
            f"{folder}: no mesh of it can be used, as reported above; expected files named *.glb, *.gltf or *.obj and "
            f'{CAPTIONS} with lines like {{"file": "chair.glb", "caption": "a red chair"}}'
        )
    new = len(objects) - painter.found
    report(f"drew {new} meshes, found {painter.found} drawn before, in {time.perf_counter() - started:.1f} s")
    return objects


class _Painter:
    """Draws meshes with fixed settings, or finds them in a cache."""

    def __init__(
        self, seed: int, device: torch.device, num_rings: int, normals: bool, cache: PictureCache | None
    ) -> None:
        self.seed, self.device, self.num_rings, self.normals, self.cache = seed, device, num_rings, normals, cache
        self.found = 0  # meshes that the cache had

    def draw(self, name: str, captions: tuple[str, ...], solid: Solid) -> UserObject:
        """The object with its pictures, which depend on its name through the views."""
        generator = torch.Generator().manual_seed(random.Random(f"{self.seed}/{name!r}").getrandbits(62))
        cameras, _ = sample_views(self.num_rings, generator)
        shape = (self.num_rings, NUM_VIEWS)
        pictures = self._pictures(name, solid, cameras).unflatten(0, shape)
        return UserObject(
            name, captions, pictures, cameras.viewmats.unflatten(0, shape), cameras.Ks.unflatten(0, shape)
        )

    def _pictures(self, name: str, solid: Solid, cameras: Cameras) -> Tensor:
        """uint8 [C, H, W, 4 or 7]."""
        key = picture_key(solid, self.seed, name, self.num_rings, self.normals, self.device.type)
        shape = (len(cameras), cameras.height, cameras.width, 7 if self.normals else 4)
        kept = self.cache.load(key, shape) if self.cache else None
        if kept is not None:
            self.found += 1
            return kept
        solid = normalize(solid).to(self.device)
        pictures = to_bytes(render_solid(solid, cameras.to(self.device), normals=self.normals).cpu())
        if self.cache:
            self.cache.save(key, pictures)
        return pictures


def _list_files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """All files in `folder` by their relative POSIX paths, and a report of each link that leaves the folder."""
    if not folder.is_dir():
        raise UserError(f"--objects {folder}: expected a folder of meshes, found none there")
    root, files, problems = folder.resolve(), {}, []
    for parent, _, names in os.walk(folder):
        for path in (Path(parent) / name for name in names):
            name = path.relative_to(folder).as_posix()
            if path.resolve().is_relative_to(root) and path.is_file():
                files[name] = path
            elif path.suffix.lower() in SUFFIXES:
                problems.append(f"{name!r}: skipped: a link to outside the folder, or no regular file")
    return files, problems


def _read_captions(path: Path, files: dict[str, Path]) -> tuple[dict[str, list[str]], list[str]]:
    """The captions of each mesh, and a report of every unusable line and every mesh without a caption."""
    try:
        lines = read_regular(path, MAX_CAPTIONS_BYTES).splitlines()
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); it says what each mesh is, in lines like "
            '{"file": "chair.glb", "caption": "a red chair"}'
        ) from error
    meshes = {name for name in files if name.lower().endswith(SUFFIXES)}
    captions: dict[str, list[str]] = {}
    problems, unused = [], set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            name, texts = _parse_line(line)
        except UserError as error:
            problems.append(f"{CAPTIONS}, line {number}: skipped: {error}")
            continue
        if name not in meshes:
            why = f"{name[:200]!r} {UNREAD}" if name in files else f"the folder has no mesh {name[:200]!r}"
            problems.append(f"{CAPTIONS}, line {number}: skipped: {why}")
            unused.add(name)
        elif wrong := [text for text in texts if _is_wrong(text)]:
            problems.append(f"{CAPTIONS}, line {number}: skipped: not a caption: {str(wrong[0])[:80]!r}")
            unused.add(name)
        else:
            captions.setdefault(name, []).extend(" ".join(text.split()) for text in texts)
    silent = sorted(meshes - set(captions) - unused)
    problems += [f"{name!r}: skipped: {CAPTIONS} has no caption of it" for name in silent]
    others = sorted(name for name in files if name.lower().endswith(OTHER_SUFFIXES) and name not in unused)
    problems += [f"{name!r}: skipped: it {UNREAD}" for name in others]
    return captions, problems


def _parse_line(line: bytes) -> tuple[str, list[Any]]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON ({error})") from error
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
        raise UserError('expected {"file": "chair.glb", "caption": "a red chair"}')
    texts = entry.get("captions", [])
    texts = [*texts] if isinstance(texts, list) else [texts]
    texts += [entry["caption"]] if "caption" in entry else []
    if not texts:
        raise UserError('has neither "caption" nor "captions"')
    return posixpath.normpath(entry["file"]), texts


def _is_wrong(text: object) -> bool:
    """Whether `text` is not a string, empty, longer than MAX_CAPTION, or not encodable (lone surrogates)."""
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_CAPTION:
        return True
    return any("\ud800" <= letter <= "\udfff" for letter in text)
