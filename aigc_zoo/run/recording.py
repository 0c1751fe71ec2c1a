"""A batch that records which of its entries are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


class RecordingBatch(dict[str, Tensor]):
    """A batch whose attribute `read` holds the names of the entries that were read."""

    def __init__(self, entries: Mapping[str, Tensor]) -> None:
        super().__init__(entries)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Tensor:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)
