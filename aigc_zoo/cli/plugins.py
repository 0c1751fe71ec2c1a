"""`zoo plugins`: list plugins with version, status and load errors."""

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
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--requirements", is_flag=True, help="Print the plugins with status ok as pinned requirements for pip.")
@click.pass_obj
def command(zoo: Globals, as_json: bool, requirements: bool) -> None:
    """List plugins with version, status, import time in milliseconds and load errors.

    The status is ok, broken, incompatible, duplicate or disabled. A plugin that fails does not affect the others.
    ZOO_DISABLE_PLUGINS=NAME,NAME disables distributions or single entry points, `*` all of them. ZOO_STRICT=1 makes
    any problem an error.
    """
    if as_json and requirements:
        raise click.UsageError("--json and --requirements exclude each other: give one of them.")
    records = zoo.catalogue(quiet=True).records
    if requirements:
        usable = [record for record in records if record.status == "ok" and record.namespace != "local"]
        for line in dict.fromkeys(f"{record.distribution}=={record.version}" for record in usable):
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
        click.echo(
            "zoo: no plugin is installed, not even those of aigc-zoo: python -m pip install --force-reinstall aigc-zoo",
            err=True,
        )


def _page(records: Sequence[Record]) -> str:
    """A table with a line per plugin, followed by load errors and slow imports in full."""
    rows = [("distribution", "version", "plugin", "status", "ms")]
    remarks = []
    for record in records:
        rows.append((record.distribution, record.version, record.entry_point, record.status, f"{record.ms:.0f}"))
        if record.status not in ("ok", "disabled"):
            remarks.append(str(record))
        if record.heavy:
            remarks.append(
                f"{record.label} imports {', '.join(record.heavy)}: this delays every command by {record.ms:.0f} ms"
            )
    paragraphs = [click.wrap_text(text, width(), subsequent_indent="    ") for text in remarks]
    return "\n".join([table(rows, cut=0), *([""] if remarks else []), *paragraphs])
