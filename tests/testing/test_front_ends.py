"""The front ends of the conformance checks (command, function and pytest), and declared failures."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest

from aigc_zoo.cli import main
from aigc_zoo.errors import ConfigError
from aigc_zoo.plugins import catalogue
from aigc_zoo.spec import KINDS
from aigc_zoo.testing import CheckFailed, all_checks, list_cases, run_checks
from aigc_zoo.testing.checks import PLUGIN, TIERS
from aigc_zoo.testing.runner import Case, run_check
from aigc_zoo.testing.subjects import ComponentSubject

FILE = """
import torch
from aigc_zoo.game import Adversarial
from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1
{declared}


@hookimpl
def zoo_components():
    yield Component(kind="loss", name="sum", target=f"{{__name__}}:sum_of", summary="By the sum")


def sum_of():
    '''A sum over the batch, where a mean is required.'''
    return Adversarial(lambda real, fake: fake.sum() - real.sum(), lambda fake, real: -fake.sum())
"""


def zoo(*args: str) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, which has imported torch already."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr):
        code = main(list(args))
    return subprocess.CompletedProcess(args, code, stdout.getvalue(), stderr.getvalue())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_loss.py"
    path.write_text(FILE.format(declared=""))
    return path


def test_command_and_function_agree(file: Path) -> None:
    done = zoo("check", str(file), "--json")
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert answer["summary"] == {"passed": len(answer["items"]) - 1, "failed": 1}
    rows = [(item["check"], item["subject"], item["status"]) for item in answer["items"]]
    assert rows == [(result.check, result.subject, result.status) for result in run_checks(file)]
    assert ("L-MEAN", "loss local/sum", "failed") in rows
    assert {subject for _, subject, _ in rows} == {"my_loss.py", "loss local/sum"}


def test_the_command_prints_a_failure_with_its_reason(file: Path) -> None:
    done = zoo("check", str(file))
    assert done.returncode == 1
    assert "loss local/sum" in done.stdout
    assert "L-MEAN       failed: discriminator grows with the batch: take the mean over it" in " ".join(
        done.stdout.split("\n")
    ).replace("  " * 8, " ")
    assert done.stdout.splitlines()[-1].startswith(f"{len(run_checks(file))} checks: ")


def test_a_failure_can_be_declared_in_the_manifest(file: Path, tmp_path: Path) -> None:
    declared = tmp_path / "declared.py"
    declared.write_text(FILE.format(declared='ZOO_EXPECTED_FAILURES = {"L-MEAN": "sums by design"}'))
    done = zoo("check", str(declared))
    assert done.returncode == 0, done.stdout
    assert "1 failed as declared" in done.stdout
    wrongly = tmp_path / "wrongly.py"
    wrongly.write_text(FILE.format(declared='ZOO_EXPECTED_FAILURES = {"L-MEAN": "by design", "L-PURE": "no reason"}'))
    (bad,) = [result for result in run_checks(wrongly) if result.bad]
    assert (bad.check, bad.status) == ("L-PURE", "unexpected")
    assert "remove the declaration" in bad.reason


def test_a_declared_failure_names_a_check_that_exists(file: Path) -> None:
    (result,) = [
        r for r in run_checks(file, expected_failures={"L-MEAN loss local/sum": "ours"}) if r.check == "L-MEAN"
    ]
    assert result.status == "expected"
    with pytest.raises(ConfigError, match="'L-MEEN' matches no check"):
        run_checks(file, expected_failures={"L-MEEN": "?"})


TEST_FILE = """
from aigc_zoo.testing import parametrize_with_checks

@parametrize_with_checks({file!r}, expected_failures={expected!r}, tiers=("cpu",))
def test_conformance(check):
    check()
"""


@pytest.mark.parametrize(
    ("expected", "outcomes", "code"),
    [
        ({}, {"failed": 1}, 1),
        ({"L-MEAN": "sums by design"}, {"xfailed": 1}, 0),
        ({"L-MEAN": "sums by design", "L-PURE": "?"}, {"xfailed": 1, "failed": 1}, 1),
    ],
)
def test_pytest_runs_the_same_list(file: Path, expected: dict[str, str], outcomes: dict[str, int], code: int) -> None:
    (file.parent / "test_it.py").write_text(TEST_FILE.format(file=str(file), expected=expected))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark", "test_it.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=file.parent, timeout=120)
    assert done.returncode == code, done.stdout
    count = len(list_cases(file, tiers=("cpu",)))
    last = done.stdout.splitlines()[-1]
    for word, number in {**outcomes, "passed": count - sum(outcomes.values())}.items():
        assert f"{number} {word}" in last, done.stdout
    if "failed" in outcomes:
        assert "L-MEAN-loss-local/sum" in done.stdout or "L-PURE-loss-local/sum" in done.stdout


def test_a_check_newer_than_the_plugins_api_only_warns() -> None:
    def fails(subject: object) -> None:
        """Always fails."""
        raise CheckFailed("always")

    entry = catalogue().find("loss", "minimax").entry
    (some,) = [one for one in all_checks(("static",)) if one.id == "S-TARGET"]
    for since, status in ((1, "failed"), (2, "warned")):
        case = Case(replace(some, function=fails, since=since), ComponentSubject(catalogue(), entry, api=1))
        result = run_check(case)
        assert result.status == status
        assert result.bad == (status == "failed")
    with pytest.warns(FutureWarning, match=r"binding from ZOO_API = 2"):
        case()


def test_fast_imports_no_torch() -> None:
    blocked = "import sys; sys.modules['torch'] = None; sys.modules['numpy'] = None\n"
    code = blocked + "from aigc_zoo.cli import main; sys.exit(main(['check', 'dcgan', '--fast', '--json']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {item["subject"] for item in json.loads(done.stdout)["items"]} == {
        f"{kind} zoo/dcgan" for kind in ("recipe", "generator", "discriminator")
    }


def test_an_unknown_name_is_explained() -> None:
    done = zoo("check", "dcgam")
    assert (done.returncode, done.stdout) == (3, "")
    assert "did you mean 'dcgan'" in done.stderr
    gone = zoo("check", "./nosuch")
    assert gone.returncode == 3
    assert "no such project" in gone.stderr


def test_a_component_means_all_its_kinds_and_a_distribution_all_its_components() -> None:
    subjects = {case.subject.label for case in list_cases("primer", tiers=("static",))}
    assert subjects == {f"{kind} zoo/primer" for kind in ("recipe", "generator", "discriminator")}
    every = {case.subject.label for case in list_cases("aigc-zoo", tiers=("static",))}
    assert every == {"aigc-zoo", *(f"{entry.kind} {entry.id}" for entry in catalogue().items(None, "zoo/*"))}


def test_every_kind_has_static_and_cpu_checks_and_every_check_has_a_summary() -> None:
    checks = all_checks()
    assert len({check.id for check in checks}) == len(checks) > 50
    assert all(len(check.summary) > 20 and check.since == 1 for check in checks)
    for kind in KINDS:
        mine = [check for check in checks if kind in check.kinds]
        assert {"static", "cpu"} <= {check.needs for check in mine}, kind
        assert len(mine) >= 6, kind
    assert {check.needs for check in checks if PLUGIN in check.kinds} == {"static"}
    assert {check.needs for check in checks} == set(TIERS)


# --- tracebacks of what a plugin raises -------------------------------------------------------------------------------

RAISING = {  # where the plugin raises -> (function body, the line that raises)
    "in the loss": ("return Adversarial(lambda r, f: lost, lambda f, r: -f.mean())", "lambda r, f: lost"),
    "when it is built": ("raise RuntimeError('no maths today')", "raise RuntimeError('no maths today')"),
    "in a library": ("return Adversarial(lambda r, f: torch.cat((r, f[:, :, None])).mean(), None)", "torch.cat((r, f"),
}


def raising(folder: Path, where: str) -> tuple[Path, str]:
    """A loss that raises, and the line at fault."""
    body, line = RAISING[where]
    path = folder / "raising.py"
    source = FILE.format(declared="").replace(
        "return Adversarial(lambda real, fake: fake.sum() - real.sum(), lambda fake, real: -fake.sum())", body
    )
    assert body in source
    path.write_text(source)
    return path, line


@pytest.mark.parametrize("where", RAISING)
def test_debug_prints_the_traceback_of_what_a_plugin_raises(where: str, tmp_path: Path) -> None:
    path, line = raising(tmp_path, where)
    plain, debug = zoo("check", str(path)), zoo("check", str(path), "--debug")
    assert (plain.returncode, debug.returncode) == (1, 1)
    assert "Traceback" not in plain.stdout
    assert plain.stdout.splitlines()[-1] == "run again with --debug for the tracebacks"
    assert "Traceback (most recent call last):" in debug.stdout
    assert f'File "{path}", line' in debug.stdout
    assert line in debug.stdout
    assert "in run_check" not in debug.stdout
    assert "run again with --debug" not in debug.stdout
    items = json.loads(zoo("check", str(path), "--json").stdout)["items"]
    assert any(line in item["traceback"] for item in items if item["status"] == "failed")
    assert all(not item["traceback"] for item in items if item["status"] == "passed")


def test_a_check_that_fails_without_an_exception_has_no_traceback(file: Path) -> None:
    done = zoo("check", str(file), "--debug")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert "--debug" not in zoo("check", str(file)).stdout


def test_pytest_shows_the_traceback_of_what_a_plugin_raises(tmp_path: Path) -> None:
    path, line = raising(tmp_path, "in the loss")
    for case in list_cases(path, tiers=("cpu",)):
        if case.check.id == "L-MEAN":
            with pytest.raises(pytest.fail.Exception, match="L-MEAN loss local/sum: it raises NameError") as failure:
                case()
            assert f'File "{path}", line' in str(failure.value)
            assert line in str(failure.value)
