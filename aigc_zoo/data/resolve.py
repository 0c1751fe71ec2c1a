"""Loads the dataset that `--data` refers to, by name or by path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from aigc_zoo.data import memory
from aigc_zoo.data.download import Progress
from aigc_zoo.data.entries import Wanted
from aigc_zoo.data.modalities import kinds
from aigc_zoo.data.modalities import modality as find
from aigc_zoo.data.open import open_path, resized
from aigc_zoo.data.place import cache_folder
from aigc_zoo.data.returned import splits_of
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.game import Samples, Spec
from aigc_zoo.options import bind, references
from aigc_zoo.options.references import IN_MEMORY
from aigc_zoo.plugins import Catalogue, catalogue


def load(
    catalogue: Catalogue,
    reference: Any,
    *,
    size: int | None = None,
    modality: str = "",
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    skip_bad: int | None = None,
    wanted: Wanted | None = None,
    like: Spec | None = None,
    namespace: str | None = None,
) -> dict[str, Samples]:
    """The splits of the dataset with that name or id, otherwise of the file or folder at that path, or in memory.

    `reference` is a name, an id, a path, or data that `memory.open_data` takes. The split "train" is always among the
    splits. `size` resizes images to squares of that many pixels a side; `modality` is the one that files at a path are
    read as, by default the first of the zoo's own that reads any of them, and that a dataset must be of; `options` are
    those of a named dataset, of the one that reads the file by its suffix, or of the modality; `progress(done, all)` is
    called from time to time while files are read, of which up to `skip_bad` that cannot be read are left out; `wanted`
    are entries that files are read for; `like` is the spec of samples that those in files are compared with;
    `namespace` is that of the plugin that states the reference. The extractor of the samples is a full id. Raises
    DataError and ConfigError that name the fix.
    """
    if not memory.is_reference(reference):
        of = kinds(catalogue, modality, size=size)
        return _quantized(catalogue, memory.open_data(reference, of, progress=progress, skip_bad=skip_bad or 0))
    data = references.find_data(catalogue, os.fspath(reference), namespace)
    if data.full == IN_MEMORY:
        raise DataError(
            f"{IN_MEMORY} was passed to aigc_zoo.train in Python, and no run stores it:\n"
            "name a dataset instead (--against, --data), or pass it again, as in load_run(PATH).evaluate(data)"
        )
    if data.path is None:
        splits, note = _named(catalogue, data.full, size, options), data.note.removeprefix("note: ")
        _require_modality(catalogue, reference, splits, modality)
        return {name: replace(one, notes=(note, *one.notes)) if note else one for name, one in splits.items()}
    if data.entry is not None and data.path.is_file():
        splits = _named(catalogue, data.entry.id, size, options, data.path)
        _require_modality(catalogue, reference, splits, modality)
        return splits
    of = replace(kinds(catalogue, modality, **{"size": size, **(options or {})}), like=like)
    return open_path(data.path, of, wanted=wanted, progress=progress, skip_bad=skip_bad)


def load_path(path: Path) -> dict[str, Samples]:
    """The splits of the files at a path, with what is installed; for scripts of plugins, which have no catalogue."""
    return load(catalogue(), str(path.absolute()))


def _named(
    catalogue: Catalogue,
    reference: str,
    size: int | None,
    options: Mapping[str, Any] | None,
    file: Path | None = None,
) -> dict[str, Samples]:
    entry, target = bind(catalogue, "dataset", reference, options)
    splits = splits_of(entry, target(file or where(entry.name, entry.namespace)))
    if "train" not in splits:
        raise ConfigError(
            f"dataset {entry.id} has no split train, only {', '.join(splits) or 'none'}: it cannot be used for training"
        )
    for name, samples in splits.items():
        if samples.extractor:
            extractor = references.find(catalogue, "extractor", samples.extractor, entry.namespace)
            splits[name] = replace(samples, extractor=extractor.full)
    modalities = {samples.spec.modality for samples in splits.values()}
    return _quantized(catalogue, resized(splits, {name: find(catalogue, name) for name in modalities}, size))


def _quantized(catalogue: Catalogue, splits: Mapping[str, Samples]) -> dict[str, Samples]:
    """The splits with the precision of files, as their modality has it, where the dataset does not state it."""
    found = dict(splits)
    for name, samples in found.items():
        if samples.quantize is None:
            of = find(catalogue, samples.spec.modality)
            found[name] = replace(samples, quantize=partial(of.quantize, spec=samples.spec))
    return found


def _require_modality(catalogue: Catalogue, reference: Any, splits: Mapping[str, Samples], wanted: str) -> None:
    """ConfigError where a dataset holds samples of another modality than the wanted one, if there is one."""
    own = splits["train"].spec.modality
    if wanted and catalogue.find("modality", wanted).entry is not catalogue.find("modality", own).entry:
        raise ConfigError(
            f"{reference} holds {find(catalogue, own).units}, and {find(catalogue, wanted).units} are needed "
            f"(--modality {wanted})\nchoose other data, or a recipe for {find(catalogue, own).units}"
        )


def where(name: str, namespace: str = "zoo") -> Path:
    """The folder of a dataset's files and downloads: `$ZOO_DATA/NAME` if it exists, otherwise one in the cache.

    Datasets of other packages look in `$ZOO_DATA/NAMESPACE/NAME` first, and the cache has a folder for each namespace,
    so that two datasets of the same name never read each other's downloads.
    """
    full = name if namespace == "zoo" else f"{namespace}/{name}"
    data = os.environ.get("ZOO_DATA")
    given = [Path(data) / one for one in dict.fromkeys((full, name))] if data else []
    return next((folder for folder in given if folder.is_dir()), cache_folder() / "data" / full)
