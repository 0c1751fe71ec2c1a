"""The items of a map-style Dataset, read one by one into one array for each of their values."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aigc_zoo.data import pixels
from aigc_zoo.data.download import Progress
from aigc_zoo.errors import DataError, in_a_line
from aigc_zoo.options.references import IN_MEMORY
from aigc_zoo.random import seeded

VARYING = (
    "the items vary from call to call, as with a random transform: each was read once, and training does not vary it; "
    "use the option augmentation instead"
)

Array = np.ndarray[Any, Any]


class Items(NamedTuple):
    """Arrays by name, the names of values that are no arrays, notes, unreadable items, and how images were resized."""

    dataset: Any
    columns: dict[str, Array]
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    resize: str = "none"

    def names(self, label: str) -> tuple[str, ...]:
        """The names of the classes, if the dataset has some: those of torchvision, or of Hugging Face's column."""
        dataset = self.dataset
        while not hasattr(dataset, "classes") and hasattr(dataset, "dataset"):  # torch.utils.data.Subset
            dataset = dataset.dataset
        features = getattr(dataset, "features", None)
        column = features.get(label) if isinstance(features, Mapping) else None
        found = getattr(column, "names", None) or getattr(dataset, "classes", None)
        texts = tuple(found) if isinstance(found, list | tuple) else ()
        usable = all(isinstance(text, str) for text in texts) and len(set(texts)) == len(texts)
        return texts if label and usable else ()


def read_items(
    dataset: Any, split: str, *, size: int | None = None, progress: Progress | None = None, skip_bad: int = 0
) -> Items:
    """Every item of a dataset with a length and indices, once.

    Random transforms draw the same numbers in every process, so that a run can be resumed. Raises DataError that names
    the item.
    """
    count = len(dataset)
    if not count:
        raise DataError(f"{IN_MEMORY}: {split} has no samples")
    columns: dict[str, Column] = {}
    skipped: list[str] = []
    done = 0
    unread: tuple[str, ...] = ()
    with seeded(torch.device("cpu"), 0, "dataset", split):
        for number in range(count):
            try:
                entries = _entries(dataset[number])
            except Exception as error:  # of the dataset's own code
                skipped.append(f"item {number}: {in_a_line(error)}")
                if len(skipped) > skip_bad:
                    raise DataError(f"{IN_MEMORY}: {split} cannot be read at {skipped[-1]}") from error
                continue
            if not columns:
                first, start = number, entries
                columns = {key: Column(key, value, count, size) for key, value in entries.items() if _is_value(value)}
                unread = tuple(key for key in entries if key not in columns)
            _put(columns, entries, done, f"item {number} of {split}")
            done += 1
            if progress is not None and (number % 64 == 63 or number + 1 == count):
                progress(number + 1, count)
        notes = (VARYING,) if done and _varies(start, _entries(dataset[first])) else ()
    if not columns:
        raise DataError(f"{IN_MEMORY}: {split} has no samples that can be read")
    changed = size is not None and any(column.resized for column in columns.values())
    resize = f"{pixels.METHOD} to {size}x{size}" if changed else "none"
    arrays = {key: column.array(done) for key, column in columns.items()}
    return Items(dataset, arrays, unread, notes, tuple(skipped), resize)


def _put(columns: Mapping[str, Column], entries: Mapping[str, Any], row: int, where: str) -> None:
    for key, column in columns.items():
        if not _is_value(entries.get(key)):
            raise DataError(f"{IN_MEMORY}: {where} has no {key}, which the first item has")
        column.put(row, entries[key], where)


def _entries(item: Any) -> dict[str, Any]:
    """The values of an item by name: of a tuple x, labels, and "value 2" and so on."""
    if isinstance(item, Mapping):
        return {str(key): value for key, value in item.items()}
    if isinstance(item, tuple | list) and not all(isinstance(value, Number) for value in item):
        names = ["x", "labels", *(f"value {number}" for number in range(2, len(item)))]
        return {_first_name(name, value): value for name, value in zip(names, item, strict=False)}
    return {_first_name("x", item): item}


def _first_name(name: str, value: Any) -> str:
    return "images" if name == "x" and isinstance(value, Image.Image) else name


def _is_value(value: Any) -> bool:
    """Whether a value can be a row of an array: an image, an array, a number or a text."""
    if isinstance(value, tuple | list):
        return bool(value) and all(isinstance(one, Number) for one in value)
    return isinstance(value, Image.Image | Tensor | np.ndarray | np.generic | Number | str | bytes)


def _varies(item: Mapping[str, Any], again: Mapping[str, Any]) -> bool:
    pairs = [(value, again.get(key)) for key, value in item.items() if _is_value(value)]
    return any(not np.array_equal(np.asarray(one), np.asarray(other)) for one, other in pairs)


class Column:
    """The values of one name, which all have one shape."""

    def __init__(self, key: str, first: Any, count: int, size: int | None) -> None:
        self.key, self.count, self.size, self.resized = key, count, size, False
        self._texts: list[Any] = []
        self._rows: Array | None = None

    def put(self, row: int, value: Any, where: str) -> None:
        """Stores a row. Raises DataError for another shape than that of the first row."""
        is_text = isinstance(value, str | bytes)
        if row and is_text != bool(self._texts):
            raise DataError(f"{IN_MEMORY}: {where}: {self.key} is a text in some items and a number in others")
        if is_text:
            self._texts.append(value)
            return
        found = (
            self._pixels(value, where) if isinstance(value, Image.Image) else to_array(value, f"{where}: {self.key}")
        )
        if self._rows is None:
            self._rows = np.zeros((self.count, *found.shape), found.dtype)
        if found.shape != self._rows.shape[1:]:
            fix = (
                "give size to crop and resize all" if isinstance(value, Image.Image) else "resize them in its transform"
            )
            raise DataError(
                f"{IN_MEMORY}: {where}: {self.key} has the shape {found.shape}, and those before it "
                f"{self._rows.shape[1:]}: {fix}"
            )
        if not np.can_cast(found.dtype, self._rows.dtype, "safe"):
            self._rows = self._rows.astype(np.promote_types(found.dtype, self._rows.dtype))
        self._rows[row] = found

    def array(self, done: int) -> Array:
        """The array of the first `done` rows."""
        return np.asarray(self._texts) if self._rows is None else self._rows[:done]

    def _pixels(self, image: Image.Image, where: str) -> Array:
        """Pixels (C, H, W): grey until there is a color image, then all in color."""
        grey = pixels.is_grey(image) and (self._rows is None or self._rows.shape[1] == 1)
        self.resized |= self.size is not None and image.size != (self.size, self.size)
        try:
            found = pixels.pixels_of(image, 1 if grey else 3, self.size)
        except (OSError, ValueError) as error:
            raise DataError(f"{IN_MEMORY}: {where} cannot be read: {error}") from error
        if self._rows is not None and len(found) == 3 and self._rows.shape[1] == 1:
            self._rows = self._rows.repeat(3, 1)
        return found


def to_array(value: Any, what: str) -> Array:
    """An array on the CPU that torch can share the memory of, without a copy where possible."""
    try:
        if isinstance(value, Tensor):
            value = value.detach().cpu()
            value = (value.to_dense() if value.layout != torch.strided else value).resolve_conj().resolve_neg()
            value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{IN_MEMORY}: {what} cannot be read as an array: {reason}") from error
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    return array
