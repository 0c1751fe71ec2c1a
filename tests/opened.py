"""Data at a path, read with the zoo's own modalities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aigc_zoo.data import arrays, files, idx, manifest, memory
from aigc_zoo.data import open as opening
from aigc_zoo.data.kinds import Kinds
from aigc_zoo.data.modalities import kinds
from aigc_zoo.game import Samples
from aigc_zoo.plugins import catalogue


def zoo_kinds(modality: str = "", **options: Any) -> Kinds:
    """The zoo's own modalities, or one of them, with options of the data."""
    return kinds(catalogue(), modality, **options)


def open_path(
    path: Path, *, size: int | None = None, modality: str = "", progress: Any = None, skip_bad: int = 0, **options: Any
) -> dict[str, Samples]:
    return opening.open_path(path, zoo_kinds(modality, size=size, **options), progress=progress, skip_bad=skip_bad)


def open_arrays(path: Path) -> dict[str, Samples]:
    return arrays.open_arrays(path, zoo_kinds())


def open_idx(path: Path) -> dict[str, Samples]:
    return idx.open_idx(path, zoo_kinds())


def splits_of(path: Path, values: Any, kind: str = "") -> dict[str, Samples]:
    return arrays.splits_of(path, values, zoo_kinds(), kind)


def verify(path: Path, size: int | None = None) -> manifest.Changes:
    return files.verify(path, zoo_kinds(size=size))


def resized(samples: Samples, size: int) -> Samples:
    return opening.resized({"train": samples}, zoo_kinds().of, size)["train"]


def open_data(data: Any, *, size: int | None = None, progress: Any = None, skip_bad: int = 0) -> dict[str, Samples]:
    return memory.open_data(data, zoo_kinds(size=size), progress=progress, skip_bad=skip_bad)
