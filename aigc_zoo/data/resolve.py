"""Loads the dataset that `--data` refers to, by name or by path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aigc_zoo.data.download import Progress
from aigc_zoo.data.images import resized
from aigc_zoo.data.open import open_path
from aigc_zoo.data.place import cache_folder
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Samples
from aigc_zoo.options import bind, references
from aigc_zoo.plugins import Catalogue


def load(
    catalogue: Catalogue,
    reference: str,
    *,
    size: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    skip_bad: int = 0,
    namespace: str | None = None,
) -> dict[str, Samples]:
    """The splits of the dataset with that name or id, otherwise of the file or folder at that path.

    The split "train" is always among them. `size` resizes images to squares of that many pixels a side; `options` are
    those of a named dataset; `progress(done, all)` is called from time to time while images are read, of which up to
    `skip_bad` that cannot be read are left out; `namespace` is that of the plugin that states the reference. The
    extractor of the samples is a full id. Raises DataError and ConfigError that name the fix.
    """
    data = references.find_data(catalogue, reference, namespace)
    if data.entry is not None:
        splits = _named(catalogue, data.full, size, options)
        note = data.note.removeprefix("note: ")
        return {name: replace(one, notes=(note, *one.notes)) if note else one for name, one in splits.items()}
    if options:
        raise ConfigError(f"{reference} is a path, and paths have no options: {', '.join(options)}")
    # The path as it was written, since messages about its files state it.
    return open_path(references.expanded(reference), size=size, progress=progress, skip_bad=skip_bad)


def _named(
    catalogue: Catalogue, reference: str, size: int | None, options: Mapping[str, Any] | None
) -> dict[str, Samples]:
    entry, target = bind(catalogue, "dataset", reference, options)
    splits = dict(target(where(entry.name, entry.namespace)))
    if "train" not in splits:
        raise ConfigError(
            f"dataset {entry.id} has no split train, only {', '.join(splits) or 'none'}: it cannot be used for training"
        )
    for name, samples in splits.items():
        if samples.extractor:
            extractor = references.find(catalogue, "extractor", samples.extractor, entry.namespace)
            splits[name] = replace(samples, extractor=extractor.full)
    return splits if size is None else {split: resized(samples, size) for split, samples in splits.items()}


def where(name: str, namespace: str = "zoo") -> Path:
    """The folder of a dataset's files and downloads: `$ZOO_DATA/NAME` if it exists, otherwise one in the cache.

    Datasets of other packages look in `$ZOO_DATA/NAMESPACE/NAME` first, and the cache has a folder for each namespace,
    so that two datasets of the same name never read each other's downloads.
    """
    full = name if namespace == "zoo" else f"{namespace}/{name}"
    data = os.environ.get("ZOO_DATA")
    given = [Path(data) / one for one in dict.fromkeys((full, name))] if data else []
    return next((folder for folder in given if folder.is_dir()), cache_folder() / "data" / full)
