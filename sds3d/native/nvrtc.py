"""CUDA source to machine code by NVRTC, the compiler that comes with a CUDA build of torch."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from functools import cache
from pathlib import Path

import torch


@cache
def library() -> ctypes.CDLL:
    """NVRTC of the CUDA version that torch was built with; OSError if there is none.

    In this order: the one that is already in this process, the one beside torch (NVIDIA's wheels), the loader's.
    """
    if torch.version.cuda is None:
        raise OSError("this torch was built without CUDA, so no NVRTC comes with it")
    packages = Path(torch.__file__).parents[1]
    folders = [*packages.glob("nvidia/*/lib"), packages / "torch" / "lib"]
    major = torch.version.cuda.split(".")[0]
    for folder in folders:  # NVRTC opens this by its bare name, and NVIDIA's wheels do not set its path
        for path in folder.glob(f"libnvrtc-builtins.so.{major}.*"):
            ctypes.CDLL(str(path))
    name = f"libnvrtc.so.{major}"
    beside = [str(folder / name) for folder in folders if (folder / name).is_file()]
    try:
        return ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return ctypes.CDLL(beside[0] if beside else name)


def target(capability: int) -> str:
    """`--gpu-architecture` for a device of compute capability `capability` / 10: "sm_90", or "compute_120" (PTX).

    PTX of the newest architecture that this NVRTC knows is for a device that is newer than NVRTC; RuntimeError if the
    device is too old.
    """
    count = c_int()
    _check(library().nvrtcGetNumSupportedArchs(byref(count)), "nvrtcGetNumSupportedArchs")
    known = (c_int * count.value)()
    _check(library().nvrtcGetSupportedArchs(known), "nvrtcGetSupportedArchs")
    older = [x for x in known if x <= capability]
    if not older:
        raise RuntimeError(f"NVRTC compiles for sm_{min(known)} and newer, the device is sm_{capability}")
    return f"sm_{capability}" if capability in older else f"compute_{max(older)}"


def compile_sources(sources: dict[str, str], architecture: str, flags: Sequence[str]) -> bytes:
    """A cubin for an `architecture` like "sm_90", PTX for one like "compute_120".

    `sources` holds texts by file name, the program first, then the headers that it may include by these names.
    RuntimeError with the compiler's message if it fails.
    """
    (name, program), *headers = [(key.encode(), text.encode()) for key, text in sources.items()]
    names = (c_char_p * len(headers))(*(key for key, _ in headers))
    texts = (c_char_p * len(headers))(*(text for _, text in headers))
    handle = c_void_p()
    create = library().nvrtcCreateProgram
    _check(create(byref(handle), program, name, len(headers), texts, names), "nvrtcCreateProgram")
    try:
        options = [x.encode() for x in (f"--gpu-architecture={architecture}", *flags)]
        failed = library().nvrtcCompileProgram(handle, len(options), (c_char_p * len(options))(*options))
        if failed:
            log = " ".join(_read(handle, "ProgramLog").rstrip(b"\0").decode(errors="replace").split())
            raise RuntimeError(f"NVRTC, {name.decode()} for {architecture}: {_words(failed)}: {log[:500]}")
        return _read(handle, "CUBIN" if architecture.startswith("sm_") else "PTX")
    finally:
        library().nvrtcDestroyProgram(byref(handle))


def _read(program: c_void_p, what: str) -> bytes:
    size = c_size_t()
    _check(getattr(library(), f"nvrtcGet{what}Size")(program, byref(size)), f"nvrtcGet{what}Size")
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(library(), f"nvrtcGet{what}")(program, buffer), f"nvrtcGet{what}")
    return buffer.raw


def _check(code: int, what: str) -> None:
    if code:
        raise RuntimeError(f"NVRTC, {what}: {_words(code)}")


def _words(code: int) -> str:
    describe = library().nvrtcGetErrorString
    describe.restype = c_char_p
    return describe(code).decode()
