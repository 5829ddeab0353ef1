"""--prior PATH_OR_NAME: the config overrides that select the prior, and the preset for it."""

from __future__ import annotations

from pathlib import Path

HELP = "a known model (`sds3d prior list`), a checkpoint, a folder, or pocket, which ships with sds3d"


def prior_overrides(given: str | None) -> list[str]:
    """The key=value overrides that select the prior `given`; empty for None."""
    if given is None:
        return []
    from sds3d.priors.kinds import prior_named

    cfg = prior_named(given, "--prior")
    return [f"prior.kind={cfg.kind}", f"prior.path={cfg.path}"]


def preset_for(given: str | None) -> Path | None:
    """The name of the preset for the prior `given`, used if the user names none; None for the defaults."""
    if given is None:
        return None
    from sds3d.priors.kinds import kind_of, prior_named

    preset = kind_of(prior_named(given, "--prior")).preset
    return Path(preset) if preset else None
