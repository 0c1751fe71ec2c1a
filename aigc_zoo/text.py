"""Functions on text that several layers share: natural order, and commands that can be typed as they are printed."""

from __future__ import annotations

import os
import re
import shlex
from contextvars import ContextVar
from pathlib import Path

PLUGIN_FILES: ContextVar[tuple[Path, ...]] = ContextVar("PLUGIN_FILES", default=())
"""Plugin files of the command line that is executed, which the commands that it advises need as well."""


def natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key for natural order: 9.png comes before 10.png. Names that differ in leading zeros alone stay apart."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)], name


def zoo_command(*words: str | Path) -> str:
    """A command of `zoo`, quoted for a shell, with the plugin files of the command line that is executed."""
    files = [word for file in PLUGIN_FILES.get() for word in ("--plugin", file)]
    return " ".join(["zoo", *map(quoted, (*files, *words))])


def quoted(word: str | Path) -> str:
    """A word or a path, quoted for a shell; a path that begins with a hyphen is no option.

    Characters that a terminal does not show are written as escapes of printf.
    """
    if isinstance(word, Path):
        word = f"./{word}" if str(word).startswith("-") else str(word)
    return shlex.quote(word) if word.isprintable() else f"\"$(printf '{''.join(map(_escaped, os.fsencode(word)))}')\""


def _escaped(byte: int) -> str:
    plain = byte < 128 and (chr(byte).isalnum() or chr(byte) in "/._-")
    return chr(byte) if plain else f"\\{byte:03o}"
