"""Loads the dataset that `--data` refers to, by name or by path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aigc_zoo.data import memory
from aigc_zoo.data.download import Progress
from aigc_zoo.data.images import resized
from aigc_zoo.data.items import IN_MEMORY
from aigc_zoo.data.open import open_path
from aigc_zoo.data.place import cache_folder
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.game import Samples
from aigc_zoo.options import bind, reader_of
from aigc_zoo.options.data import is_name, is_path
from aigc_zoo.plugins import Catalogue


def load(
    catalogue: Catalogue,
    reference: Any,
    *,
    size: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    skip_bad: int = 0,
) -> dict[str, Samples]:
    """The splits of the dataset with that name or id, otherwise of the file or folder at that path, or in memory.

    `reference` is a name, an id, a path, or data that `memory.open_data` takes. The split "train" is always among the
    splits. `size` resizes images to squares of that many pixels a side; `options` are those of a named dataset, or of
    the one that reads the file by its suffix; `progress(done, all)` is called from time to time while images are read,
    of which up to `skip_bad` that cannot be read are left out. Raises DataError and ConfigError that name the fix.
    """
    if not memory.is_reference(reference):
        return memory.open_data(reference, size=size, progress=progress, skip_bad=skip_bad)
    reference = os.fspath(reference)
    if reference == IN_MEMORY:
        raise DataError(
            f"{IN_MEMORY} was passed to aigc_zoo.train in Python, and no run stores it:\n"
            "name a dataset instead (--against, --data), or pass it again, as in load_run(PATH).evaluate(data)"
        )
    path = Path(reference).expanduser()
    if is_name(catalogue, reference):
        return _named(catalogue, reference, size, options)
    reader = reader_of(catalogue, reference) if path.is_file() else None
    if reader is not None:
        return _named(catalogue, reader.id, size, options, path)
    if options:
        raise ConfigError(f"{reference} is a path, and paths have no options: {', '.join(options)}")
    if exists(path) or is_path(catalogue, reference):
        return open_path(path, size=size, progress=progress, skip_bad=skip_bad)
    try:
        catalogue.find("dataset", reference)
    except ConfigError as unknown:
        *lines, last = str(unknown).splitlines()
        raise DataError("\n".join([*lines, f"and there is no such file or folder; {last}"])) from None
    raise AssertionError(f"{reference} is not a name, but was found")


def exists(path: Path) -> bool:
    """Whether the path exists; False for names that the system does not accept."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long; a NUL
        return False


def _named(
    catalogue: Catalogue,
    reference: str,
    size: int | None,
    options: Mapping[str, Any] | None,
    file: Path | None = None,
) -> dict[str, Samples]:
    entry, target = bind(catalogue, "dataset", reference, options)
    splits = dict(target(file or where(entry.name)))
    if "train" not in splits:
        raise ConfigError(
            f"dataset {entry.id} has no split train, only {', '.join(splits) or 'none'}: it cannot be used for training"
        )
    return splits if size is None else {split: resized(samples, size) for split, samples in splits.items()}


def where(name: str) -> Path:
    """The folder of a dataset's files and downloads: `$ZOO_DATA/NAME` if it exists, otherwise one in the cache."""
    data = os.environ.get("ZOO_DATA")
    if data and (Path(data) / name).is_dir():
        return Path(data) / name
    return cache_folder() / "data" / name
