"""Readers of .npy and .npz files, whose arrays become images, points or general samples. Nothing is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from aigc_zoo.data.array_images import limits
from aigc_zoo.data.array_labels import numbered
from aigc_zoo.data.kinds import Kinds
from aigc_zoo.data.samples import samples_of
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples
from aigc_zoo.modality import Adopted, Modality

MOST_BYTES = 64 << 30

Array = np.ndarray[Any, Any]

_VALUES = ("images", "image", "arrays", "x", "data", "samples")
_LABELS = ("labels", "label", "y", "targets")
_KINDS = {"b": "bool", "i": "integer", "u": "integer", "f": "float"}
SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}


class Named(NamedTuple):
    """Arrays of samples and labels by split, and what their names call the samples: "images", "arrays" or ""."""

    splits: dict[str, tuple[Array, Array | None]]
    kind: str = ""


def open_arrays(path: Path, kinds: Kinds) -> dict[str, Samples]:
    """The splits in a .npy or .npz file.

    An .npz file has `images` (or `x`, or one array of samples of any name) and optionally `labels` (or `y`). The names
    may include a split, as in `train_images` or `x_test`. Samples that are called `arrays` are never taken for images.
    Raises DataError that names the fault.
    """
    try:
        if path.suffix.lower() == ".npz":
            found = _npz(path)
        else:
            # Memory-mapped copy-on-write: torch needs memory that is writable, even if nothing writes to it.
            # (`np.load` would also open a zip of that name, and its error for objects advises to unpickle them.)
            found = Named({"train": (np.lib.format.open_memmap(path, mode="c"), None)})
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read as arrays: {' '.join(str(error).split())}") from error
    if "train" not in found.splits:
        raise DataError(
            f"{path} has no training samples, only {', '.join(found.splits)}: name an array train_images, or images"
        )
    return splits_of(path, found.splits, kinds, found.kind)


def _npz(path: Path) -> Named:
    """The arrays of an .npz file by split."""
    with zipfile.ZipFile(path) as zipped:
        total = sum(member.file_size for member in zipped.filelist)
    if total > MOST_BYTES:
        raise DataError(f"{path} unpacks to {total:,} bytes: save its arrays as .npy files, which are memory-mapped")
    with np.load(path, allow_pickle=False) as file:
        return named(
            path, {name: array for name in file.files if isinstance(array := file[name], np.ndarray)}
        )  # or bytes


def named(path: Path, arrays: Mapping[str, Array]) -> Named:
    """Samples and labels by split, as the names of arrays say."""
    values: dict[str, Array] = {}
    labels: dict[str, Array] = {}
    others: dict[str, Array] = {}
    kinds = []
    for key, array in arrays.items():
        split, name = _split_and_name(key.lower())
        if name in _LABELS:
            labels.setdefault(split, array)
        elif name not in _VALUES:
            others[key] = array
        elif split not in values:
            values[split] = array
            kinds.append({"image": "images"}.get(name, name))
    if not values:
        values["train"] = _only(path, others, labels)
    alone = ", ".join(split for split in labels if split not in values)
    if alone:
        raise DataError(f"{path} has labels of {alone}, but no samples: name them {alone}_images, or remove the labels")
    kind = next((kind for kind in ("arrays", "images") if kind in kinds), "")
    return Named({split: (array, labels.get(split)) for split, array in values.items()}, kind)


def _only(path: Path, others: Mapping[str, Array], labels: dict[str, Array]) -> Array:
    """The only array of samples among arrays of unknown names; of `np.savez(path, images, labels)`, labels too."""
    if not others:
        raise DataError(f"{path} has no array of samples: name it images")
    samples = {name: array for name, array in others.items() if array.ndim > 1 and array.shape[1:] != (1,)}
    if len(samples) > 1:
        raise DataError(f"{path} has several arrays of samples: {', '.join(samples)}\nname the one to use images")
    found = next(iter(samples.values() if samples else others.values()))
    if samples and "arr_1" in others and "arr_1" not in samples and not labels:
        labels["train"] = others["arr_1"]
    return found


def _split_and_name(key: str) -> tuple[str, str]:
    """Split and name of a key: train_images and images_train are both ("train", "images"), train is ("train", "x")."""
    parts = key.split("_")
    for name, split in SPLITS.items():
        if name in (parts[0], parts[-1]):
            return split, "_".join(part for part in parts if part != name) or "x"
    return "train", key


def splits_of(
    path: Path, arrays: Mapping[str, tuple[Array, Array | None]], kinds: Kinds, kind: str = ""
) -> dict[str, Samples]:
    """Samples of each split from arrays of values and labels, the training split first, with common classes.

    `kind` is "images" or "arrays" where the file says what the values are. All splits are read in the same way.
    """
    order = sorted(arrays, key=lambda split: split != "train")
    values = {split: _numbers(path, split, arrays[split][0]) for split in order}
    first = values[order[0]]
    for split, other in values.items():
        if other.shape[1:] != first.shape[1:] or _KINDS[other.dtype.kind] != _KINDS[first.dtype.kind]:
            raise DataError(
                f"{path}: {split} is {other.dtype} of shape {other.shape}, but {order[0]} is {first.dtype} of shape "
                f"{first.shape}: all splits need one shape and dtype"
            )
    sizes = {split: len(array) for split, array in values.items()}
    numbers, classes = numbered(path, sizes, {split: labels for split, (_, labels) in arrays.items()})
    modality, adopted = _adopted(path, values, kinds, kind)
    name = path.absolute().name.split(".")[0]
    return {
        split: samples_of(
            modality, name, split, adopted.spec, torch.from_numpy(adopted.values[split]), numbers[split], classes
        )
        for split in order
    }


def _adopted(path: Path, values: Mapping[str, Array], kinds: Kinds, kind: str) -> tuple[Modality, Adopted]:
    """The first modality that takes the arrays for its samples, and how it stores them."""
    for name, modality in kinds.of.items():
        adopted = modality.adopt(values, kind, str(path))
        if adopted is not None:
            return modality, adopted._replace(spec=replace(adopted.spec, modality=name))
    first, units = next(iter(values.values())), " or ".join(one.units for one in kinds.of.values())
    raise DataError(f"{path}: {first.dtype} of shape {first.shape} cannot be read as {units}")


def _numbers(path: Path, split: str, values: Array) -> Array:
    """Values (N, ...) of a dtype that torch knows, without NaN or infinity."""
    if values.ndim < 2 or values.dtype.kind not in "fuib" or not values.size:
        raise DataError(f"{path}: {split} is {values.dtype} of shape {values.shape}; samples must be numbers (N, ...)")
    if values.dtype.kind != "f":
        return values
    if not np.isfinite(limits({split: values})).all():
        raise DataError(f"{path}: {split} has NaN or infinite values: remove such samples")
    native = values.dtype.newbyteorder("=") if values.dtype.itemsize <= 8 else np.float64
    return values.astype(native, copy=False)
