"""What a checkpoint holds: counts, and the tensors of everything that has a state, each under the name of its owner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor

from sds3d.interfaces import Stateful
from sds3d.optimization.guard import Guard

MAX_THREADS = 4096


def collect(owners: Mapping[str, object]) -> dict[str, Tensor]:
    """The tensors of all `owners` that are Stateful, as "owner.name"."""
    stateful = {name: owner for name, owner in owners.items() if isinstance(owner, Stateful)}
    return {f"{name}.{key}": tensor for name, owner in stateful.items() for key, tensor in owner.tensors().items()}


def restore(owner: object, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Brings `owner`, if it is Stateful, to what `collect` returned for it under `name`.

    ValueError for tensors of other names, types or shapes; only the first dimension, the number of splats, may differ.
    """
    if not isinstance(owner, Stateful):
        return
    prefix = f"{name}."
    found = {key.removeprefix(prefix): x for key, x in tensors.items() if key.startswith(prefix)}
    expected = owner.tensors()
    if expected and found.keys() != expected.keys():  # an estimator may have none before its first call
        raise ValueError(f"{name} has other tensors: {', '.join(sorted(found.keys() ^ expected.keys()))[:200]}")
    for key, tensor in expected.items():
        if _kind(found[key]) != _kind(tensor):
            raise ValueError(f"{name}.{key}: expected {_kind(tensor)}, got {_kind(found[key])}")
    owner.restore(found)


def check_state(state: Mapping[str, Any]) -> None:
    """ValueError unless the loop can use `state`, which is all of a checkpoint but its tensors."""
    for name, is_value in (("seconds", _is_time), ("guard", _is_count), ("skipped", _is_count)):
        table = state.get(name, {})
        if not isinstance(table, dict) or not all(map(is_value, table.values())):
            raise ValueError(f"its state has {name} of another version")
    if unknown := state.get("guard", {}).keys() - {field.name for field in fields(Guard)}:
        raise ValueError(f"its state has unknown counts: {', '.join(sorted(unknown))[:200]}")
    threads = state.get("threads", 1)
    if not isinstance(state.get("stage", ""), str) or not _is_count(threads) or not 1 <= threads <= MAX_THREADS:
        raise ValueError("its state has a stage or threads of another version")


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return (tensor.dtype, tensor.ndim, *tensor.shape[1:])


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e12  # type: ignore[operator]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 31
