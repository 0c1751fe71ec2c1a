"""What a check is, how it is registered, and what became of it. Imports no torch."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from aigc_zoo.spec import KINDS

if TYPE_CHECKING:
    from aigc_zoo.testing.subjects import Case

Tier = Literal["static", "cpu", "gpu"]
TIERS: tuple[Tier, ...] = ("static", "cpu", "gpu")
"""What a check needs: nothing but the standard library, torch on a CPU, or a CUDA device as well."""

PLUGIN = "plugin"
"""The kind of a check that looks at a whole distribution (or file) instead of one component."""

Status = Literal["passed", "failed", "expected", "unexpected", "warned", "skipped"]


class CheckFailed(AssertionError):
    """What a check found wrong, in a sentence or two that name the thing and the fix."""


@dataclass(frozen=True)
class Check:
    """One promise, and the function that holds a subject to it.

    `since` is the API number from which it binds: for a plugin that states an older one it only warns. `needs` is the
    tier; `kinds` are the kinds of component that it looks at, or `plugin`.
    """

    id: str
    needs: Tier
    kinds: tuple[str, ...]
    since: int
    function: Callable[[Any], str | None] = field(repr=False, compare=False)

    @property
    def summary(self) -> str:
        """What it holds a subject to: the first paragraph of its docstring."""
        return " ".join((self.function.__doc__ or "").partition("\n\n")[0].split())


@dataclass(frozen=True)
class Result:
    """What became of a check: `reason` says why, `note` what a check that passed could not look at."""

    check: str
    subject: str
    status: Status
    reason: str = ""
    seconds: float = 0.0

    @property
    def bad(self) -> bool:
        """Whether the plugin does not keep its promise: it failed, or it passed where a failure was declared."""
        return self.status in ("failed", "unexpected")


_REGISTRY: dict[str, Check] = {}
_MODULES: Mapping[Tier, tuple[str, ...]] = {
    "static": ("static",),
    "cpu": ("networks", "parts", "data", "games"),
    "gpu": ("devices",),
}


def check(
    id: str, *, needs: Tier, kinds: tuple[str, ...], since: int = 1
) -> Callable[[Callable[[Any], str | None]], Callable[[Any], str | None]]:
    """Registers a function as the check `id`. It raises `CheckFailed`, or returns a note or nothing."""
    assert set(kinds) <= {*KINDS, PLUGIN}, kinds

    def register(function: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
        assert id not in _REGISTRY, f"there are two checks {id}"
        _REGISTRY[id] = Check(id, needs, kinds, since, function)
        return function

    return register


def all_checks(tiers: tuple[Tier, ...] = TIERS) -> list[Check]:
    """Every check of these tiers, in the order of the tiers; torch is imported only for the last two."""
    for tier in tiers:
        for module in _MODULES[tier]:
            import_module(f"aigc_zoo.testing.{module}")
    found = [one for one in _REGISTRY.values() if one.needs in tiers]
    return sorted(found, key=lambda one: TIERS.index(one.needs))


def judge(case: Case) -> Result:
    """Runs one check on one subject; whatever it raises is an answer, never the end of the others."""
    from time import perf_counter

    began = perf_counter()
    reason, failed = "", False
    skipped = case.unavailable()
    if skipped:
        return Result(case.check.id, case.subject.label, "skipped", skipped)
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reason = case.check.function(case.subject) or ""
    except KeyboardInterrupt:
        raise
    except CheckFailed as error:
        reason, failed = str(error), True
    except BaseException as error:  # SystemExit, too: a plugin's code runs here
        from aigc_zoo.errors import ZooError, in_a_line

        text = " ".join(str(error).split())
        reason, failed = text if isinstance(error, ZooError) else f"it raises {in_a_line(error)}", True
    return Result(case.check.id, case.subject.label, *_verdict(case, failed, reason), perf_counter() - began)


def _verdict(case: Case, failed: bool, reason: str) -> tuple[Status, str]:
    """Status and reason, once declared failures and the plugin's API number are taken into account."""
    declared = case.expected
    if declared is None:
        if failed and case.check.since > case.subject.api:
            return "warned", f"{reason} (binding from ZOO_API = {case.check.since} on)"
        return ("failed", reason) if failed else ("passed", reason)
    if failed:
        return "expected", f"{declared} ({reason})"
    return "unexpected", f"it passes, though it is declared to fail ({declared}): remove the declaration"
