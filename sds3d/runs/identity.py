"""The identity of a run: configs with the same result have the same hash."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from sds3d.config.schema import ASIDE, Config

SCHEMA = 2  # of checkpoints and hashes; a new number invalidates older checkpoints


def identity(value: Any) -> Any:
    """`value`, a config or a part of one, as plain mappings and lists, without the fields that are `aside`."""
    if is_dataclass(value):
        return {
            field.name: identity(getattr(value, field.name)) for field in fields(value) if not field.metadata.get(ASIDE)
        }
    return [identity(item) for item in value] if isinstance(value, tuple) else value


def config_hash(cfg: Config, prior_ids: Sequence[str] = ()) -> str:
    """Hex sha256 of all that the result depends on; `prior_ids` identify the weights of each stage's prior."""
    return hashlib.sha256(json.dumps([SCHEMA, [*prior_ids], identity(cfg)]).encode()).hexdigest()


def run_name(cfg: Config, prior_ids: Sequence[str] = ()) -> str:
    """A folder name from the prompt and the hash of the config: the same run has the same name."""
    return f"{slug(cfg.prompt) or 'asset'}-{config_hash(cfg, prior_ids)[:10]}"


def slug(text: str) -> str:
    """At most 48 of the characters a-z, 0-9 and - for a file name; may be empty."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:48].strip("-")
