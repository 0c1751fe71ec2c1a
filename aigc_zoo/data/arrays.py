"""Readers of .npy and .npz files, and conversion of arrays to samples by shape and dtype. Nothing is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aigc_zoo.data.samples import array_samples, image_samples, point_samples
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples, Spec

MOST_BYTES = 64 << 30

Array = np.ndarray[Any, Any]

_VALUES = ("images", "image", "x", "data", "samples")
_CHANNELS = (3, 1, 4)  # the most likely first
_LABELS = ("labels", "label", "y", "targets")
_SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val"}


def open_arrays(path: Path) -> dict[str, Samples]:
    """The splits in a .npy or .npz file.

    An .npz file has `images` (or `x`, or its first array) and optionally `labels` (or `y`). The names may include a
    split, as in `train_images` or `x_test`. Raises DataError that names what is wrong.
    """
    try:
        if path.suffix.lower() == ".npz":
            found = _npz(path)
        else:
            # Memory-mapped copy-on-write: torch needs memory that is writable, even if nothing writes to it.
            # (`np.load` would also open a zip of that name, and its error for objects advises to unpickle them.)
            found = {"train": (np.lib.format.open_memmap(path, mode="c"), None)}
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read as arrays: {' '.join(str(error).split())}") from error
    if "train" not in found:
        raise DataError(
            f"{path} has no training samples, only {', '.join(found)}: name an array train_images, or images"
        )
    return splits_of(path, found)


def _npz(path: Path) -> dict[str, tuple[Array, Array | None]]:
    """Arrays of samples and labels by split."""
    with zipfile.ZipFile(path) as zipped:
        total = sum(member.file_size for member in zipped.filelist)
    if total > MOST_BYTES:
        raise DataError(f"{path} unpacks to {total:,} bytes: save its arrays as .npy files, which are memory-mapped")
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: array for name in file.files if isinstance(array := file[name], np.ndarray)}  # or bytes
    values: dict[str, Array] = {}
    labels: dict[str, Array] = {}
    for key, array in arrays.items():
        split, name = _split_and_name(key.lower())
        if name in _LABELS:
            labels.setdefault(split, array)
        elif name in _VALUES:
            values.setdefault(split, array)
    if not values:
        rest = [array for key, array in arrays.items() if _split_and_name(key.lower())[1] not in _LABELS]
        if not rest:
            raise DataError(f"{path} has no array of samples: name it images")
        values["train"] = rest[0]
    return {split: (array, labels.get(split)) for split, array in values.items()}


def _split_and_name(key: str) -> tuple[str, str]:
    """Split and name of a key: train_images and images_train are both ("train", "images")."""
    parts = key.split("_")
    for name, split in _SPLITS.items():
        if name in (parts[0], parts[-1]):
            return split, "_".join(part for part in parts if part != name) or "images"
    return "train", key


def splits_of(path: Path, arrays: Mapping[str, tuple[Array, Array | None]]) -> dict[str, Samples]:
    """Samples of each split from arrays of values and labels, the training split first, with common classes."""
    names: list[str] = []
    numbers: dict[str, Tensor | None] = dict.fromkeys(arrays)
    given = {split: labels for split, (_, labels) in arrays.items() if labels is not None}
    if len(given) == len(arrays):
        for split, labels in given.items():
            if labels.ndim != 1 or len(labels) != len(arrays[split][0]) or labels.dtype.kind not in "iuU":
                raise DataError(
                    f"{path}: labels must be integers or texts, one for each of {len(arrays[split][0]):,} samples, "
                    f"not {labels.dtype} of shape {labels.shape}"
                )
        classes = np.unique(np.concatenate(list(given.values())))
        names = [str(label) for label in classes]
        numbers |= {split: torch.from_numpy(np.searchsorted(classes, labels)) for split, labels in given.items()}
    order = sorted(arrays, key=lambda split: split != "train")
    return {split: _samples(path, split, arrays[split][0], numbers[split], names) for split in order}


def _samples(path: Path, split: str, values: Array, labels: Tensor | None, classes: list[str]) -> Samples:
    """Samples of an array, as images, points or general arrays, depending on shape, dtype and range."""
    name = path.absolute().name.split(".")[0]
    if values.ndim < 2 or values.dtype.kind not in "fuib" or not values.size:
        raise DataError(f"{path}: {split} is {values.dtype} of shape {values.shape}; samples must be numbers (N, ...)")
    if values.dtype.kind == "b":
        values = values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint8 and values.ndim in (3, 4):
        return image_samples(name, split, _channels_first(torch.from_numpy(values)), labels, classes)
    if values.dtype.kind != "f":
        integers = torch.from_numpy(values.astype(np.int64))
        spec = Spec(shape=tuple(integers.shape[1:]), range=None, dtype="int64", modality="array")
        return array_samples(name, split, spec, integers, labels, classes)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite((low, high)).all():
        raise DataError(f"{path}: {split} has NaN or infinite values: remove such samples")
    tensor = torch.from_numpy(values.astype(values.dtype.newbyteorder("="), copy=False))
    if tensor.shape[1:] == (2,):
        return point_samples(name, split, tensor, labels, classes)
    bounds = (0.0, 1.0) if low >= 0 and high <= 1 else (-1.0, 1.0) if low >= -1 and high <= 1 else None
    modality = "image" if bounds and tensor.ndim in (3, 4) else "array"
    if modality == "image":
        tensor = _channels_first(tensor)
    spec = Spec(shape=tuple(tensor.shape[1:]), range=bounds, modality=modality)
    return array_samples(name, split, spec, tensor, labels, classes)


def _channels_first(images: Tensor) -> Tensor:
    """(N, H, W) or (N, H, W, C) -> (N, C, H, W). Where both axes could be channels, the more likely number decides."""
    if images.ndim == 3:
        return images[:, None]
    first, last = (_CHANNELS.index(n) if n in _CHANNELS else 9 for n in (images.shape[1], images.shape[3]))
    return images.permute(0, 3, 1, 2) if last < 9 and last <= first else images
