"""Folders and zips of images as samples: decoded once, in threads, into a pool that is kept between runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import torch
from PIL import Image

from aigc_zoo.data import layout, pixels
from aigc_zoo.data.cache import Kept, Plan, remembered
from aigc_zoo.data.download import Progress
from aigc_zoo.data.samples import digest_of, image_samples
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples

SIZE = 64
"""To which images of different sizes are brought where no size is given."""

VERSION = 1
"""Of how files become pixels: what another version kept is not read."""

AT_ONCE = 64
FAILURES = 100
"""Damaged files after which no more are looked for."""

Array = np.ndarray[Any, Any]
T = TypeVar("T")


def open_images(path: Path, *, size: int | None = None, progress: Progress | None = None) -> dict[str, Samples]:
    """The splits in a folder or a zip of images: "train", and "test" and "val" where there are such folders.

    All grey means one channel, otherwise three. Images of one size are taken as they are unless `size` is given; images
    of several are cropped to the middle square and resized to `size`, 64 unless told. Raises DataError that names what
    cannot be read and the fix.
    """
    name = path.absolute().name if path.is_dir() else path.stem
    source = f"images {VERSION} {path.resolve()} {size}"
    with ExitStack() as stack:
        if path.is_dir():
            place, state = layout.folder(path)
            kept = remembered(name, source, state, lambda: _plan(path, place, size, progress))
        else:
            state = f"{path.stat().st_size} {path.stat().st_mtime_ns}"
            archive = partial(stack.enter_context, layout.archive(path))
            kept = remembered(name, source, state, lambda: _plan(path, archive(), size, progress))
    return _samples(name, kept)


def resized(samples: Samples, size: int) -> Samples:
    """Images as squares of `size` pixels a side, resized like those of files. Raises DataError for other samples."""
    images = samples.fields["real"]
    if samples.spec.modality != "image" or images.dtype != torch.uint8:
        what = f"{samples.spec.modality} of {str(images.dtype).removeprefix('torch.')}"
        raise DataError(
            f"--size {size}: {samples.name} holds {what}, and only images of uint8 are resized: leave it out"
        )
    if tuple(images.shape[2:]) == (size, size):
        return samples
    made = torch.empty(*images.shape[:2], size, size, dtype=torch.uint8)
    for one, target in zip(images.flatten(0, 1), made.flatten(0, 1), strict=True):
        target.copy_(torch.from_numpy(np.array(pixels.square(Image.fromarray(one.numpy()), size))))
    fields = {**samples.fields, "real": made}
    spec = replace(samples.spec, shape=tuple(made.shape[1:]))
    return replace(samples, fields=fields, spec=spec, digest=digest_of(fields), extractor="", resize=_method(size))


def _method(size: int) -> str:
    return f"{pixels.METHOD} to {size}x{size}"


def _samples(name: str, kept: Kept) -> dict[str, Samples]:
    classes = json.loads(kept.notes["classes"])
    splits = {}
    for split in json.loads(kept.notes["splits"]):
        fields = kept.split(split)
        made = image_samples(name, split, fields["real"], fields.get("label"), classes, digest=kept.digests[split])
        splits[split] = replace(made, resize=kept.notes["resize"])
    return splits


def _plan(path: Path, place: layout.Place, size: int | None, progress: Progress | None) -> Plan:
    """What the pool of these files is to be, from their headers, and how to fill it."""
    found = layout.arrange(path, place.names)
    told = _Steps(progress, 2 * len(place.names))
    looks = _each(path, place, place.names, lambda number, file: pixels.look(file), told)
    sizes = {(one.width, one.height) for one in looks}
    if size is None and len(sizes) > 1:
        size = SIZE
    width, height = (size, size) if size else sizes.pop()
    channels = 1 if all(one.grey for one in looks) else 3
    arrays: dict[str, tuple[str, tuple[int, ...]]] = {}
    for split, names in found.members.items():
        arrays[f"{split}/real"] = "uint8", (len(names), channels, height, width)
        if found.classes:
            arrays[f"{split}/label"] = "int64", (len(names),)

    def fill(made: Mapping[str, Array]) -> None:
        for split, names in found.members.items():
            _each(path, place, names, partial(_put, made[f"{split}/real"], channels, size), told)
            if found.classes:
                made[f"{split}/label"][:] = found.labels[split]

    notes = {
        "classes": json.dumps(found.classes),
        "splits": json.dumps(list(found.members)),
        "resize": _method(size) if size and sizes != {(size, size)} else "none",
    }
    return Plan(arrays, notes, fill)


def _put(images: Array, channels: int, size: int | None, number: int, file: IO[bytes]) -> None:
    images[number] = pixels.decode(file, channels, size)


class _Steps:
    """Counts steps for `progress`."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def add(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(self.done, self.total)


def _each(
    path: Path, place: layout.Place, names: Sequence[str], do: Callable[[int, IO[bytes]], T], steps: _Steps
) -> list[T]:
    """`do(number, file)` for every file, in threads; those that it fails for are named in one DataError."""
    failed: dict[int, str] = {}

    def some(numbers: range) -> list[T]:
        made = []
        for number in numbers:
            if len(failed) >= FAILURES:
                break
            try:
                with place.open(names[number]) as file:
                    made.append(do(number, file))
            # Decoders raise anything on bytes from anywhere; nothing but this one file is worked on in here.
            except Exception as error:
                failed[number] = " ".join(str(error).split()) or type(error).__name__
        return made

    parts = [range(first, min(first + AT_ONCE, len(names))) for first in range(0, len(names), AT_ONCE)]
    made: list[T] = []
    with pixels.strict(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for part, results in zip(parts, pool.map(some, parts), strict=True):
                made += results
                steps.add(len(part))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # else Ctrl-C would wait for all that is queued
            raise
    if failed:
        raise _damaged(path, names, failed)
    return made


def _damaged(path: Path, names: Sequence[str], failed: Mapping[int, str]) -> DataError:
    first, *more = sorted(failed)
    lines = [f"{path}: {layout.plain(names[first])} cannot be read as an image: {layout.plain(failed[first])}"]
    if more:
        others = ", ".join(layout.plain(names[number]) for number in more[:3])
        count = f"{len(more):,}{' or more' if len(failed) >= FAILURES else ''}"
        lines.append(f"nor can {count} of its other files: {others}{', ...' if more[3:] else ''}")
    return DataError("\n".join([*lines, "replace or remove what is damaged"]))
