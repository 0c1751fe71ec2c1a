"""Conformance checks for plugins, run by `zoo check`, by pytest or from Python.

A plugin's whole test file::

    from aigc_zoo.testing import parametrize_with_checks

    @parametrize_with_checks("aigc-zoo-acme", expected_failures={"R-RESUME": "stateful sampler, acme#12"})
    def test_conformance(check):
        check()

Importing this package imports neither torch nor pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aigc_zoo.testing.checks import TIERS, Check, CheckFailed, Result, Tier, all_checks, check
from aigc_zoo.testing.runner import Case, cases_of, run_check

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
    """All checks of a distribution, a component's id or a file `plugin.py`; None means everything that is installed.

    `expected_failures` maps a check's id, or "ID subject", to the reason why it fails. A check that passes although it
    is listed there counts as a failure. Raises ConfigError for a name that is not installed.
    """
    from aigc_zoo.plugins import catalogue

    tiers = tuple(tier for tier in TIERS if tier in tuple(tiers))
    if reference is not None and str(reference).endswith(".py"):
        path = Path(reference).absolute()
        return cases_of(catalogue([path]), path.name, tiers=tiers, expected=expected_failures)
    return cases_of(catalogue(), None if reference is None else str(reference), tiers=tiers, expected=expected_failures)


def run_cases(cases: Iterable[Case]) -> Iterator[Result]:
    """Runs the cases one after the other and yields each result."""
    return map(run_check, cases)


def run_checks(
    reference: str | Path | None = None,
    *,
    fast: bool = False,
    expected_failures: Mapping[str, str] | None = None,
) -> list[Result]:
    """All results of `zoo check REFERENCE`, where REFERENCE may also be a project's directory or a wheel.

    `fast` runs only the checks that need no torch. The plugin conforms if no result is `bad`.
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
    """Parametrizes a pytest test with all checks of a plugin. The test function takes `check` and calls it.

    A declared failure is an xfail, a check that passes despite its declaration fails, and a check that needs a device
    that this machine lacks is skipped. For the arguments see `list_cases`.
    """
    import pytest

    cases = list_cases(reference, tiers=tiers, expected_failures=expected_failures)
    return pytest.mark.parametrize("check", [pytest.param(case, id=case.name.replace(" ", "-")) for case in cases])
