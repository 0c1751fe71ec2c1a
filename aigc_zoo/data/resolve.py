"""Loads the dataset that `--data` refers to, by name or by path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aigc_zoo.data.download import Progress
from aigc_zoo.data.entries import Wanted
from aigc_zoo.data.modalities import kinds
from aigc_zoo.data.modalities import modality as find
from aigc_zoo.data.open import open_path, resized
from aigc_zoo.data.place import cache_folder
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.game import Samples
from aigc_zoo.options import bind, reader_of
from aigc_zoo.options.data import is_name, is_path
from aigc_zoo.plugins import Catalogue, catalogue


def load(
    catalogue: Catalogue,
    reference: str,
    *,
    size: int | None = None,
    modality: str = "",
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    skip_bad: int = 0,
    wanted: Wanted | None = None,
) -> dict[str, Samples]:
    """The splits of the dataset with that name or id, otherwise of the file or folder at that path.

    The split "train" is always among them. `size` resizes images to squares of that many pixels a side; `options` are
    those of a named dataset, of the one that reads the file by its suffix, or of the modality that files are read as,
    by default the first of the zoo's own that reads any of them; `progress(done, all)` is called from time
    to time while images are read, of which up to `skip_bad` that cannot be read are left out. Raises DataError and
    ConfigError that name the fix.
    """
    path = Path(reference).expanduser()
    if is_name(catalogue, reference):
        if modality:
            raise ConfigError(f"--modality {modality}: {reference} is a dataset, whose modality is known")
        return _named(catalogue, reference, size, options)
    reader = reader_of(catalogue, reference) if path.is_file() else None
    if reader is not None:
        return _named(catalogue, reader.id, size, options, path)
    if exists(path) or is_path(catalogue, reference):
        of = kinds(catalogue, modality, **{"size": size, **(options or {})})
        return open_path(path, of, wanted=wanted, progress=progress, skip_bad=skip_bad)
    try:
        catalogue.find("dataset", reference)
    except ConfigError as unknown:
        *lines, last = str(unknown).splitlines()
        raise DataError("\n".join([*lines, f"and there is no such file or folder; {last}"])) from None
    raise AssertionError(f"{reference} is not a name, but was found")


def load_path(path: Path) -> dict[str, Samples]:
    """The splits of the files at a path, with what is installed; for scripts of plugins, which have no catalogue."""
    return load(catalogue(), str(path.absolute()))


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
    modalities = {samples.spec.modality for samples in splits.values()}
    return resized(splits, {name: find(catalogue, name) for name in modalities}, size)


def where(name: str) -> Path:
    """The folder of a dataset's files and downloads: `$ZOO_DATA/NAME` if it exists, otherwise one in the cache."""
    data = os.environ.get("ZOO_DATA")
    if data and (Path(data) / name).is_dir():
        return Path(data) / name
    return cache_folder() / "data" / name
