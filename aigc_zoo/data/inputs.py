"""Inputs of a generator: tensors, arrays and the rows of a dataset as samples of the entries that it reads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aigc_zoo.data.items import to_array
from aigc_zoo.data.pool import Pool
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples, Spec
from aigc_zoo.modality import Modality
from aigc_zoo.random import row_uniforms


class Input(NamedTuple):
    """One sample of an entry that a generator reads.

    name  its file below the folder or in the zip, with a number where the file has several samples; "" without a file
    spec  that of the entry; its sides may differ from those of the data
    load  returns it as a model reads it, (1, *spec.shape)
    """

    name: str
    spec: Spec
    load: Callable[[], Tensor]


@dataclass(frozen=True)
class Entry:
    """An entry that a generator reads: its name, spec and modality, and whether its samples keep their own size."""

    name: str
    spec: Spec
    modality: Modality
    whole: bool = False

    def decoded(self, rows: Tensor, number: int, spec: Spec) -> Tensor:
        """Stored rows (1, ...) as a model reads them; random numbers are functions of the row."""
        calls = itertools.count()

        def draw(*shape: int) -> Tensor:
            found = row_uniforms(torch.tensor([number]), math.prod(shape), "decode", next(calls))
            return found.reshape(1, *shape)

        return self.modality.decode(rows, draw, spec)


def from_tensor(entry: Entry, value: Any) -> list[Input]:
    """One sample or several (N, ...): as files store them, or in the range of the generator. Raises DataError."""
    array = to_array(value, f"the input {entry.name}")
    if array.dtype.kind not in "fuib":
        raise _other(entry, f"it is {type(value).__name__}", entry.modality.stored(entry.spec)[0])
    rows = torch.from_numpy(array)
    dtype, stored = entry.modality.stored(entry.spec)
    raw = str(rows.dtype).removeprefix("torch.") == dtype
    expected = stored if raw else entry.spec.shape
    if rows.ndim == len(expected):
        rows = rows[None]
    if rows.is_floating_point() and not raw:
        _require_range(entry, rows)
    elif not raw:
        raise _other(entry, f"it is {str(rows.dtype).removeprefix('torch.')}", dtype)
    if rows.ndim != len(expected) + 1 or not len(rows):
        raise _other(entry, f"it has the shape {tuple(rows.shape)}", dtype)
    specs = [_sized(entry, expected, rows)] * len(rows)

    def load(number: int) -> Callable[[], Tensor]:
        row = rows[number : number + 1]
        return lambda: entry.decoded(row, number, specs[number]) if raw else row.float()

    return [Input("", spec, load(number)) for number, spec in enumerate(specs)]


def _sized(entry: Entry, expected: Sequence[int], rows: Tensor) -> Spec:
    """The spec of tensors: that of the entry, with their own sides where it keeps them."""
    if tuple(rows.shape[1:]) == tuple(expected):
        return entry.spec
    sides = min(rows.shape[1:], default=0) > 0 and tuple(expected) == entry.spec.shape
    if entry.whole and sides and rows.shape[1] == expected[0]:
        return replace(entry.spec, shape=tuple(rows.shape[1:]))
    raise _other(entry, f"it has the shape {tuple(rows.shape)}", entry.modality.stored(entry.spec)[0])


def _require_range(entry: Entry, rows: Tensor) -> None:
    if not rows.isfinite().all():
        raise DataError(f"the input {entry.name} has NaN or infinite values")
    if entry.spec.range is None or not rows.numel():
        return
    (low, high), slack = entry.spec.range, 1e-3 * (entry.spec.range[1] - entry.spec.range[0])
    if rows.min() < low - slack or rows.max() > high + slack:
        found = f"its values are from {float(rows.min()):g} to {float(rows.max()):g}"
        raise _other(entry, found, entry.modality.stored(entry.spec)[0])


def _other(entry: Entry, found: str, dtype: str) -> DataError:
    bounds = "" if entry.spec.range is None else " from {:g} to {:g}".format(*entry.spec.range)
    shape = ", ".join(map(str, entry.spec.shape))
    return DataError(
        f"the input {entry.name} is no {entry.modality.noun}: {found}\n"
        f"give {dtype} as in files, or {entry.spec.dtype}{bounds}, of the shape ({shape}) or (N, {shape})"
    )


def from_samples(entry: Entry, samples: Samples, name: str = "real") -> list[Input]:
    """The rows of an entry of a dataset. Raises DataError where it holds something else than the generator reads."""
    pool = Pool(samples, "cpu")
    example = pool.rows(torch.tensor([0]))[name]
    spec = samples.spec if name == "real" else samples.spec.entries.get(name, entry.spec)
    if spec.modality != entry.spec.modality:
        raise DataError(f"{samples.name} holds {spec.modality}, and {entry.name} is {entry.spec.modality}")
    shape = tuple(example.shape[1:])
    if shape != entry.spec.shape and not (entry.whole and shape[:1] == entry.spec.shape[:1]):
        sizes = ("x".join(map(str, one)) for one in (shape, entry.spec.shape))
        raise DataError("{} has samples of {}, and {} is of {}".format(samples.name, next(sizes), entry.name, *sizes))
    group = next((names for names in samples.groups if name in names), samples.groups[0])
    count = len(samples.fields[group[0]])

    def load(number: int) -> Callable[[], Tensor]:
        def row() -> Tensor:
            found = pool.rows(torch.tensor([number]))[name]
            if spec.range == entry.spec.range:
                return found
            return entry.decoded(entry.modality.quantize(found, spec), number, entry.spec)

        return row

    own = replace(entry.spec, shape=shape)
    return [Input("", own, load(number)) for number in range(count)]
