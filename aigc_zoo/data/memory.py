"""Tensors, arrays and datasets of PyTorch as the splits of a dataset, read as `arrays` reads those of a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from aigc_zoo.data.arrays import SPLITS, named, splits_of
from aigc_zoo.data.download import Progress
from aigc_zoo.data.items import read_items, to_array
from aigc_zoo.data.kinds import Kinds
from aigc_zoo.data.open import resized
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples
from aigc_zoo.options.references import IN_MEMORY

KINDS = "a tensor, an array, (samples, labels), a dict of them, a Dataset, a dict of splits, or a name or path"

Array = np.ndarray[Any, Any]


def is_reference(data: object) -> bool:
    """Whether data is the name or path of a dataset, and not the dataset itself."""
    return isinstance(data, str | os.PathLike)


class Part(NamedTuple):
    """The samples of one split, as `arrays` reads them; `names` are those of the classes 0, 1, ..., if known."""

    values: Array
    labels: Array | None = None
    kind: str = ""
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    resize: str = "none"


def open_data(data: Any, kinds: Kinds, *, progress: Progress | None = None, skip_bad: int = 0) -> dict[str, Samples]:
    """The splits of data in memory, the training split first.

    data      a tensor or array (N, ...); `(samples, labels)`; arrays by name, as in an .npz file; a map-style Dataset
              whose items are samples, `(sample, label, ...)` or dicts of named values; or any of these by split
    kinds     the modalities that arrays are taken for, and the side in pixels that images are cropped and resized to
    progress  called while a Dataset is read, item by item and once; up to `skip_bad` items that raise are left out

    Raises DataError, as for files.
    """
    if isinstance(data, Mapping) and data and all(isinstance(value, Samples) for value in data.values()):
        return dict(data)  # they were opened before
    size = kinds.options.get("size")
    parts = _parts(data, size, progress, skip_bad)
    if "train" not in parts:
        raise DataError(f"{IN_MEMORY} has no training samples, only {', '.join(parts) or 'none'}: name a split train")
    kind = next((part.kind for part in parts.values() if part.kind), "")
    arrays = {split: (part.values, part.labels) for split, part in parts.items()}
    splits = splits_of(Path(IN_MEMORY), arrays, kinds, kind)
    found = {}
    for split, samples in splits.items():
        part = parts[split]
        if size is not None and part.resize == "none":
            (samples,) = resized({split: samples}, kinds.of, size).values()
        classes = _named_classes(samples.classes, part.names)
        resize = samples.resize if part.resize == "none" else part.resize
        found[split] = replace(samples, notes=part.notes, skipped=part.skipped, classes=classes, resize=resize)
    return found


def _named_classes(numbers: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Names in place of numbers, where there is one for every number."""
    known = dict(zip(map(str, range(len(names))), names, strict=True))
    return tuple(known[number] for number in numbers) if all(number in known for number in numbers) else tuple(numbers)


def _parts(data: Any, size: int | None, progress: Progress | None, skip_bad: int) -> dict[str, Part]:
    if not isinstance(data, Mapping):
        return {"train": _part(data, "train", size, progress, skip_bad)}
    if all(_is_array(value) or isinstance(value, list) for value in data.values()):
        found = named(Path(IN_MEMORY), {str(key): to_array(value, str(key)) for key, value in data.items()})
        return {split: Part(values, labels, found.kind) for split, (values, labels) in found.splits.items()}
    unknown = [str(key) for key in data if str(key) not in SPLITS]
    if unknown:
        raise DataError(f"{IN_MEMORY}: {unknown[0]} is no split: leave it out, or name it train, test or val")
    return {SPLITS[key]: _part(value, SPLITS[key], size, progress, skip_bad) for key, value in data.items()}


def _part(data: Any, split: str, size: int | None, progress: Progress | None, skip_bad: int) -> Part:
    """The samples of one split."""
    if _is_array(data):
        return Part(to_array(data, split))
    if isinstance(data, tuple) and len(data) == 2 and _is_array(data[0]):
        return Part(to_array(data[0], split), to_array(data[1], f"labels of {split}"))
    kind = type(data).__name__
    if isinstance(data, DataLoader):
        raise DataError(
            f"{IN_MEMORY}: {split} is a {kind}, which draws batches itself: pass its dataset (loader.dataset)"
        )
    if isinstance(data, IterableDataset):
        raise DataError(f"{IN_MEMORY}: {split} is a {kind}, a stream without indices: pass list(...) of it")
    if isinstance(data, tuple | Mapping) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise DataError(f"{IN_MEMORY}: {split} of type {kind} cannot be used\npass {KINDS}")
    items = read_items(data, split, size=size, progress=progress, skip_bad=skip_bad)
    found = named(Path(IN_MEMORY), items.columns)
    if list(found.splits) != ["train"]:
        raise DataError(f"{IN_MEMORY}: the items of {split} have names of splits: {', '.join(items.columns)}")
    values, labels = found.splits["train"]
    unread = [*items.unread, *(key for key, one in items.columns.items() if one is not values and one is not labels)]
    notes = [f"not read: {', '.join(unread)}; labels are read from the name label"] if unread else []
    names = items.names(next((key for key, one in items.columns.items() if one is labels), ""))
    return Part(values, labels, found.kind, names, (*notes, *items.notes), items.skipped, items.resize)


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray) or (hasattr(value, "__array__") and hasattr(value, "__len__"))
