"""Functions on text that several layers share."""

from __future__ import annotations

import re


def natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key for natural order: 9.png comes before 10.png. Names that differ in leading zeros alone stay apart."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)], name
