"""Writes docs/checks.md from the checks themselves; with --check it fails where the page is stale."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "checks.md"
HEAD = """# The checks

Made by `make docs` from `aigc_zoo.testing`. `zoo check` runs them, and so do an author's tests through
`parametrize_with_checks`; [writing-a-plugin.md](writing-a-plugin.md) says how. `static` needs no torch, `cpu` needs no
device, `gpu` is skipped where there is none. A check binds plugins that state the API number in the last column, or a
later one; for an older plugin it only warns.
"""


def page() -> str:
    """The whole page."""
    from aigc_zoo.testing import all_checks
    from aigc_zoo.testing.checks import PLUGIN, TIERS

    lines = [HEAD]
    for tier in TIERS:
        lines += [f"## {tier}", "", "| check | of | what it holds a plugin to | since |", "|---|---|---|---|"]
        for check in (one for one in all_checks() if one.needs == tier):
            kinds = "every kind" if len(check.kinds) > 5 else ", ".join(check.kinds)
            of = "the distribution" if check.kinds == (PLUGIN,) else kinds
            lines.append(f"| `{check.id}` | {of} | {check.summary} | {check.since} |")
        lines.append("")
    return "\n".join(lines)


def stale(path: Path = PAGE) -> str:
    """Why the page must be made anew; empty when it is fresh."""
    fresh = path.exists() and path.read_text(encoding="utf-8") == page()
    return "" if fresh else f"docs/{path.name} is stale: run `make docs`"


def main(arguments: Sequence[str]) -> str | int:
    if list(arguments) not in ([], ["--check"]):
        return "usage: python tools/checks_docs.py [--check]"
    if arguments:
        return stale() or 0
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
