"""The first-party plugins pass every conformance check, with no declared failure and none skipped on a CPU."""

from __future__ import annotations

import pytest
import torch

from aigc_zoo.testing import list_cases
from aigc_zoo.testing.runner import Case, run_check

CASES = list_cases("aigc-zoo")


def cases(tier: str, recipes: bool) -> list[Case]:
    chosen = [case for case in CASES if (case.check.needs == "gpu") == (tier == "gpu")]
    return [case for case in chosen if (case.subject.kind == "recipe") == recipes]


def assert_passes(case: Case) -> None:
    result = run_check(case)
    assert result.status == "passed", f"{case.name}: {result.reason}"


@pytest.mark.parametrize("case", cases("cpu", recipes=False), ids=lambda case: case.name)
def test_components_pass(case: Case) -> None:
    assert_passes(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases("cpu", recipes=True), ids=lambda case: case.name)
def test_recipes_pass(case: Case) -> None:
    assert_passes(case)


@pytest.mark.gpu
@pytest.mark.parametrize("case", cases("gpu", recipes=True), ids=lambda case: case.name)
def test_recipes_pass_on_a_gpu(case: Case) -> None:
    assert_passes(case)


def test_no_failure_is_declared() -> None:
    assert [case.name for case in CASES if case.expected is not None] == []


def test_without_a_device_only_gpu_checks_are_skipped() -> None:
    if torch.cuda.is_available():
        assert all(not case.unavailable() for case in CASES)
    else:
        assert {case.check.needs for case in CASES if case.unavailable()} == {"gpu"}
