"""Reads files of samples in threads, and collects those that are damaged."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from aigc_zoo.data import layout
from aigc_zoo.data.download import Progress
from aigc_zoo.data.kinds import Kinds
from aigc_zoo.errors import DataError
from aigc_zoo.game import Spec
from aigc_zoo.text import with_article

CHUNK = 64
"""Files that a thread processes in a row."""

FAILURES = 100
"""Number of damaged files after which reading stops."""

Array = np.ndarray[Any, Any]
T = TypeVar("T")


class Steps:
    """Reports progress in files. Each file is opened twice, to scan and to read it, and each time counts half."""

    def __init__(self, progress: Progress | None, files: int) -> None:
        self.progress, self.files, self.opened = progress, files, 0

    def add(self, opened: int) -> None:
        self.opened += opened
        if self.progress is not None:
            self.progress(self.opened // 2, self.files)


@dataclass(frozen=True)
class Reader:
    """Reads files in threads, until about `most` of them have failed."""

    files: layout.Files
    kinds: Kinds
    steps: Steps
    most: int

    @property
    def modality(self) -> Any:
        return self.kinds.of[self.files.modality]

    def scan(self, number: int, name: str, file: IO[bytes]) -> list[Any]:
        """The scans of the samples in a file."""
        found = list(self.modality.scan(file, name))
        if not found:
            raise ValueError(f"it has no {self.modality.noun}")
        return found

    def into(self, rows: Array, starts: Sequence[int], spec: Spec) -> Callable[[int, str, IO[bytes]], tuple[int, str]]:
        """A function that reads a file into its rows, and returns the size and SHA-256 of the very bytes it read."""

        def read(number: int, name: str, file: IO[bytes]) -> tuple[int, str]:
            data = file.read()
            start, stop = starts[number], starts[number + 1]
            done = start
            for sample in self.modality.read(io.BytesIO(data), name, spec):
                if done == stop:
                    raise ValueError(f"it has more {self.modality.units} than it seemed at first")
                rows[done] = sample
                done += 1
            if done < stop:
                raise ValueError(f"it has fewer {self.modality.units} than it seemed at first")
            return len(data), hashlib.sha256(data).hexdigest()

        return read

    def each(self, names: Sequence[str], function: Callable[[int, str, IO[bytes]], T]) -> list[T]:
        """`function(number, name, file)` of every file, in order. Raises Damaged with the files that failed."""
        failed: dict[int, str] = {}

        def some(numbers: range) -> list[T]:
            results = []
            for number in numbers:
                if len(failed) >= self.most:
                    break
                try:
                    with self.files.open(names[number]) as file:
                        results.append(function(number, names[number], file))
                # Decoders can raise any exception on hostile bytes, and it concerns this file alone.
                except Exception as error:
                    failed[number] = " ".join(str(error).split()) or type(error).__name__
            return results

        chunks = [range(first, min(first + CHUNK, len(names))) for first in range(0, len(names), CHUNK)]
        results: list[T] = []
        with self.modality.strict(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            try:
                for chunk, some_results in zip(chunks, pool.map(some, chunks), strict=True):
                    results += some_results
                    self.steps.add(len(chunk))
            except BaseException:
                pool.shutdown(cancel_futures=True)  # otherwise Ctrl-C would wait for everything in the queue
                raise
        if failed:
            names_ = {names[number]: failed[number] for number in sorted(failed)}
            found = {"all_found": len(failed) < self.most, "none_left": len(failed) == len(names)}
            raise Damaged(names_, self.modality.noun, **found)
        return results


class Damaged(Exception):
    """Names of damaged files with the reasons, and what a sample is called.

    all_found  all other files were tried
    none_left  there are no other files
    """

    def __init__(self, failed: Mapping[str, str], noun: str, *, all_found: bool, none_left: bool) -> None:
        super().__init__(failed)
        self.failed, self.noun, self.all_found, self.none_left = dict(failed), noun, all_found, none_left


def refusal(
    path: Path, bad: Mapping[str, str], skip_bad: int | None, noun: str, all_found: bool = True, none_left: bool = False
) -> DataError:
    """The error for damaged files; `skip_bad` is the number that the user admits, None for a command without it."""
    first, *more = bad
    lines = [f"{path}: {layout.plain(first)} cannot be read as {with_article(noun)}: {layout.plain(bad[first])}"]
    if more:
        others = ", ".join(layout.plain(name) for name in more[:3])
        count = f"{len(more):,}{'' if all_found else ' or more'}"
        lines.append(f"{count} of its other files cannot be read either: {others}{', ...' if more[3:] else ''}")
    fix = "replace or remove the damaged files"
    if none_left:
        fix = "replace the damaged files, or give other data" + ("" if skip_bad is None else ", or another --modality")
    elif all_found and skip_bad is not None:
        fix += f", or leave them out with --skip-bad {len(bad)}" + (f" (now {skip_bad})" if skip_bad else "")
    return DataError("\n".join([*lines, fix]))
