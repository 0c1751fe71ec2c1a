"""References to data, extractors and metrics, resolved once: to full ids, or the absolute path of data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError, DataError, MissingPlugin, ZooError

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue

KINDS = {"data": "dataset", "extractor": "extractor"}
"""Run settings that refer to a component, and its kind. Data can also be a path, or in memory."""

PREFIX = "data."
"""The prefix of a dataset's options: `--data ring --data.modes 3`."""

FILES = (".zip", ".npy", ".npz", ".gz")
"""Suffixes of files that are read without a dataset component."""

IN_MEMORY = "in-memory data"
"""The reference to data that Python code passes. It has a space, so no component has it. Equal contents are equal data,
whatever holds them."""


class Reference(NamedTuple):
    """The meaning of a reference: `full` is a full id with its preset, an absolute path, or IN_MEMORY.

    `full` has the same meaning in any folder and whatever else is installed. `entry` is the component, or the dataset
    that reads the file at a path by its suffix; None for other paths. `path` is None for what is no path.
    """

    full: str
    entry: Entry | None = None
    preset: str = ""
    note: str = ""
    path: Path | None = None


def find_data(catalogue: Catalogue, reference: str, namespace: str | None = None) -> Reference:
    """The dataset of that name, else the file or folder at that path, with the dataset that reads it, if any.

    `namespace` is that of the plugin that states the reference, None for a user's. Raises ConfigError for an ambiguous
    name, one with a wrong preset, and a file that several datasets read; DataError where there is neither a dataset nor
    a file.
    """
    if reference == IN_MEMORY:
        return Reference(IN_MEMORY)
    path, only_path = expanded(reference), is_path(catalogue, reference)
    if not only_path and catalogue.has("dataset", reference, namespace):
        found = _component(catalogue, "dataset", reference, namespace)
        if namespace is None and exists(path) and found.entry is not None:
            note = f"note: {reference} is the dataset {found.entry.id}; for the path of that name, write ./{reference}"
            return found._replace(note=note)
        return found
    if only_path or exists(path):
        # The path as it was written is for messages about its files.
        return Reference(str(path.absolute()), _reader(catalogue, path), path=path)
    try:
        catalogue.find("dataset", reference, namespace)
    except MissingPlugin:
        raise
    except ConfigError as unknown:
        *lines, last = str(unknown).splitlines()
        raise DataError("\n".join([*lines, f"and there is no such file or folder; {last}"])) from None
    raise AssertionError(f"{reference} is not a name, but was found")


def find(catalogue: Catalogue, key: str, reference: str, namespace: str | None = None) -> Reference:
    """The meaning of the value of the run setting `key`, as it is recorded.

    A reference that means nothing is returned for the error when it is used, in the namespace that it was looked up in.
    """
    try:
        if key == "data":
            return find_data(catalogue, reference, namespace)
        return _component(catalogue, KINDS[key], reference, namespace)
    except ZooError:
        return Reference(f"{namespace}/{reference}" if namespace and "/" not in reference else reference)


def find_metrics(catalogue: Catalogue, names: str, namespace: str | None = None) -> str:
    """Comma-separated metrics as they are recorded: those of other packages with their full ids, which have the same
    meaning whatever else is installed. The zoo's, values, and names that mean nothing stay as they are.
    """
    return ",".join(_metric(catalogue, name.strip(), namespace) for name in names.split(","))


def _metric(catalogue: Catalogue, name: str, namespace: str | None) -> str:
    if not catalogue.has("metric", name, namespace):
        return name
    entry = _component(catalogue, "metric", name, namespace).entry
    return name if entry is None or entry.namespace == "zoo" else entry.id


def reader_of(catalogue: Catalogue, reference: str) -> Entry | None:
    """The dataset that reads a file, by the longest suffix that a dataset states; ours precede those of other packages.

    None for files that are read without a dataset. Raises ConfigError where several other packages read the file.
    """
    name = Path(reference).name.lower()
    stated = [
        (len(suffix), entry) for suffix, entry in _suffixes(catalogue) if name.endswith(suffix) and name != suffix
    ]
    if not stated or name.endswith(FILES[:3]):
        return None
    longest = max(length for length, _ in stated)
    found = [entry for length, entry in stated if length == longest]
    found = [entry for entry in found if entry.namespace == "zoo"] or found
    if len(found) > 1:  # a run that is resumed keeps its reader
        found = [entry for entry in found if entry.distribution in catalogue.provenance.readers] or found
    if len(found) > 1:
        raise ConfigError(
            f"{reference} can be read by several datasets: {', '.join(entry.id for entry in found)}\n"
            f"switch one of them off with ZOO_DISABLE_PLUGINS={found[-1].distribution}"
        )
    return found[0]


def _reader(catalogue: Catalogue, path: Path) -> Entry | None:
    """The dataset that reads a path. Raises MissingPlugin for a file whose reader is recorded and not installed."""
    if exists(path) and path.is_dir():
        return None
    reader = reader_of(catalogue, str(path))
    recorded = catalogue.provenance.readers if reader is None and not path.name.lower().endswith(FILES) else {}
    if missing := catalogue.missing(recorded):
        raise MissingPlugin(f"{path}: {'; '.join(missing)}")
    return reader


def expanded(reference: str | Path) -> Path:
    """The path with `~` replaced by the user's home; as it is where there is no such user."""
    try:
        return Path(reference).expanduser()
    except RuntimeError:
        return Path(reference)


def exists(path: Path) -> bool:
    """Whether the path exists; False for names that the system does not accept."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long; a NUL
        return False


def is_path(catalogue: Catalogue, reference: str) -> bool:
    """Whether a reference can only be a path."""
    suffixes = (*FILES, *(suffix for suffix, _ in _suffixes(catalogue)))
    return reference.startswith((".", "~", "/")) or reference.lower().endswith(suffixes)


def _suffixes(catalogue: Catalogue) -> list[tuple[str, Entry]]:
    return [(suffix, entry) for entry in catalogue.items("dataset") for suffix in entry.component.suffixes]


def _component(catalogue: Catalogue, kind: str, reference: str, namespace: str | None) -> Reference:
    found = catalogue.find(kind, reference, namespace)
    full = f"{found.entry.id}.{found.preset}" if found.preset else found.entry.id
    return Reference(full, found.entry, found.preset, found.note)
