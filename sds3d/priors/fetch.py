"""Known models from the hub of Hugging Face to its cache, when the user says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sds3d.errors import UserError
from sds3d.files import free_bytes, megabytes
from sds3d.priors.known import TOKENIZER, KnownModel, Source, find_here, hub_cache, is_offline, locate, locate_tokenizer
from sds3d.priors.weights import damages, known_digests


def fetch(model: KnownModel, note: Callable[[str], object]) -> Path:
    """The folder or file of `model`, fetched if it is not here; what came before is kept when the line breaks.

    `note` is told what comes from where. Repositories are tried in order, as they hold the same files.
    """
    found = find_here(model)
    if found is None:
        note(f"{model.name}, licence: {model.licence}")
        try:
            folder = _fetch_source(model.sources[0], note)
        except UserError as error:
            agree = f"agree to its licence on the page of {model.sources[0].repos[0]}, run `hf auth login`, then again"
            raise UserError(f"{model.name}: {error}" + (f"; {agree}" if model.gated else "")) from error
        damaged = damages(known_digests(folder))
        if damaged:
            raise UserError(f"{'; '.join(damaged)}; delete it and run the same command again")
        found = locate(model.name)
    if found.is_file():
        try:
            locate_tokenizer()
        except UserError:
            _fetch_source(TOKENIZER, note)
    return found


def _fetch_source(source: Source, note: Callable[[str], object]) -> Path:
    """The snapshot of the first of the repositories that has all files."""
    if is_offline():
        raise UserError("HF_HUB_OFFLINE is set; unset it to fetch anything")
    free = free_bytes(hub_cache())
    if free < source.size:
        raise UserError(
            f"{megabytes(round(source.size))} needed, {megabytes(free)} free in {hub_cache()}; "
            "make room, or set HF_HOME to a folder on a larger disk"
        )
    failures = []
    for repo in source.repos:
        note(f"fetching {megabytes(round(source.size))} from {repo}")
        try:
            folder = _download(repo, source)
        except OSError as error:  # all that the hub, the line and the disk can do
            failures.append(f"{repo}: {' '.join(str(error).split())[:200]}")
            continue
        missing = source.missing(folder)
        if not missing:
            return folder
        failures.append(f"{repo}: it has no {', '.join(missing)}")
    raise UserError(f"could not be fetched: {'; '.join(failures)}")


def _download(repo: str, source: Source) -> Path:
    """The snapshot of `repo` in the cache; of names that will do as well, the first that the repository has."""
    from huggingface_hub import snapshot_download

    folder: Path | None = None
    wanted = source.files
    for choice in range(max(map(len, wanted))):
        patterns = [names[choice] for names in wanted if choice < len(names)]
        folder = Path(snapshot_download(repo, allow_patterns=patterns))
        wanted = tuple(names for names in wanted if not any((folder / name).is_file() for name in names))
        if not wanted:
            break
    assert folder is not None, "a source names files"
    return folder
