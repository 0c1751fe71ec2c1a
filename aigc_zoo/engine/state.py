"""Nested state as flat tensors and JSON, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aigc_zoo.engine.dist import Ranks

_TENSOR = "$tensor"


def flatten(value: Any, key: str) -> tuple[dict[str, Tensor], Any]:
    """The tensors of nested mappings and sequences by path, and the rest as JSON that refers to them."""
    if isinstance(value, Tensor):
        return {key: value}, {_TENSOR: key}
    if isinstance(value, Mapping):
        found: dict[str, Tensor] = {}
        rest = {}
        for name, inner in value.items():
            tensors, rest[str(name)] = flatten(inner, f"{key}/{name}")
            found |= tensors
        return found, rest
    if isinstance(value, list | tuple):
        parts = [flatten(inner, f"{key}/{i}") for i, inner in enumerate(value)]
        return {k: t for tensors, _ in parts for k, t in tensors.items()}, [part for _, part in parts]
    return {}, value


def restore(rest: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `flatten`, but that keys are text and sequences are lists."""
    if isinstance(rest, Mapping):
        if rest.keys() == {_TENSOR}:
            return tensors[rest[_TENSOR]]
        return {name: restore(inner, tensors) for name, inner in rest.items()}
    if isinstance(rest, list):
        return [restore(inner, tensors) for inner in rest]
    return rest


def like(current: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """An optimiser's saved state in the types of its current one: integer keys, tuples where tuples are."""
    groups = [
        {k: tuple(group[k]) if isinstance(v, tuple) else group[k] for k, v in ours.items()}
        for ours, group in zip(current["param_groups"], saved["param_groups"], strict=True)
    ]
    return {"state": {int(i): entry for i, entry in saved["state"].items()}, "param_groups": groups}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def tensors(module: nn.Module) -> Iterator[Tensor]:
    """Weights, then buffers."""
    yield from module.parameters()
    yield from module.buffers()


def per_rank(buffers: Mapping[str, Tensor], ranks: Ranks) -> dict[str, Tensor]:
    """The buffers of ranks 1, 2, ... that differ from rank 0's (statistics of normalisation), as "rank1/NAME"."""
    if ranks.world == 1:
        return {}
    found = {}
    for name, buffer in buffers.items():
        first, *others = ranks.gather(buffer)
        for rank, other in enumerate(others, 1):
            if not torch.equal(first, other):
                found[f"rank{rank}/{name}"] = other
    return found
