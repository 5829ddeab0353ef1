"""sds3d doctor: which requirements this machine meets, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

MIN_FREE = 1e9  # bytes


@dataclass(frozen=True)
class Check:
    """One line of the report; `remedy` is the fix if it is not ok."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True


def main(argv: list[str]) -> int:
    """Prints the report; returns 0 if all requirements of a run are met, else 1."""
    parser = argparse.ArgumentParser("sds3d doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    args = parser.parse_args(argv)
    checks = list(examine())
    if args.json:
        print(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            state = "ok" if check.ok else "MISSING" if check.required else "absent"
            print(f"{state:<8}{check.name:<14}{check.detail}" + (f"  ->  {check.remedy}" if not check.ok else ""))
    return 0 if all(check.ok or not check.required for check in checks) else 1


def examine() -> Iterator[Check]:
    """All checks, in the order in which they are printed."""
    yield Check("python", sys.version_info >= (3, 11), platform.python_version(), "install Python 3.11 or newer")
    yield Check("cpu", True, f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, {platform.system()}")
    yield from _torch()
    yield _weights()
    yield _models()
    yield _ffmpeg()
    yield _disk(Path("outputs"))


def _torch() -> Iterator[Check]:
    package = _package("torch", "pip install torch==2.13.0")
    yield package
    if not package.ok:
        return
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        memory = f"{properties.total_memory / 2**30:.0f} GiB"
        yield Check("cuda", True, f"{properties.name}, {memory}, CUDA {torch.version.cuda}", required=False)
    else:
        reason = "torch has no CUDA" if torch.version.cuda is None else f"CUDA {torch.version.cuda}, but no usable GPU"
        yield Check("cuda", False, reason, "not needed; with an NVIDIA GPU install its driver and a CUDA torch", False)
    from sds3d.native import cpu as native

    status = native.status()
    remedy = "apt-get install g++ (runs work without it, many times slower)"
    yield Check("native", status.path is not None, f"{status.how}: {status.reason}", remedy, required=False)
    yield _cuda_kernels(torch.cuda.is_available())
    from sds3d.renderers import OPTIONAL_PACKAGES

    for name, remedy in OPTIONAL_PACKAGES.items():
        yield _package(name, remedy, required=False)


def _cuda_kernels(has_gpu: bool) -> Check:
    """How the kernels of each unit are loaded on the GPU; without a GPU, whether the package contains them."""
    from sds3d.native import cuda as cuda_kernels
    from sds3d.native import cuda_build

    found = {}
    for unit in cuda_build.UNITS:
        if has_gpu:
            status = cuda_kernels.status(unit, 0)
            found[unit] = (status.how, status.reason)
        else:
            try:
                found[unit] = ("prebuilt", cuda_kernels.prebuilt_path(unit).name)
            except OSError as error:
                found[unit] = ("missing", str(error))
    detail = " | ".join(f"{unit} {how}: {reason}" for unit, (how, reason) in found.items())
    if has_gpu:
        remedy = "install the torch of pypi.org, which brings NVRTC, or sds3d again where nvcc is"
    else:
        detail += " | no GPU to load them on"
        remedy = "not needed without a GPU; with one, NVRTC compiles them on first use"
    return Check("cuda kernels", all(how != "missing" for how, _ in found.values()), detail, remedy, required=False)


def _package(name: str, remedy: str, required: bool = True) -> Check:
    try:
        return Check(name, True, version(name), remedy, required)
    except PackageNotFoundError:
        return Check(name, False, "not installed", remedy, required)


def _weights() -> Check:
    from sds3d.errors import UserError
    from sds3d.priors.weights import POCKET, read_manifest, verify

    try:
        verify(POCKET)
    except UserError as error:
        problem, _, remedy = str(error).rpartition("; ")
        return Check("weights", False, problem, remedy)
    return Check("weights", True, f"pocket prior, {len(read_manifest(POCKET))} files, sha256 as listed")


def _models() -> Check:
    from sds3d.priors.known import KNOWN, find_local, hub_cache, is_offline

    here = ", ".join(model.name for model in KNOWN if find_local(model)) or "none of the known ones"
    line = "offline, HF_HUB_OFFLINE is set" if is_offline() else "fetched on request"
    return Check("models", True, f"{here} in {hub_cache()}; {line}", required=False)


def _ffmpeg() -> Check:
    """Whether a film can be written, found out by writing one."""
    from sds3d.errors import UserError
    from sds3d.imaging.film import write_film

    remedy = "pip install imageio-ffmpeg, and unset IMAGEIO_FFMPEG_EXE"
    with TemporaryDirectory() as folder:
        try:
            write_film([bytes(16 * 16 * 3)] * 2, (16, 16), Path(folder) / "film.mp4", patience=10.0)
        except UserError as error:
            return Check("ffmpeg", False, str(error).partition(";")[0], remedy)
    return Check("ffmpeg", True, "writes MP4 films")


def _disk(folder: Path) -> Check:
    from sds3d.files import free_bytes, megabytes

    free = free_bytes(folder)
    detail = f"{megabytes(free)} free for {folder.absolute()}"
    return Check("disk", free >= MIN_FREE, detail, f"make room: a run needs {megabytes(int(MIN_FREE))}")
