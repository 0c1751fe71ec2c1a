"""The state of a trainer as flat tensors and JSON: networks, EMA and optimizers, saved and loaded exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.game import Nets

Optimizers = Mapping[str, torch.optim.Optimizer]

_TENSOR = "$tensor"


# --- the state of a trainer -------------------------------------------------------------------------------------------


def collect(nets: Nets, ema: Nets, optimizers: Optimizers, ranks: Ranks) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return all tensors by name, "nets/...", "ema/...", "optimizer/...", "rank1/...", and the optimizers' scalars.

    Has to be called on every rank, as buffers that differ between ranks are gathered; the result of rank 0 is complete.
    """
    tensors = {f"nets/{key}": value for key, value in nets.state_dict().items()}
    tensors |= {f"ema/{key}": value for key, value in ema.state_dict().items()}
    scalars: dict[str, Any] = {}
    for name, optimizer in optimizers.items():
        found, scalars[name] = flatten(optimizer.state_dict(), f"optimizer/{name}")
        tensors |= found
    tensors |= per_rank(_named_buffers(nets, ema), ranks)
    return tensors, scalars


def load(
    nets: Nets,
    ema: Nets,
    optimizers: Optimizers,
    ranks: Ranks,
    tensors: Mapping[str, Tensor],
    scalars: Mapping[str, Any],
) -> None:
    """Copy what `collect` returned into networks, EMA and optimizers of the same recipe."""
    nets.load_state_dict(under("nets/", tensors))
    ema.load_state_dict(under("ema/", tensors))
    own = under(f"rank{ranks.rank}/", tensors)
    with torch.no_grad():
        for name, buffer in _named_buffers(nets, ema).items():
            if name in own:
                buffer.copy_(own[name])
    for name, optimizer in optimizers.items():
        saved = restore(scalars[name], tensors)
        optimizer.load_state_dict(match_types(optimizer.state_dict(), saved))
        match_optimizer_strides(optimizer)


def load_matching(nets: Nets, ema: Nets, tensors: Mapping[str, Tensor]) -> list[str]:
    """Copy the weights of every network whose parameter and buffer names and shapes match; return their names.

    A network's EMA is loaded too, from the weights where the other run kept no EMA.
    """
    given = under("nets/", tensors)
    loaded = []
    for name, net in nets.items():
        weights = under(f"{name}.", given)
        current = net.state_dict()
        if weights and weights.keys() == current.keys() and all(weights[k].shape == current[k].shape for k in weights):
            net.load_state_dict(weights)
            loaded.append(name)
            if name in ema:
                ema[name].load_state_dict(under(f"ema/{name}.", tensors) or weights)
    return loaded


def per_rank(buffers: Mapping[str, Tensor], ranks: Ranks) -> dict[str, Tensor]:
    """Gather the buffers of ranks 1, 2, ... that differ from rank 0's (batch statistics), as "rank1/NAME"."""
    if ranks.world == 1:
        return {}
    differing = {}
    for name, buffer in buffers.items():
        first, *others = ranks.gather(buffer)
        for rank, other in enumerate(others, 1):
            if not torch.equal(first, other):
                differing[f"rank{rank}/{name}"] = other
    return differing


def _named_buffers(nets: Nets, ema: Nets) -> dict[str, Tensor]:
    return {f"nets/{name}": buffer for name, buffer in nets.named_buffers()} | {
        f"ema/{name}": buffer for name, buffer in ema.named_buffers()
    }


# --- nested mappings as flat tensors and JSON -------------------------------------------------------------------------


def flatten(value: Any, key: str) -> tuple[dict[str, Tensor], Any]:
    """Split nested mappings and sequences into their tensors, named by path, and JSON that refers to these names."""
    if isinstance(value, Tensor):
        return {key: value}, {_TENSOR: key}
    if isinstance(value, Mapping):
        tensors: dict[str, Tensor] = {}
        rest = {}
        for name, inner in value.items():
            found, rest[str(name)] = flatten(inner, f"{key}/{name}")
            tensors |= found
        return tensors, rest
    if isinstance(value, list | tuple):
        items = [flatten(inner, f"{key}/{i}") for i, inner in enumerate(value)]
        return {k: t for found, _ in items for k, t in found.items()}, [item for _, item in items]
    return {}, value


def restore(rest: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `flatten`, with copied tensors; keys become strings and sequences become lists."""
    if isinstance(rest, Mapping):
        if rest.keys() == {_TENSOR}:
            return tensors[rest[_TENSOR]].clone()  # an optimizer keeps the tensors that it loads, and writes to them
        return {name: restore(inner, tensors) for name, inner in rest.items()}
    if isinstance(rest, list):
        return [restore(inner, tensors) for inner in rest]
    return rest


def match_types(current: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a restored optimizer state to the types of the current one: integer keys, tuples, `lr` on its device."""

    def convert(now: Any, then: Any) -> Any:
        return tuple(then) if isinstance(now, tuple) else then.to(now.device) if isinstance(now, Tensor) else then

    groups = [
        {name: convert(now, saved_group[name]) for name, now in group.items()}
        for group, saved_group in zip(current["param_groups"], saved["param_groups"], strict=True)
    ]
    return {"state": {int(i): entry for i, entry in saved["state"].items()}, "param_groups": groups}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with the prefix, with the prefix removed."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


# --- strides ----------------------------------------------------------------------------------------------------------


def match_strides(tensor: Tensor | None, parameter: Tensor) -> Tensor | None:
    """Return the tensor, of the parameter's shape or None, with the strides of the parameter.

    A fused optimizer walks through the memory of parameters, gradients and moments in parallel. On the CPU it does not
    check that their strides agree, and updates the wrong elements where they do not (torch 2.15). `backward` matches
    the strides of gradients, `autograd.grad` does not: a gradient penalty's gradient has those of the convolution.
    """
    if tensor is None or tensor.stride() == parameter.stride():
        return tensor
    return torch.empty_like(parameter).copy_(tensor)


def match_optimizer_strides(optimizer: torch.optim.Optimizer) -> None:
    """Give moments the strides of their parameters; those loaded from a file are contiguous."""
    for parameter, entry in optimizer.state.items():
        for name, value in entry.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                entry[name] = match_strides(value, parameter)


# --- buffers ----------------------------------------------------------------------------------------------------------


class BufferRef(NamedTuple):
    """A reference to a buffer by name: its module may replace the tensor, so `value` looks it up at every access."""

    name: str
    buffers: Mapping[str, Tensor | None]
    key: str

    @property
    def value(self) -> Tensor:
        """The current tensor."""
        value = self.buffers[self.key]
        assert value is not None
        return value


def buffer_refs(net: nn.Module) -> list[BufferRef]:
    """References to all buffers in the order of `net.buffers()`; reading them takes a tenth of walking the modules."""
    modules = dict(net.named_modules(remove_duplicate=False))
    return [
        BufferRef(name, modules[name.rpartition(".")[0]]._buffers, name.rpartition(".")[2])
        for name, _ in net.named_buffers()
    ]
