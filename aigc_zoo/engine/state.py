"""Nested state as flat tensors and JSON, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from aigc_zoo.engine.ranks import Ranks

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
    """The inverse of `flatten`, in copies, but that keys are text and sequences are lists."""
    if isinstance(rest, Mapping):
        if rest.keys() == {_TENSOR}:
            return tensors[rest[_TENSOR]].clone()  # an optimiser keeps what it is given, and writes to it
        return {name: restore(inner, tensors) for name, inner in rest.items()}
    if isinstance(rest, list):
        return [restore(inner, tensors) for inner in rest]
    return rest


def like(current: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """An optimiser's saved state in the types of its current one: integer keys, tuples, rates on their device."""

    def as_is(now: Any, then: Any) -> Any:
        return tuple(then) if isinstance(now, tuple) else then.to(now.device) if isinstance(now, Tensor) else then

    groups = [
        {name: as_is(now, group[name]) for name, now in ours.items()}
        for ours, group in zip(current["param_groups"], saved["param_groups"], strict=True)
    ]
    return {"state": {int(i): entry for i, entry in saved["state"].items()}, "param_groups": groups}


def laid_out(value: Tensor | None, weight: Tensor) -> Tensor | None:
    """The value with the strides of the weight.

    A fused optimiser walks through weights, gradients and moments in memory, side by side; on the CPU it does not check
    that their strides agree and moves the wrong weights where they do not (torch 2.15). `backward` takes care of that
    for gradients, `autograd.grad` does not: that of a gradient penalty by a convolution is laid out its own way.
    """
    if value is None or value.stride() == weight.stride():
        return value
    return torch.empty_like(weight).copy_(value)


def align(optimizer: torch.optim.Optimizer) -> None:
    """Moments from a file have the strides that the file gives them."""
    for weight, entry in optimizer.state.items():
        for name, value in entry.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                entry[name] = laid_out(value, weight)


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def tensors(module: nn.Module) -> Iterator[Tensor]:
    """Weights, then buffers."""
    yield from module.parameters()
    yield from module.buffers()


class Place(NamedTuple):
    """A buffer by its name, and what its module keeps it in: a module may replace it, so it is looked up there."""

    name: str
    held: Mapping[str, Tensor | None]
    key: str

    @property
    def now(self) -> Tensor:
        value = self.held[self.key]
        assert value is not None
        return value


def places(net: nn.Module) -> list[Place]:
    """All buffers, in the order of `net.buffers()`. Looked up here they cost a tenth of a walk through the modules."""
    owners = dict(net.named_modules(remove_duplicate=False))
    return [
        Place(name, owners[name.rpartition(".")[0]]._buffers, name.rpartition(".")[2])
        for name, _ in net.named_buffers()
    ]


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
