"""A disk that is full for an hour does not end a run of days: what cannot be written is told, and training goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aigc_zoo.errors import StorageError

FAILURES = 3
"""Checkpoints in a row that could not be saved, after which a run ends: each is work that would be lost."""


class Patience:
    """`with patience("grid"): ...` tells of a StorageError instead of raising it.

    Once in a row for a kind of file; a checkpoint is told each time, and the third in a row is raised.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._failed: Counter[str] = Counter()

    @contextmanager
    def __call__(self, what: str, *, essential: bool = False) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            self._failed[what] += 1
            failures, (first, *_) = self._failed[what], str(error).splitlines()
            if essential and failures >= FAILURES:
                raise StorageError(
                    f"{first}\nthat was the {what} number {failures} in a row that could not be saved: training stops, "
                    "and the same command continues from the last one that was"
                ) from error
            if essential or failures == 1:
                self._say(f"warning: {first}; training goes on without this {what}")
        else:
            del self._failed[what]
