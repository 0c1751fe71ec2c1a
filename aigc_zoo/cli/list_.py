"""`zoo list`: what is installed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import click

from aigc_zoo.cli import Globals
from aigc_zoo.cli.text import item, print_json, short, table
from aigc_zoo.spec import KINDS

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue, Entry


@click.command()
@click.argument("pattern", default="*")
@click.option(
    "--kind",
    type=click.Choice([*KINDS, "all"]),
    default="recipe",
    show_default=True,
    help="What to list: recipes, or parts of them.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def command(zoo: Globals, pattern: str, kind: str, as_json: bool) -> None:
    """What is installed: names, summaries, papers.

    PATTERN has shell wildcards, so quote it: 'dc*', '*gan', 'acme/*'. It meets the whole name or the whole id. Nothing
    found is not an error: the list is empty, the exit code 0, and stderr says what comes close.
    """
    catalogue = zoo.catalogue()
    entries = catalogue.items(None if kind == "all" else kind, pattern)
    if as_json:
        print_json({"schema": 1, "items": [item(entry) for entry in entries], "problems": catalogue.problems})
    elif entries:
        click.echo("\n\n".join(_paragraphs(entries, titles=kind == "all")))
    if not entries:
        click.echo(_nothing(catalogue, pattern, kind), err=True)


def _paragraphs(entries: list[Entry], titles: bool) -> Iterator[str]:
    """A table for each kind."""
    for kind, group in groupby(entries, key=lambda entry: entry.kind):
        rows = [(short(entry), entry.component.summary, entry.component.paper) for entry in group]
        yield (f"{kind}\n" if titles else "") + table(rows, cut=1, indent="  " if titles else "")


def _nothing(catalogue: Catalogue, pattern: str, kind: str) -> str:
    """Why the list is empty, and what would fill it."""
    from aigc_zoo.errors import did_you_mean

    known = catalogue.items(None if kind == "all" else kind)
    what = "component" if kind == "all" else kind
    if not known:
        return f"zoo: no {what} is installed; zoo plugins shows which plugins there are"
    kinds = dict.fromkeys(entry.kind for entry in catalogue.items(None, pattern))
    if kinds:
        return f"zoo: no {what} matches {pattern!r}, but a {' and a '.join(kinds)} does: add --kind {next(iter(kinds))}"
    every = "zoo list" if kind == "recipe" else f"zoo list --kind {kind}"
    close = did_you_mean(pattern, [short(entry) for entry in known])
    return f"zoo: no {what} matches {pattern!r}{close or f'; {every} shows all of them'}"
