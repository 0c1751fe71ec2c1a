"""Labels in arrays: class numbers, names or one-hot rows, as numbers into a common list of classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aigc_zoo.errors import DataError

Array = np.ndarray[Any, Any]


def numbered(
    path: Path, sizes: Mapping[str, int], given: Mapping[str, Array | None]
) -> tuple[dict[str, Tensor | None], list[str]]:
    """Labels (N,) int64 by split, and the names of the classes that all splits share, in sorted order.

    `sizes` has the number of samples of each split. Labels are integers, integral floats, bools or texts, of shape (N,)
    or (N, 1), or one-hot rows (N, classes). Raises DataError for others, and where only some splits have labels.
    """
    missing = [split for split in sizes if given.get(split) is None]
    if len(missing) == len(sizes):
        return dict.fromkeys(sizes), []
    if missing:
        having = " and ".join(split for split in sizes if split not in missing)
        raise DataError(
            f"{path}: {having} has labels, but {' and '.join(missing)} has none: all splits need them, or none\n"
            f"add the labels of {' and '.join(missing)}, or remove those of {having}"
        )
    flat = {split: _flat(path, sizes[split], labels) for split, labels in given.items() if labels is not None}
    if len({labels.dtype.kind == "U" for labels in flat.values()}) > 1:
        raise DataError(f"{path}: some splits have numbers as labels, others have texts: use one of them")
    classes = np.unique(np.concatenate(list(flat.values())))
    numbers = {split: torch.from_numpy(np.searchsorted(classes, labels)) for split, labels in flat.items()}
    return dict(numbers), [str(label) for label in classes]


def _flat(path: Path, size: int, labels: Array) -> Array:
    """Labels as integers or texts (N,)."""
    found = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if found.ndim == 2 and found.dtype.kind in "biuf" and _one_hot(found):
        found = found.argmax(1)
    if found.dtype.kind == "S":
        found = np.char.decode(found, "utf-8", "replace")
    integral = found.dtype.kind in "biu" or (found.dtype.kind == "f" and bool((found == np.rint(found)).all()))
    if found.shape != (size,) or not (integral or found.dtype.kind == "U"):
        raise DataError(
            f"{path}: labels must be integers or texts, one for each of {size:,} samples, "
            f"not {labels.dtype} of shape {labels.shape}"
        )
    return found.astype(np.int64) if integral else found


def _one_hot(rows: Array) -> bool:
    return bool(((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all())
