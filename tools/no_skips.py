"""Check a JUnit report of pytest: exit with 1 if it has no test or a skipped one. In CI the real data is always there.

Standard library alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree


def complaint(report: Path) -> str:
    """The skipped tests with their reasons, one a line; an empty string if every test ran."""
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    if not cases:
        return f"{report.name}: no test ran"
    skipped = [
        f"  {case.get('classname')}::{case.get('name')}: {skip.get('message')}"
        for case in cases
        for skip in case.iter("skipped")
    ]
    return "\n".join([f"{len(skipped)} of {len(cases)} tests were skipped:", *skipped]) if skipped else ""


def main(arguments: Sequence[str]) -> str | int:
    if not arguments:
        return "usage: python tools/no_skips.py REPORT.xml ..."
    return "\n".join(filter(None, (complaint(Path(argument)) for argument in arguments))) or 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
