"""What the commands print: aligned plain text for people, JSON for programs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from aigc_zoo.errors import printable

if TYPE_CHECKING:
    from aigc_zoo.plugins import Entry


def width() -> int:
    """Columns to fill: the terminal's, at most 100, which is also what a pipe gets."""
    return min(100, max(60, shutil.get_terminal_size((100, 24)).columns))


def table(rows: Sequence[Sequence[str]], cut: int, indent: str = "") -> str:
    """Rows in aligned columns; column `cut` gives way where a line would be too long, but keeps 20 characters."""
    cells = [[printable(" ".join(text.split())) for text in row] for row in rows]
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = width() - len(indent) - sum(size + 2 for size in wide[:cut] if size)
    behind = sum(size + 2 for size in wide[cut + 1 :] if size)
    wide[cut] = min(wide[cut], max(20, room - behind))
    lines = []
    for row in cells:
        shown = [*row]
        limit = wide[cut] if any(row[cut + 1 :]) else max(20, room)  # where nothing follows, there is more room
        if len(row[cut]) > limit:
            shown[cut] = row[cut][: limit - 3].rstrip() + "..."
        lines.append(
            indent + "  ".join(text.ljust(size) for text, size in zip(shown, wide, strict=True) if size).rstrip()
        )
    return "\n".join(lines)


def short(entry: Entry) -> str:
    """The name that finds a component: its id, without the namespace when it is ours."""
    return entry.name if entry.namespace == "zoo" else entry.id


def item(entry: Entry) -> dict[str, Any]:
    """A component as `zoo list --json` states it."""
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
    import json

    click.echo(json.dumps(value, indent=2))
