"""Arrays of any shape: feature vectors, tables, tokens without a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from aigc_zoo.game import Spec
from aigc_zoo.modality import Adopted, Modality, Values

UNITS = ((0.0, 1.0), (-1.0, 1.0))


class Array(Modality):
    """Any numbers, unchanged. The range is 0..1 or -1..1 where all values lie within it, otherwise unknown."""

    noun: ClassVar[str] = "array"
    units: ClassVar[str] = "arrays"

    def adopt(self, arrays: Mapping[str, Values], kind: str, where: str) -> Adopted | None:
        first = next(iter(arrays.values()))
        if first.dtype.kind != "f":
            found = {split: values.astype(np.int64) for split, values in arrays.items()}
            return Adopted(found, Spec(shape=first.shape[1:], range=None, dtype="int64", modality="array"))
        low = min(float(values.min()) for values in arrays.values())
        high = max(float(values.max()) for values in arrays.values())
        bounds = next((unit for unit in UNITS if unit[0] <= low and high <= unit[1]), None)
        return Adopted(arrays, Spec(shape=first.shape[1:], range=bounds, modality="array"))

    def example(self) -> tuple[Spec, Values]:
        values = np.random.default_rng(0).uniform(-1, 1, (6, 3, 2)).astype(np.float32)
        return Spec(shape=(3, 2), modality="array"), values
