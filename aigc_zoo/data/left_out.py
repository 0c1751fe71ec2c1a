"""Files and folders of a dataset that are not read, and the sentences that say so."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from aigc_zoo.errors import printable
from aigc_zoo.text import natural_key

SHOWN = 3
"""Names that a sentence lists."""

RUN = ("run directory, whose samples are not data", "run directories, whose samples are not data")
OWN = ("entry that the run in this directory wrote", "entries that the run in this directory wrote")
UNREADABLE = ("file that cannot be read (--skip-bad)", "files that cannot be read (--skip-bad)")
BROKEN = ("broken link", "broken links")
SPECIAL = ("entry that is not a regular file", "entries that are not regular files")
HIDDEN = ("hidden file", "hidden files")
TABLE = (
    "table whose labels are not read (dataset.json, metadata.csv, metadata.jsonl and labels.csv are)",
    "tables whose labels are not read (dataset.json, metadata.csv, metadata.jsonl and labels.csv are)",
)
SUFFIX = ("file without the suffix of {noun}", "files without the suffix of {noun}")
"""A reason to leave files out: what one such file is called, and what several are called."""

_OWN_FILES = re.compile(r"nearest\.png|samples\.gif|(sample|generator(-best)?)-.*seed\d+.*\.\w+")
_OWN_FOLDERS = ("samples", "checkpoints")
RUN_NAMES = frozenset(("card.json", "log.jsonl", "metrics.jsonl", "finished.json", *_OWN_FOLDERS))
"""Names in a run directory that `is_run` depends on."""

_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow", ".xlsx", ".mat")
"""Suffixes of files that may have labels."""

_OF_SYSTEMS = ("thumbs.db", "desktop.ini", "icon\r")
"""Files that file managers add to folders."""

Reason = tuple[str, str]


def is_run(names: Collection[str]) -> bool:
    """Whether a folder with these names in it is a run directory: a card or a log, and another file of a run."""
    found = RUN_NAMES.intersection(names)
    return len(found) > 1 and ("card.json" in found or {"log.jsonl", "checkpoints"} <= found)


def of_run(name: str, is_folder: bool) -> bool:
    """Whether training, evaluation or sampling writes an entry of this name to the run directory."""
    return name in _OWN_FOLDERS if is_folder else _OWN_FILES.fullmatch(name) is not None


def runs_among(names: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """The run directories among the folders of files, whose names are given in parts."""
    inside: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for parts in names:
        for number, part in enumerate(parts):
            if part in RUN_NAMES:
                inside[parts[:number]].add(part)
    return {folder for folder, found in inside.items() if is_run(found)}


class LeftOut:
    """Collects the names of files that are not read, by reason."""

    def __init__(self) -> None:
        self.noun = "a sample"
        self._names: dict[Reason, set[str]] = defaultdict(set)

    def add(self, reason: Reason, name: str) -> None:
        """Notes one file or folder; a name that was noted for the same reason counts once."""
        self._names[reason].add(name)

    def file(self, name: str, base: str, *, known: bool) -> None:
        """Notes a file that is hidden or has no known suffix, unless a file manager or archiver wrote it."""
        if base.startswith("."):
            if known and not base.startswith("._"):
                self.add(HIDDEN, name)
        elif base.lower() not in _OF_SYSTEMS:
            self.add(TABLE if base.lower().endswith(_TABLES) else SUFFIX, name)

    def notes(self) -> tuple[str, ...]:
        """A sentence for each reason, with the number of files and the first names."""
        return tuple(
            _sentence(reason, sorted(names, key=natural_key), self.noun) for reason, names in self._names.items()
        )


def _sentence(reason: Reason, names: list[str], noun: str) -> str:
    shown = ", ".join(printable(name).replace("\n", "?")[:120] for name in names[:SHOWN])
    kinds = f" ({_suffixes(names)})" if reason == SUFFIX and names[SHOWN:] else ""
    what = reason[len(names) > 1].format(noun=noun)
    return f"left out {len(names):,} {what}{kinds}: {shown}{', ...' if names[SHOWN:] else ''}"


def _suffixes(names: list[str]) -> str:
    """The most frequent suffixes of files with their numbers."""
    counts = Counter(PurePosixPath(name.replace("\\", "/")).suffix.lower() for name in names).most_common()
    shown = [f"{count:,} {printable(suffix)[:12] or 'without a suffix'}" for suffix, count in counts[:SHOWN]]
    return ", ".join([*shown, "..."] if counts[SHOWN:] else shown)
