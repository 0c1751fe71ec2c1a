"""`zoo check`: runs the conformance checks on plugins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

import click

from aigc_zoo.cli import Globals
from aigc_zoo.cli.text import print_json, width
from aigc_zoo.errors import printable

if TYPE_CHECKING:
    from aigc_zoo.testing import Result
    from aigc_zoo.testing.checks import Status

_WORDS: Mapping[Status, str] = {
    "passed": "passed",
    "failed": "failed",
    "expected": "failed as declared",
    "unexpected": "passed despite a declared failure",
    "warned": "failed, binding from a later API on",
    "skipped": "skipped",
}


@click.command()
@click.argument("reference", metavar="[ID|DISTRIBUTION|PATH]", required=False)
@click.option(
    "--fast", is_flag=True, help="Run only the checks of manifest, metadata and wheel; about a second, without torch."
)
@click.option("-v", "--verbose", is_flag=True, help="List every check, not only those that did not pass.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_obj
def command(zoo: Globals, reference: str | None, fast: bool, verbose: bool, as_json: bool) -> int:
    """Run the conformance checks on a plugin.

    Give a component's ID, a DISTRIBUTION to check all its components, or a PATH: a file my_gan.py, the directory of a
    project (its wheel is built, nothing is installed) or a wheel. Without an argument all installed plugins are
    checked.

    The exit code is 1 if a check failed. --debug also prints the traceback of what a plugin raised. The package
    aigc_zoo.testing runs the same checks from pytest.
    """
    from aigc_zoo.testing.projects import check_project, is_project

    if reference is not None and is_project(reference):
        results: Iterable[Result] = check_project(Path(reference), fast=fast)
    else:
        results = _run(zoo, reference, fast)
    done = list(results) if as_json else _print_each(results, verbose, zoo.debug)
    counts = Counter(result.status for result in done)
    if as_json:
        from aigc_zoo.spec import API

        keys = ("check", "subject", "status", "reason", "seconds", "traceback")
        items = [{key: getattr(result, key) for key in keys} for result in done]
        print_json({"schema": 1, "api": API, "items": items, "summary": dict(counts)})
    else:
        seconds = sum(result.seconds for result in done)
        click.echo(f"{len(done)} checks: {_summary(counts) or 'none'} in {seconds:.1f} s")
        if not zoo.debug and any(result.bad and result.traceback for result in done):
            click.echo("run again with --debug for the tracebacks")
    return 1 if any(result.bad for result in done) else 0


def _run(zoo: Globals, reference: str | None, fast: bool) -> Iterator[Result]:
    from aigc_zoo.testing import TIERS, list_cases, run_cases
    from aigc_zoo.testing.runner import cases_of

    tiers = TIERS[:1] if fast else TIERS
    if reference is not None and reference.endswith(".py"):
        return run_cases(list_cases(Path(reference), tiers=tiers))
    return run_cases(cases_of(zoo.catalogue(quiet=True), reference, tiers=tiers))


def _print_each(results: Iterable[Result], verbose: bool, debug: bool) -> list[Result]:
    """Prints one line for each subject once its checks are done, and below it the checks that did not pass.

    `debug` also prints their tracebacks.
    """
    done: list[Result] = []
    for subject, group in groupby(results, key=lambda result: result.subject):
        mine = list(group)
        done += mine
        click.echo(f"{subject:<40} {_summary(Counter(result.status for result in mine))}")
        for result in mine:
            if verbose or result.status not in ("passed", "skipped"):
                text = f"{result.check:<12} {': '.join(filter(None, (result.status, result.reason)))}"
                click.echo(click.wrap_text(text, width(), "  ", " " * 15))
                if debug and result.traceback:
                    click.echo(printable(indent(result.traceback, " " * 15)))
    return done


def _summary(counts: Mapping[Status, int]) -> str:
    return ", ".join(f"{counts[status]} {words}" for status, words in _WORDS.items() if counts[status])
