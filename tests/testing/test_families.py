"""Our own families keep every promise, by the same list as everyone's: no failure, none skipped on a CPU."""

from __future__ import annotations

import pytest
import torch

from aigc_zoo.testing import judge, list_cases
from aigc_zoo.testing.subjects import Case, Part

CASES = list_cases("aigc-zoo")


def cases(tier: str, recipes: bool) -> list[Case]:
    found = [case for case in CASES if (case.check.needs == "gpu") == (tier == "gpu")]
    return [
        case for case in found if recipes == (isinstance(case.subject, Part) and case.subject.entry.kind == "recipe")
    ]


def keeps(case: Case) -> None:
    result = judge(case)
    assert result.status == "passed", f"{case.name}: {result.reason}"


@pytest.mark.parametrize("case", cases("cpu", recipes=False), ids=lambda case: case.name)
def test_components_keep_their_promises(case: Case) -> None:
    keeps(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases("cpu", recipes=True), ids=lambda case: case.name)
def test_recipes_keep_their_promises(case: Case) -> None:
    keeps(case)


@pytest.mark.gpu
@pytest.mark.parametrize("case", cases("gpu", recipes=True), ids=lambda case: case.name)
def test_recipes_keep_their_promises_on_a_gpu(case: Case) -> None:
    keeps(case)


def test_no_failure_of_ours_is_declared() -> None:
    assert [case.name for case in CASES if case.expected is not None] == []


def test_without_a_device_only_its_checks_are_skipped() -> None:
    if torch.cuda.is_available():
        assert all(not case.unavailable() for case in CASES)
    else:
        assert {case.check.needs for case in CASES if case.unavailable()} == {"gpu"}
