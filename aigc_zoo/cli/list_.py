"""`zoo list`: list installed components."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import click

from aigc_zoo.cli import Globals
from aigc_zoo.cli.text import item, print_json, short, table, width
from aigc_zoo.spec import KINDS
from aigc_zoo.text import zoo_command

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue, Entry


@click.command()
@click.argument("pattern", default="*")
@click.option(
    "--kind",
    type=click.Choice([*KINDS, "all"]),
    default="recipe",
    show_default=True,
    help="Kind of component to list.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.pass_obj
def command(zoo: Globals, pattern: str, kind: str, as_json: bool) -> None:
    """List installed recipes, or components of another kind, with name, summary and paper.

    PATTERN is a shell wildcard that must match the whole name or the whole id. Quote it: 'dc*', '*gan', 'acme/*'. If
    nothing matches, the list is empty, the exit code is 0, and stderr suggests similar names.
    """
    catalogue = zoo.catalogue()
    entries = catalogue.items(None if kind == "all" else kind, pattern)
    if as_json:
        print_json({"schema": 1, "items": [item(entry) for entry in entries], "problems": catalogue.problems})
    elif entries:
        click.echo("\n\n".join(_tables(entries, titles=kind == "all")))
    if not entries:
        click.echo(_no_match(catalogue, pattern, kind), err=True)


def _tables(entries: list[Entry], titles: bool) -> Iterator[str]:
    """One table per kind."""
    for kind, group in groupby(entries, key=lambda entry: entry.kind):
        rows = [(short(entry), entry.component.summary, entry.component.paper) for entry in group]
        yield (f"{kind}\n" if titles else "") + table(
            rows, cut=1, indent="  " if titles else "", last=max(24, width() // 4)
        )


def _no_match(catalogue: Catalogue, pattern: str, kind: str) -> str:
    """The reason for an empty list, and a suggestion."""
    from aigc_zoo.errors import did_you_mean

    known = catalogue.items(None if kind == "all" else kind)
    what = "component" if kind == "all" else kind
    if not known:
        return f"zoo: no {what} is installed; {zoo_command('plugins')} lists the plugins"
    kinds = dict.fromkeys(entry.kind for entry in catalogue.items(None, pattern))
    if kinds:
        return f"zoo: no {what} matches {pattern!r}, but a {' and a '.join(kinds)} does: add --kind {next(iter(kinds))}"
    every = zoo_command("list", *([] if kind == "recipe" else ["--kind", kind]))
    close = did_you_mean(pattern, [short(entry) for entry in known])
    return f"zoo: no {what} matches {pattern!r}{close or f'; {every} shows all of them'}"
