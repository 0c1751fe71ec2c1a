"""Values that commands and the methods of a run take beside a recipe's options: one validation for both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aigc_zoo.errors import UsageError
from aigc_zoo.options.values import Option, convert, shown

ARGUMENTS: Mapping[str, Option] = {
    "-n": Option("n", int, 64, low=1),
    "--seed": Option("seed", int, 0),
    "--tile": Option("tile", int, None, low=16, optional=True),
    "--size": Option("size", int, None, low=1, optional=True),
    "--num": Option("num", int, None, low=2, optional=True),
    "--format": Option("format", str, "html", choices=("html", "md")),
}
"""By flag of the command line."""


def argument(flag: str, raw: Any) -> Any:
    """The validated value. Raises UsageError in the words of the options of a recipe."""
    try:
        return convert(ARGUMENTS[flag], raw)
    except ValueError as reason:
        raise UsageError(f"{flag} {shown(raw)}: {reason}") from None
