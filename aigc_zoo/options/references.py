"""References to data and extractors, resolved once: to the full id of a component, or the absolute path of data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError, DataError, MissingPlugin, ZooError

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue

KINDS = {"data": "dataset", "extractor": "extractor"}
"""Run settings that refer to a component, and its kind. Data can also be a path."""

FILES = (".zip", ".npy", ".npz", ".gz")


class Reference(NamedTuple):
    """The meaning of a reference: `full` is a full id with its preset, or an absolute path; `entry` is None for a path.

    `full` has the same meaning in any folder and whatever else is installed.
    """

    full: str
    entry: Entry | None = None
    note: str = ""


def find_data(catalogue: Catalogue, reference: str, namespace: str | None = None) -> Reference:
    """The dataset of that name, else the file or folder at that path.

    `namespace` is that of the plugin that states the reference, None for a user's. Raises ConfigError for an ambiguous
    name or one with a wrong preset, DataError where there is neither a dataset nor a file.
    """
    path = expanded(reference)
    if not is_path(reference) and catalogue.has("dataset", reference, namespace):
        found = _component(catalogue, "dataset", reference, namespace)
        if namespace is None and exists(path) and found.entry is not None:
            note = f"note: {reference} is the dataset {found.entry.id}; for the path of that name, write ./{reference}"
            return found._replace(note=note)
        return found
    if exists(path) or is_path(reference):
        return Reference(str(path.absolute()))
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


def is_path(reference: str) -> bool:
    """Whether a reference can only be a path."""
    return reference.startswith((".", "~", "/")) or reference.lower().endswith(FILES)


def _component(catalogue: Catalogue, kind: str, reference: str, namespace: str | None) -> Reference:
    found = catalogue.find(kind, reference, namespace)
    full = f"{found.entry.id}.{found.preset}" if found.preset else found.entry.id
    return Reference(full, found.entry, found.note)
