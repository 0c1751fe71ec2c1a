"""The registry of conformance checks, and what a check returns. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from aigc_zoo.spec import KINDS

Tier = Literal["static", "cpu", "gpu"]
TIERS: tuple[Tier, ...] = ("static", "cpu", "gpu")
"""The requirements of a check: the standard library only, torch on a CPU, or torch on a CUDA device."""

PLUGIN = "plugin"
"""The kind of a check that is run once for a whole distribution or file instead of once for each component."""

Status = Literal["passed", "failed", "expected", "unexpected", "warned", "skipped"]


class CheckFailed(AssertionError):
    """Raised by a check that fails. The message names the fault and its fix in one or two sentences."""


@dataclass(frozen=True)
class Check:
    """A conformance check: one requirement on a plugin, and the function that tests it.

    `needs` is its tier; `kinds` are the kinds of component that it applies to, or `plugin`. `since` is the API number
    from which it is binding: for a plugin that states an older number it only warns.
    """

    id: str
    needs: Tier
    kinds: tuple[str, ...]
    since: int
    function: Callable[[Any], str | None] = field(repr=False, compare=False)

    @property
    def summary(self) -> str:
        """The requirement: the first paragraph of the function's docstring."""
        return " ".join((self.function.__doc__ or "").partition("\n\n")[0].split())


@dataclass(frozen=True)
class Result:
    """The result of one check on one subject.

    `reason` says why it did not pass; for a check that passed it is empty or a note on what was tested. `traceback` is
    that of an exception in the plugin or under a failure, otherwise empty.
    """

    check: str
    subject: str
    status: Status
    reason: str = ""
    seconds: float = 0.0
    traceback: str = field(default="", repr=False, compare=False)

    @property
    def bad(self) -> bool:
        """True if the check failed, or if it passed although a failure was declared."""
        return self.status in ("failed", "unexpected")


_REGISTRY: dict[str, Check] = {}
_MODULES: Mapping[Tier, tuple[str, ...]] = {
    "static": ("manifest",),
    "cpu": (
        *("networks", "losses", "penalties", "augmentations", "extractors", "datasets", "recipes", "samples", "runs"),
        *("plain_networks", "modalities", "metrics"),
    ),
    "gpu": ("gpu",),
}


def check(
    id: str, *, needs: Tier, kinds: tuple[str, ...], since: int = 1
) -> Callable[[Callable[[Any], str | None]], Callable[[Any], str | None]]:
    """Decorator that registers a function as the check `id`.

    The function receives a subject. It raises `CheckFailed`, or returns None or a note.
    """
    assert set(kinds) <= {*KINDS, PLUGIN}, kinds

    def register(function: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
        assert id not in _REGISTRY, f"check {id} is registered twice"
        _REGISTRY[id] = Check(id, needs, kinds, since, function)
        return function

    return register


def all_checks(tiers: tuple[Tier, ...] = TIERS) -> list[Check]:
    """All checks of these tiers, in the order of the tiers. Only `cpu` and `gpu` import torch."""
    for tier in tiers:
        for module in _MODULES[tier]:
            import_module(f"aigc_zoo.testing.{module}")
    checks = [one for one in _REGISTRY.values() if one.needs in tiers]
    return sorted(checks, key=lambda one: TIERS.index(one.needs))
