"""The dataset component that a reference of `--data` means: by its name, or by the suffix of a file that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue, Found

PREFIX = "data."
"""The prefix of a dataset's options: `--data ring --data.modes 3`."""

FILES = (".zip", ".npy", ".npz", ".gz")
"""Suffixes of files that are read without a dataset component."""


def dataset_of(catalogue: Catalogue, reference: Any, namespace: str | None = None) -> Found | None:
    """The dataset that a reference means, with its preset; None for an unknown name and a path that needs no dataset.

    Raises ConfigError for a name that is ambiguous, an unknown preset, and a file that several datasets read.
    """
    if not isinstance(reference, str | PathLike):
        return None
    text = str(reference)
    if is_name(catalogue, text):
        return catalogue.find("dataset", text, namespace)
    reader = reader_of(catalogue, text)
    return None if reader is None else catalogue.find("dataset", reader.id)


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
    if len(found) > 1:
        raise ConfigError(
            f"{reference} can be read by several datasets: {', '.join(entry.id for entry in found)}\n"
            f"switch one of them off with ZOO_DISABLE_PLUGINS={found[-1].distribution}"
        )
    return found[0]


def is_path(catalogue: Catalogue, reference: str) -> bool:
    """Whether a reference can only be a path."""
    suffixes = (*FILES, *(suffix for suffix, _ in _suffixes(catalogue)))
    return reference.startswith((".", "~", "/")) or reference.lower().endswith(suffixes)


def _suffixes(catalogue: Catalogue) -> list[tuple[str, Entry]]:
    return [(suffix, entry) for entry in catalogue.items("dataset") for suffix in entry.component.suffixes]


def is_name(catalogue: Catalogue, reference: str) -> bool:
    """Whether a reference starts with the name of an installed dataset; it may still be wrong or ambiguous."""
    space, _, rest = reference.rpartition("/")
    name = rest.partition(".")[0]
    return not is_path(catalogue, reference) and any(
        entry.name == name and space in ("", entry.namespace) for entry in catalogue.items("dataset")
    )


def without_prefix(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a dataset among values by flat key, without their prefix."""
    return {key.removeprefix(PREFIX): value for key, value in values.items() if key.startswith(PREFIX)}
