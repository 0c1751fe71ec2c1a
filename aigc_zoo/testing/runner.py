"""Pairs checks with subjects and runs them. Imports no torch."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from time import perf_counter

from aigc_zoo.errors import ConfigError, ZooError, in_a_line
from aigc_zoo.plugins import Catalogue
from aigc_zoo.testing.checks import TIERS, Check, CheckFailed, Result, Status, Tier, all_checks
from aigc_zoo.testing.subjects import PluginSubject, Subject, plugins_of, subjects_of

NOT_FOR_FILES = ("S-HEAVY", "S-LICENCE", "S-REQUIRES", "S-TIME", "S-WHEEL")
"""Checks that are not run on a single file, which has no package metadata and keeps its networks in its manifest."""


@dataclass(frozen=True)
class Case:
    """One check of one subject. Calling it runs it as a pytest test."""

    check: Check
    subject: Subject
    expected: str | None = None

    @property
    def name(self) -> str:
        """The name in reports and declarations, such as `G-RANGE generator acme/unet`."""
        return f"{self.check.id} {self.subject.label}"

    def unavailable(self) -> str:
        """The reason why this machine cannot run it, or an empty string."""
        if self.check.needs != "gpu":
            return ""
        import torch

        return "" if torch.cuda.is_available() else "torch finds no CUDA device"

    def __call__(self) -> None:
        """Runs the check and reports to pytest: pass, fail, skip, xfail, or a FutureWarning."""
        import pytest

        result = run_check(self)
        if result.bad:
            text = "\n".join(filter(None, (f"{self.name}: {result.reason}", result.traceback)))
            pytest.fail(text, pytrace=False)  # pytest's own traceback would end in `run_check`
        if result.status == "skipped":
            pytest.skip(result.reason)
        if result.status == "expected":
            pytest.xfail(result.reason)
        if result.status == "warned":
            warnings.warn(f"{self.name}: {result.reason}", FutureWarning, stacklevel=1)


def run_check(case: Case) -> Result:
    """Runs one case. Every exception becomes a result, so that the other cases are run as well."""
    skipped = case.unavailable()
    if skipped:
        return Result(case.check.id, case.subject.label, "skipped", skipped)
    start = perf_counter()
    failed, trace = True, ""
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reason = case.check.function(case.subject) or ""
        failed = False
    except KeyboardInterrupt:
        raise
    except CheckFailed as error:
        reason = str(error)
        trace = _traceback(error.__cause__)
    except ZooError as error:
        reason, trace = " ".join(str(error).split()), _traceback(error)
    except BaseException as error:  # includes SystemExit, which a plugin's code may raise
        reason, trace = f"it raises {in_a_line(error)}", _traceback(error)
    return Result(case.check.id, case.subject.label, *_status(case, failed, reason), perf_counter() - start, trace)


def _traceback(error: BaseException | None) -> str:
    """The traceback of an exception and of its causes, without the frame of `run_check`; empty for None."""
    if error is None:
        return ""
    frames = error.__traceback__
    if frames is not None and frames.tb_frame.f_globals is globals():
        error = error.with_traceback(frames.tb_next)
    return "".join(traceback.format_exception(error)).rstrip()


def _status(case: Case, failed: bool, reason: str) -> tuple[Status, str]:
    """Status and reason, given the declared failures and the plugin's API number."""
    if case.expected is not None:
        if failed:
            return "expected", f"{case.expected} ({reason})"
        return "unexpected", f"it passes, but is declared to fail ({case.expected}): remove the declaration"
    if failed and case.check.since > case.subject.api:
        return "warned", f"{reason} (binding from ZOO_API = {case.check.since} on)"
    return ("failed" if failed else "passed"), reason


def cases_of(
    catalogue: Catalogue,
    reference: str | None,
    *,
    tiers: Sequence[Tier] = TIERS,
    expected: Mapping[str, str] | None = None,
) -> list[Case]:
    """All checks of the subjects that a reference names. `expected` adds to the failures that manifests declare.

    A key of `expected` is a check's id, or the id and the subject: "R-RESUME" or "R-RESUME recipe acme/unet". Raises
    ConfigError for a key that matches no check.
    """
    plugins = plugins_of(catalogue)
    expected = dict(expected or {})
    matched: set[str] = set()
    cases = []
    for subject in subjects_of(catalogue, reference):
        declared = {**plugins[subject.owner].declared, **expected}
        for check in _checks_for(subject, tiers):
            keys = [key for key in (f"{check.id} {subject.label}", check.id) if key in declared]
            matched |= set(keys)
            cases.append(Case(check, subject, declared[keys[0]] if keys else None))
    if unknown := expected.keys() - matched:
        raise ConfigError(f"expected failure {min(unknown)!r} matches no check of {reference or 'any plugin'}")
    return cases


def _checks_for(subject: Subject, tiers: Sequence[Tier]) -> list[Check]:
    checks = [check for check in all_checks(tuple(tiers)) if subject.kind in check.kinds]
    if isinstance(subject, PluginSubject) and subject.local:
        checks = [check for check in checks if check.id not in NOT_FOR_FILES]
    return checks
