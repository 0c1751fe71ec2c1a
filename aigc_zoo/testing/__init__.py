"""The promises that a plugin makes, as checks: one list, for `zoo check`, for pytest and for Python.

An author's whole test file::

    from aigc_zoo.testing import parametrize_with_checks

    @parametrize_with_checks("aigc-zoo-acme", expected_failures={"R-RESUME": "stateful sampler, acme#12"})
    def test_conformance(check):
        check()

Importing this imports neither torch nor pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aigc_zoo.testing.checks import TIERS, Check, CheckFailed, Result, Tier, all_checks, check, judge
from aigc_zoo.testing.subjects import Case, cases_of

__all__ = [
    "TIERS",
    "Case",
    "Check",
    "CheckFailed",
    "Result",
    "Tier",
    "all_checks",
    "check",
    "list_cases",
    "parametrize_with_checks",
    "run_cases",
    "run_checks",
]


def list_cases(
    reference: str | Path | None = None,
    *,
    tiers: Iterable[Tier] = TIERS,
    expected_failures: Mapping[str, str] | None = None,
) -> list[Case]:
    """Every check of what `reference` means: a distribution, a component's id, a file `plugin.py`, None for all.

    `expected_failures` maps a check's id, or "ID subject", to the reason why it fails; one that passes is a failure
    then. Raises ConfigError for a name that is not installed.
    """
    from aigc_zoo.plugins import catalogue

    tiers = tuple(tier for tier in TIERS if tier in tuple(tiers))
    if reference is not None and str(reference).endswith(".py"):
        path = Path(reference).absolute()
        return cases_of(catalogue([path]), path.name, tiers=tiers, expected=expected_failures)
    return cases_of(catalogue(), None if reference is None else str(reference), tiers=tiers, expected=expected_failures)


def run_cases(cases: Iterable[Case]) -> Iterator[Result]:
    """The result of each, as it is known."""
    return map(judge, cases)


def run_checks(
    reference: str | Path | None = None,
    *,
    fast: bool = False,
    expected_failures: Mapping[str, str] | None = None,
) -> list[Result]:
    """All results of `zoo check REFERENCE`, which may be a project's folder or a wheel as well; `fast` needs no torch.

    The plugin keeps its promises where no result is `bad`.
    """
    from aigc_zoo.testing.projects import check_project, is_project

    tiers: tuple[Tier, ...] = ("static",) if fast else TIERS
    if reference is not None and is_project(reference):
        assert not expected_failures, "a project declares its expected failures in its manifest"
        return check_project(Path(reference), fast=fast)
    return list(run_cases(list_cases(reference, tiers=tiers, expected_failures=expected_failures)))


def parametrize_with_checks(
    reference: str | Path,
    *,
    expected_failures: Mapping[str, str] | None = None,
    tiers: Iterable[Tier] = TIERS,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a test of each check: the decorated function takes `check` and calls it.

    A failure that is declared is an xfail, one that passes against its declaration fails, and what this machine has no
    device for is skipped. Arguments are those of `list_cases`.
    """
    import pytest

    cases = list_cases(reference, tiers=tiers, expected_failures=expected_failures)
    return pytest.mark.parametrize("check", [pytest.param(case, id=case.name.replace(" ", "-")) for case in cases])
