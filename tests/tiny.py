"""First-party recipes with networks so small that many of them train in a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aigc_zoo.game import Recipe
from aigc_zoo.options import build, options_of, resolve
from aigc_zoo.plugins import catalogue

RECIPES = tuple(
    entry.name for entry in catalogue().items("recipe", "zoo/*") if "gan" in (entry.name, entry.component.extends)
)
"""The two-player recipes: `gan` and those that extend it."""
LOSSES = tuple(entry.name for entry in catalogue().items("loss", "zoo/*"))
PENALTIES = tuple(entry.name for entry in catalogue().items("penalty", "zoo/*"))

SMALL: Mapping[str, Any] = {"generator.width": 4, "discriminator.width": 4, "latent": 8, "lr": 1e-3}
STILL: Mapping[str, Any] = {"discriminator.dropout": 0.0, "discriminator.input_dropout": 0.0}
"""Options that switch off dropout, whose noise is drawn inside the network."""
APART: Mapping[str, Any] = {"generator.norm": "none", "discriminator.norm": "none"}
"""Options that switch off batch normalization."""


def small(name: str, *, apart: bool = False, **given: Any) -> Recipe:
    """Build the recipe `zoo/NAME` without a preset, small and without dropout; with `apart`, without normalization.

    `given` are further options, with two underscores instead of a dot: `penalty__gp__weight=1.0`.
    """
    values = {key.replace("__", "."): value for key, value in given.items()}
    known = {option.key for option in options_of(catalogue(), f"zoo/{name}", values, data="nothing")}
    wanted = {**SMALL, **STILL, **(APART if apart else {})}
    chosen = {key: value for key, value in wanted.items() if key in known} | values
    return build(catalogue(), resolve(catalogue(), f"zoo/{name}", data="nothing", given=chosen))
