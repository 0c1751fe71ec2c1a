"""Tables of labels beside files: dataset.json (StyleGAN), metadata.csv or .jsonl (Hugging Face), labels.csv."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aigc_zoo.data.layout import Files, plain, split_name
from aigc_zoo.text import natural_key

_LABELS = ("label", "labels", "class", "classname", "classlabel", "labelname", "category", "target", "classid")
"""Names of the column of labels, the first one that a table has; capitals, blanks and underscores do not matter."""
_SPLITS = ("split", "set", "dataset", "subset", "partition")
MOST_ROWS_TO_CHOOSE = 1_000
"""Rows by which the column of file names is found."""
SHOWN = 8

Parts = tuple[str, ...]


class Metadata(NamedTuple):
    """What tables say of files: their classes and splits by file name, and sentences for the user.

    `sharded` is True where there is a dataset.json as StyleGAN's tool writes it: folders with numbers are then shards.
    """

    labels: Mapping[str, str] = {}
    splits: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()
    sharded: bool = False


NOTHING = Metadata()


class _Table(NamedTuple):
    """Values by the file names that a table has, None where there is none; or the reason why it is not read."""

    labels: Mapping[str, Any] = {}
    splits: Mapping[str, str] = {}
    reason: str = ""
    column: str = ""
    sharded: bool = False


def read(files: Files) -> Metadata:
    """Labels and splits from the tables among the files of a dataset; a table counts for the files below its folder.

    Of two tables for the same file, the one in the deeper folder counts.
    """
    labels: dict[str, str] = {}
    splits: dict[str, str] = {}
    notes: list[str] = []
    sharded = False
    samples = [(name, split_name(name)) for name in files.names] if files.metadata else []
    for name in sorted(files.metadata, key=lambda name: (-len(split_name(name)), natural_key(name))):
        folder = split_name(name)[:-1]
        below = _Index([(file, parts[len(folder) :]) for file, parts in samples if parts[: len(folder)] == folder])
        table = _parse(name, files, below)
        sharded |= table.sharded
        found, note = _labels_of(plain(name), table, below, labels)
        labels |= found
        notes += [note] if note else []
        for written, split in table.splits.items():
            if (file := below.find(written)) is not None and split:
                splits.setdefault(file, split)
    return Metadata(labels, splits, tuple(notes), sharded)


def _labels_of(name: str, table: _Table, index: _Index, known: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The labels of a table by file, without those that are known, and a sentence about it."""
    if table.reason:
        return {}, f"labels are not read from {name}: {table.reason}"
    classes, reason = _classes(table.labels)
    if reason:
        return {}, f"labels are not read from {name}: {reason}"
    found, unknown = {}, []
    for written, label in classes.items():
        file = index.find(written)
        if file is None:
            unknown.append(written)
        elif file not in known:
            found[file] = label
    if not found:
        reason = "its files have labels from another table" if len(unknown) < len(classes) else "it names no file here"
        return {}, f"labels are not read from {name}: {reason}"
    column = f"column {plain(table.column)} of " if table.column else ""
    count = len(set(found.values()))
    note = f"labels are read from {column}{name}: {count:,} class{'es' if count > 1 else ''}"
    if unknown:
        more = ", ..." if unknown[1:] else ""
        note += f" ({len(unknown):,} of its rows name no file here, or several: {plain(unknown[0])}{more})"
    return found, note


# --- file names -------------------------------------------------------------------------------------------------------


class _Index:
    """Finds the file that a table names: by its path below the table, by the end of it, with or without suffix."""

    def __init__(self, files: Iterable[tuple[str, Parts]]) -> None:
        self._paths: dict[Parts, str] = {}
        self._ends: dict[str, list[tuple[Parts, str]]] = defaultdict(list)
        for file, parts in files:
            self._paths[parts] = file
            self._ends[parts[-1]].append((parts, file))
            stem = parts[-1].rpartition(".")[0]
            self._ends[stem].append(((*parts[:-1], stem), file))

    def find(self, written: str) -> str | None:
        """The file with that name; None where there is none, or several."""
        parts = tuple(part for part in split_name(written.strip()) if part != ".")
        if parts in self._paths or not parts:
            return self._paths.get(parts)
        found = {
            file
            for known, file in self._ends.get(parts[-1], ())
            if known[-len(parts) :] == parts or parts[-len(known) :] == known
        }
        return found.pop() if len(found) == 1 else None


# --- tables -----------------------------------------------------------------------------------------------------------


def _parse(name: str, files: Files, index: _Index) -> _Table:
    try:
        with files.open(name) as file:
            text = file.read().decode("utf-8-sig")
        if name.lower().endswith(".json"):
            return _stylegan(json.loads(text))
        rows = _json_rows(text) if name.lower().endswith(".jsonl") else _csv_rows(text, index)
        return _of_rows(rows, index, "label" in split_name(name)[-1].lower())
    # A damaged member of an archive, text that is not UTF-8, JSON that is damaged or nested too deeply.
    except Exception as error:
        return _Table(reason=f"it is damaged ({plain(' '.join(str(error).split()) or type(error).__name__)})")


def _stylegan(content: Any) -> _Table:
    """dataset.json of StyleGAN's dataset_tool.py: {"labels": [[name, label], ...]}, or null without labels."""
    if not isinstance(content, Mapping) or "labels" not in content:
        return _Table(reason='it has no list "labels" of file names and labels')
    rows = content["labels"]
    if rows is None:
        return _Table(reason="its labels are null", sharded=True)
    pairs = list(rows.items()) if isinstance(rows, Mapping) else rows
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs
    ):
        return _Table(reason='it has no list "labels" of file names and labels')
    return _Table(dict(pairs), sharded=True)


Row = Mapping[str, Any]


def _json_rows(text: str) -> list[Row]:
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is no object")
    return rows


def _csv_rows(text: str, index: _Index) -> list[Row]:
    """The rows of a table whose columns commas, semicolons or tabs separate; the first line may have their names."""
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter, strict=True) if any(row)]
    if not rows:
        return []
    named = all(index.find(cell) is None for cell in rows[0])
    names = rows.pop(0) if named else [f"{number + 1}" for number in range(len(rows[0]))]
    return [dict(zip(names, row, strict=False)) for row in rows]


def _of_rows(rows: Sequence[Row], index: _Index, of_labels: bool) -> _Table:
    """The columns of file names, which is found by its content, of labels and of splits, which are found by name.

    In a file that is called labels, a single other column is that of the labels, whatever its name.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    named = {column: _files_in(column, rows[:MOST_ROWS_TO_CHOOSE], index) for column in columns}
    name = max(columns, key=lambda column: named[column], default="")
    if not named.get(name):
        return _Table(reason="none of its columns names a file here")
    others = {re.sub(r"[\W_]", "", column).lower(): column for column in columns if column != name}
    split = next((others.pop(one) for one in _SPLITS if one in others), None)
    label = next((others[one] for one in _LABELS if one in others), None)
    if label is None and of_labels and len(others) == 1:
        label = next(iter(others.values()))
    pairs = [(row[name], row) for row in rows if isinstance(row.get(name), str)]
    splits = {written: str(row.get(split) or "") for written, row in pairs} if split is not None else {}
    if label is None:
        listed = ", ".join(plain(column) for column in columns[:SHOWN])
        return _Table({}, splits, f"of its columns ({listed}) none is called label, class, category or target")
    return _Table({written: row.get(label) for written, row in pairs}, splits, column=label)


def _files_in(column: str, rows: Sequence[Row], index: _Index) -> int:
    """How many different files a column names; a name with its suffix counts twice, as an index may look like one."""
    cells = {row[column] for row in rows if isinstance(row.get(column), str)}
    return sum(
        1 + (re.search(r"\.[A-Za-z]\w{1,4}$", cell) is not None) for cell in cells if index.find(cell) is not None
    )


# --- labels -----------------------------------------------------------------------------------------------------------


def _classes(values: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """Labels as names of classes, without files that have none; or the reason why they are no classes."""
    given = {name: value for name, value in values.items() if value is not None and value != ""}
    if any(isinstance(value, list) for value in given.values()):
        return _of_lists(given)
    if any(isinstance(value, Mapping) for value in given.values()):
        return {}, "its labels are objects, not names or numbers of classes"
    texts = {name: _text(value) for name, value in given.items()}
    numbers = [_number(text) for text in texts.values()]
    if numbers and all(number is not None for number in numbers):
        odd = next((number for number in numbers if number is not None and not number.is_integer()), None)
        if odd is not None:
            return {}, f"its labels are numbers such as {odd:g}, not classes"
        if any("." in text for text in texts.values()):  # a table with a gap stores 3 as 3.0
            return {name: str(int(float(text))) for name, text in texts.items()}, ""
    return texts, ""


def _of_lists(values: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """One-hot rows as numbers of classes; rows of one label as that label."""
    lengths = {len(value) if isinstance(value, list) else -1 for value in values.values()}
    if lengths == {1}:
        return _classes({name: value[0] for name, value in values.items()})
    if len(lengths) == 1 and all(_one_hot(value) for value in values.values()):
        return {name: str(value.index(1)) for name, value in values.items()}, ""
    length = max(lengths)
    return {}, f"it has up to {length:,} values for each file, and only one-hot rows of them are classes"


def _one_hot(row: Any) -> bool:
    return isinstance(row, list) and all(one in (0, 1) for one in row) and sum(row) == 1


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and re.fullmatch(r"[-+\d.eE]+", text) else None
