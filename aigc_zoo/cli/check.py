"""`zoo check`: whether a plugin keeps its promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

import click

from aigc_zoo.cli import Globals
from aigc_zoo.cli.text import print_json, width

if TYPE_CHECKING:
    from aigc_zoo.testing import Result
    from aigc_zoo.testing.checks import Status

_WORDS: Mapping[Status, str] = {
    "passed": "passed",
    "failed": "failed",
    "expected": "failed as declared",
    "unexpected": "passed against their declaration",
    "warned": "to be mended before the next API",
    "skipped": "skipped",
}


@click.command()
@click.argument("reference", metavar="[ID|DISTRIBUTION|PATH]", required=False)
@click.option("--fast", is_flag=True, help="Only what needs no torch: manifest, metadata, wheel; about a second.")
@click.option("-v", "--verbose", is_flag=True, help="Name every check, not only those that failed.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def command(zoo: Globals, reference: str | None, fast: bool, verbose: bool, as_json: bool) -> int:
    """Whether plugins keep their promises: 0 where they do, 1 where a check failed.

    A component's ID, a DISTRIBUTION with all its components, or a PATH: a file my_gan.py, a project's folder (its wheel
    is built, nothing is installed) or a wheel. Without any, all that is installed. aigc_zoo.testing has the same
    checks for pytest.
    """
    from aigc_zoo.testing.projects import check_project, is_project

    if reference is not None and is_project(reference):
        from pathlib import Path

        results: Iterable[Result] = check_project(Path(reference), fast=fast)
    else:
        results = _run(zoo, reference, fast)
    seen = list(results) if as_json else _told(results, verbose)
    counts = Counter(result.status for result in seen)
    if as_json:
        from aigc_zoo.spec import API

        keys = ("check", "subject", "status", "reason", "seconds")
        items = [{key: getattr(result, key) for key in keys} for result in seen]
        print_json({"schema": 1, "api": API, "items": items, "summary": dict(counts)})
    else:
        parts = [f"{counts[status]} {words}" for status, words in _WORDS.items() if counts[status]]
        click.echo(f"{len(seen)} checks: {', '.join(parts) or 'none'} in {sum(r.seconds for r in seen):.1f} s")
    return 1 if any(result.bad for result in seen) else 0


def _run(zoo: Globals, reference: str | None, fast: bool) -> Iterator[Result]:
    from pathlib import Path

    from aigc_zoo.testing import TIERS, list_cases, run_cases
    from aigc_zoo.testing.subjects import cases_of

    tiers = TIERS[:1] if fast else TIERS
    if reference is not None and reference.endswith(".py"):
        return run_cases(list_cases(Path(reference), tiers=tiers))
    return run_cases(cases_of(zoo.catalogue(quiet=True), reference, tiers=tiers))


def _told(results: Iterable[Result], verbose: bool) -> list[Result]:
    """A line for each subject once all its checks are done, and beneath it what did not pass."""
    seen: list[Result] = []
    for subject, group in groupby(results, key=lambda result: result.subject):
        mine = list(group)
        seen += mine
        counts = Counter(result.status for result in mine)
        parts = [f"{counts[status]} {words}" for status, words in _WORDS.items() if counts[status]]
        click.echo(f"{subject:<40} {', '.join(parts)}")
        for result in mine:
            if verbose or result.status not in ("passed", "skipped"):
                text = f"{result.check:<12} {': '.join(filter(None, (result.status, result.reason)))}"
                click.echo(click.wrap_text(text, width(), "  ", " " * 15))
    return seen
