"""Every recipe that the repository ships, with networks small enough to play many of them in a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aigc_zoo.game import Recipe
from aigc_zoo.options import build, options_of, resolve
from aigc_zoo.plugins import catalogue

RECIPES = tuple(entry.name for entry in catalogue().items("recipe", "zoo/*"))
LOSSES = tuple(entry.name for entry in catalogue().items("loss", "zoo/*"))
PENALTIES = tuple(entry.name for entry in catalogue().items("penalty", "zoo/*"))

SMALL: Mapping[str, Any] = {"generator.width": 4, "discriminator.width": 4, "latent": 8, "lr": 1e-3}
STILL: Mapping[str, Any] = {"discriminator.dropout": 0.0, "discriminator.input_dropout": 0.0}
"""Without dropout, whose noise is the network's own."""
APART: Mapping[str, Any] = {"generator.norm": "none", "discriminator.norm": "none"}
"""Without statistics of the batch."""


def small(name: str, *, apart: bool = False, **given: Any) -> Recipe:
    """The recipe `zoo/NAME` without a preset, small and without dropout; `given` are its options.

    Dots in their names are written as two underlines: `penalty__gp__weight=1.0`.
    """
    values = {key.replace("__", "."): value for key, value in given.items()}
    known = {option.key for option in options_of(catalogue(), f"zoo/{name}", values, data="nothing")}
    wanted = {**SMALL, **STILL, **(APART if apart else {})}
    chosen = {key: value for key, value in wanted.items() if key in known} | values
    return build(catalogue(), resolve(catalogue(), f"zoo/{name}", data="nothing", given=chosen))
