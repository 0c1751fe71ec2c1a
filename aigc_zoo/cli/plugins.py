"""`zoo plugins`: who provides components, and what is wrong with whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from aigc_zoo.cli import Globals
from aigc_zoo.cli.text import print_json, table, width
from aigc_zoo.errors import printable

if TYPE_CHECKING:
    from aigc_zoo.plugins import Record


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--requirements", is_flag=True, help="The working ones as pinned lines for pip.")
@click.pass_obj
def command(zoo: Globals, as_json: bool, requirements: bool) -> None:
    """Who provides components: distribution, version, status, the time that its import took.

    A plugin is ok, broken, incompatible, duplicate or disabled, and hurts no other. ZOO_DISABLE_PLUGINS=NAME,NAME
    switches off distributions or single entry points, `*` all of them; ZOO_STRICT=1 makes any problem an error.
    """
    if as_json and requirements:
        raise click.UsageError("--json and --requirements are two answers: choose one")
    records = zoo.catalogue(quiet=True).records
    if requirements:
        working = [record for record in records if record.status == "ok" and record.namespace != "local"]
        for line in dict.fromkeys(f"{record.distribution}=={record.version}" for record in working):
            click.echo(line)
    elif as_json:
        items = [
            {
                "distribution": record.distribution,
                "version": record.version,
                "entry_point": record.entry_point,
                "status": record.status,
                "reason": record.reason,
                "milliseconds": round(record.ms, 1),
                "heavy": list(record.heavy),
            }
            for record in records
        ]
        print_json({"schema": 1, "items": items})
    elif records:
        click.echo(printable(_page(records)))
    else:
        click.echo("zoo: no plugin is installed, not even our own: python -m pip install aigc-zoo", err=True)


def _page(records: Sequence[Record]) -> str:
    """A line for each plugin, and beneath the table what there is to say of some of them, whole."""
    rows = [("distribution", "version", "plugin", "status", "ms")]
    remarks = []
    for record in records:
        rows.append((record.distribution, record.version, record.entry_point, record.status, f"{record.ms:.0f}"))
        if record.status not in ("ok", "disabled"):
            remarks.append(str(record))
        if record.heavy:
            remarks.append(f"{record.who} imports {', '.join(record.heavy)}: every command waits {record.ms:.0f} ms")
    paragraphs = [click.wrap_text(text, width(), subsequent_indent="    ") for text in remarks]
    return "\n".join([table(rows, cut=0), *([""] if remarks else []), *paragraphs])
