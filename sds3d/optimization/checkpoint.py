"""What a checkpoint holds: the tensors of everything that has a state, each under the name of its owner."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sds3d.interfaces import Stateful


def collect(owners: Mapping[str, object]) -> dict[str, Tensor]:
    """The tensors of all `owners` that are Stateful, as "owner.name"."""
    stateful = {name: owner for name, owner in owners.items() if isinstance(owner, Stateful)}
    return {f"{name}.{key}": tensor for name, owner in stateful.items() for key, tensor in owner.tensors().items()}


def restore(owner: object, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Brings `owner`, if it is Stateful, to what `collect` returned for it under `name`."""
    if isinstance(owner, Stateful):
        prefix = f"{name}."
        owner.restore({key.removeprefix(prefix): x for key, x in tensors.items() if key.startswith(prefix)})
