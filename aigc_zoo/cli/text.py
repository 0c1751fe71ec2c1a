"""Output of the commands: aligned text for people, JSON for programs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from aigc_zoo.errors import printable

if TYPE_CHECKING:
    from aigc_zoo.plugins import Entry


def width() -> int:
    """Columns of the output: those of the terminal, 60 at least and 100 at most; 100 if the output is no terminal."""
    return min(100, max(60, shutil.get_terminal_size((100, 24)).columns))


def table(rows: Sequence[Sequence[str]], cut: int, indent: str = "", last: int | None = None) -> str:
    """Rows in aligned columns. Column `cut` is shortened where a line would be too long, to at least 20 characters.

    Cells of the columns behind it are shortened to `last` characters, if it is given.
    """
    cells = [[printable(" ".join(text.split())) for text in row] for row in rows]
    if last is not None:
        cells = [[*row[: cut + 1], *(_shortened(text, last) for text in row[cut + 1 :])] for row in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = width() - len(indent) - sum(size + 2 for size in widths[:cut] if size)
    behind = sum(size + 2 for size in widths[cut + 1 :] if size)
    widths[cut] = min(widths[cut], max(20, room - behind))
    lines = []
    for row in cells:
        shown = [*row]
        limit = widths[cut] if any(row[cut + 1 :]) else max(20, room)  # an empty rest of the row leaves more room
        if len(row[cut]) > limit:
            shown[cut] = _shortened(row[cut], limit)
        lines.append(
            indent + "  ".join(text.ljust(size) for text, size in zip(shown, widths, strict=True) if size).rstrip()
        )
    return "\n".join(lines)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3].rstrip() + "..."


def short(entry: Entry) -> str:
    """The shortest reference to a component: its id, without the namespace if that is `zoo`."""
    return entry.name if entry.namespace == "zoo" else entry.id


def item(entry: Entry) -> dict[str, Any]:
    """A component as an item of `zoo list --json`."""
    component = entry.component
    return {
        "id": entry.id,
        "name": entry.name,
        "kind": entry.kind,
        "summary": component.summary,
        "paper": component.paper,
        "tags": list(component.tags),
        "distribution": entry.distribution,
        "version": entry.version,
    }


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    import json

    click.echo(json.dumps(value, indent=2))
