"""The networks of a recipe, built from a seed and checked against the names that the recipe uses."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Nets, Recipe, Spec
from aigc_zoo.random import seeded

Module = TypeVar("Module", bound=nn.Module)


def build_networks(recipe: Recipe, spec: Spec, seed: int) -> Nets:
    """Build the networks of a recipe on the CPU in float32, as a function of the seed.

    Raises ConfigError with the message of a network that refuses `spec` by a ValueError.
    """
    with seeded(torch.device("cpu"), seed, "networks"):
        try:
            return Nets(recipe.networks(spec))
        except ValueError as error:
            raise ConfigError(str(error)) from error


def place(net: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Move a network to a device and a floating-point dtype, unless it is there: `Module.to` replaces its parameters
    even then, which fake tensors do not allow (live_bytes.py)."""
    tensors = (*net.parameters(), *net.buffers())
    if any(t.device != device or (t.is_floating_point() and t.dtype != dtype) for t in tensors):
        net.to(device, dtype)


def check_names(recipe: Recipe, nets: Nets) -> None:
    """Raise ConfigError if a player controls no parameters, or if the recipe names a network that does not exist."""
    for name, player in recipe.players.items():
        for net in player.controls:
            if net not in nets:
                raise ConfigError(f"player {name} controls {net}, but the networks are {', '.join(nets)}")
        if not any(trainable(nets[net]) for net in player.controls):
            raise ConfigError(f"player {name} controls no weights: {', '.join(player.controls)} have none")
    known = {"generators": (*nets, *recipe.frozen), "ema": tuple(nets)}
    for role, names in (("generators", recipe.generators), ("ema", tuple(recipe.ema))):
        for net in names:
            if net not in known[role]:
                raise ConfigError(f"the recipe's {role} name {net}, but the networks are {', '.join(known[role])}")
    if both := [name for name in recipe.frozen if name in nets]:
        raise ConfigError(f"the recipe calls a network and a frozen one {both[0]}: give one of them another name")


def copied(net: Module) -> Module:
    """A deep copy of a network. A tensor with a graph that a module keeps as an attribute is copied without the graph:
    torch's older hooks for weight and spectral normalization keep the weight of the last forward pass so."""
    kept = [value for module in net.modules() for value in tree_leaves(dict(vars(module))) if isinstance(value, Tensor)]
    return copy.deepcopy(net, {id(value): value.detach().clone() for value in kept if not value.is_leaf})


def trainable(net: nn.Module) -> list[nn.Parameter]:
    """The parameters of a network that a player updates: those that require gradients."""
    return [parameter for parameter in net.parameters() if parameter.requires_grad]


def float_buffers(modules: Iterable[nn.Module]) -> list[Tensor]:
    """The float buffers of the modules themselves, read anew at each call as a module may replace them."""
    buffers = (buffer for module in modules for buffer in module.buffers(recurse=False))
    return [buffer for buffer in buffers if buffer.is_floating_point()]
