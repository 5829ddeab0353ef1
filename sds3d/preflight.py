"""What a run needs and can be known to be missing before it begins: its priors, and room for them on the GPU."""

from __future__ import annotations

from sds3d.config import Config, PocketConfig, PriorConfig, RunPriorConfig
from sds3d.errors import UserError
from sds3d.priors.known import existing_path, locate


def preflight(cfg: Config) -> None:
    """UserError with all that is missing, or with the memory that is; writes nothing.

    Memory is asked for only where it can be short: the pocket prior fits on any GPU.
    """
    priors = named_priors(cfg)
    problems = [problem for prior, key in priors.items() if (problem := _missing(prior, key))]
    if problems:
        raise UserError("; ".join(problems))
    if all(isinstance(prior, PocketConfig) for prior in priors):
        return
    from sds3d.devices import resolve_device

    if resolve_device(cfg.device).type == "cuda":
        _check_room(cfg)


def named_priors(cfg: Config) -> dict[PriorConfig, str]:
    """The priors that some stage asks, with the key that names each first."""
    priors: dict[PriorConfig, str] = {}
    for index, stage in enumerate(cfg.stages):
        if isinstance(stage.prior, RunPriorConfig):
            priors.setdefault(cfg.prior, "prior.path")
        else:
            priors.setdefault(stage.prior, f"stages.{index}.prior.path")
    return priors


def _missing(prior: PriorConfig, key: str) -> str | None:
    """Why `prior` cannot be found, or None."""
    if isinstance(prior, PocketConfig):
        if not prior.path or existing_path(prior.path):
            return None
        return f"{key}: {prior.path}: no such folder; expected one that `sds3d prior train` made"
    try:
        locate(prior.path, key)
    except UserError as error:
        return str(error)
    return None


def _check_room(cfg: Config) -> None:
    """Refuses what is sure not to fit; the margin of an estimate is no reason to."""
    from sds3d.estimate import CONTEXT, GIB, estimate, gpu_memory

    stage = estimate(cfg, "cuda").largest
    gpu = gpu_memory()
    if stage.needed - CONTEXT <= gpu.free:
        return
    index = cfg.stages.index(next(other for other in cfg.stages if other.name == stage.name))
    raise UserError(
        f"stages.{index}: {stage.name} needs about {stage.needed / GIB:.1f} GiB of GPU memory for {stage.num_images} "
        f"images at once, {gpu.name} has {gpu.free / GIB:.1f} GiB free; lower stages.{index}.num_orbits, encode fewer "
        "images at once with vae_batch=1 of its prior, or see `sds3d estimate` for what takes how much"
    )
