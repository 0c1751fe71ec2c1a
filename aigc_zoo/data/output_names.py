"""Names of files that are called after others: below one folder, each of its own, whatever the others are called."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from aigc_zoo.data.layout import split_name

LONGEST = 180
"""Bytes of a part of a path, without the suffix."""

_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


def output_paths(folder: Path, names: Sequence[str], suffix: str) -> list[Path]:
    """A path in `folder`, or below it, for each of these names of files, in their order.

    The stem and the folders of a name are kept, without those that lead out of the folder. Files of one stem keep
    their own suffix before the new one, and equal names get numbers. A file without a name is called by its number.
    """
    parts = [_safe_parts(name) or (f"{number:06d}",) for number, name in enumerate(names)]
    stems = [(*one[:-1], _stem(one[-1])) if name else one for one, name in zip(parts, names, strict=True)]
    often = Counter(tuple(map(str.casefold, one)) for one in stems)
    taken = {"/".join(one[:depth]).casefold() for one in parts for depth in range(1, len(one))}
    found = []
    for one, stem in zip(parts, stems, strict=True):
        *above, last = stem if often[tuple(map(str.casefold, stem))] == 1 else one
        tried, number = f"{last}{suffix}", 0
        while "/".join((*above, tried)).casefold() in taken:
            number += 1
            tried = f"{last}-{number}{suffix}"
        taken.add("/".join((*above, tried)).casefold())
        found.append(folder.joinpath(*above, tried))
    return found


def _safe_parts(name: str) -> tuple[str, ...]:
    parts = (_UNSAFE.sub("-", part) for part in split_name(name) if part not in ("/", "\\", ".", "..", "//"))
    return tuple(_short(part) for part in parts)


def _short(part: str) -> str:
    whole = part.encode("utf-8", "surrogateescape")
    if len(whole) <= LONGEST:
        return part
    stem, dot, suffix = part.rpartition(".")
    kept = (stem if dot else part).encode("utf-8", "surrogateescape")[: LONGEST - 30].decode("utf-8", "ignore")
    return f"{kept}-{hashlib.sha256(whole).hexdigest()[:8]}{dot}{suffix[:16] if dot else ''}"


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name
