"""Folders and zips of images as samples: decoded once, in threads, into a pool that is kept between runs."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import torch
from PIL import Image

from aigc_zoo.data import layout, manifest, pixels
from aigc_zoo.data.cache import Kept, Plan, manifest_of, remembered
from aigc_zoo.data.download import Progress
from aigc_zoo.data.samples import digest_of, image_samples
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples

SIZE = 64
"""To which images of different sizes are brought where no size is given."""

VERSION = 2
"""Of how files become pixels: what another version kept is not read."""

AT_ONCE = 64
FAILURES = 100
"""Damaged files after which no more are looked for."""

Array = np.ndarray[Any, Any]
T = TypeVar("T")


def open_images(
    path: Path, *, size: int | None = None, progress: Progress | None = None, skip_bad: int = 0
) -> dict[str, Samples]:
    """The splits in a folder or a zip of images: "train", and "test" and "val" where there are such folders.

    All grey means one channel, otherwise three. Images of one size are taken as they are unless `size` is given; images
    of several are cropped to the middle square and resized to `size`, 64 unless told. Up to `skip_bad` files that
    cannot be read are left out and recorded. Raises DataError that names what cannot be read and the fix.
    """
    name, source = _known_as(path, size)
    bad: dict[str, str] = {}
    while True:
        try:
            kept = _kept(path, name, source, size, progress, skip_bad, bad)
        except _Damaged as damaged:  # more files fail when they are decoded than when their headers are read
            bad |= damaged.failed
            if len(bad) > skip_bad:
                raise _refusal(path, bad, skip_bad, damaged.all_found) from damaged.__cause__
            continue
        skipped = json.loads(kept.notes["skipped"])
        if len(skipped) > skip_bad:  # kept by a run that was told to
            raise _refusal(path, skipped, skip_bad)
        return _samples(name, kept, tuple(skipped))


def verify(path: Path, size: int | None = None) -> manifest.Changes:
    """Which files of a folder or zip are not those that its pool was read from. Raises DataError without a manifest."""
    found = manifest_of(*_known_as(path, size))
    if found is None:
        raise DataError(f"{path} has no manifest yet: it is written at first reading (zoo data prepare {path})")
    with _opened(path) as place:
        return manifest.compare(manifest.read(found), place.names, place.open)


def _known_as(path: Path, size: int | None) -> tuple[str, str]:
    """Its name for people, and what its pool is kept under."""
    return path.absolute().name if path.is_dir() else path.stem, f"images {VERSION} {path.resolve()} {size}"


@contextmanager
def _opened(path: Path) -> Iterator[layout.Place]:
    if path.is_dir():
        yield layout.folder(path)[0]
    else:
        with layout.archive(path) as place:
            yield place


def _kept(
    path: Path,
    name: str,
    source: str,
    size: int | None,
    progress: Progress | None,
    skip_bad: int,
    bad: Mapping[str, str],
) -> Kept:
    """The pool, from the cache or made now, without the files that are `bad`."""
    with ExitStack() as stack:
        if path.is_dir():
            place, state = layout.folder(path)
            return remembered(name, source, state, lambda: _plan(path, place, size, progress, skip_bad, bad))
        state = f"{path.stat().st_size} {path.stat().st_mtime_ns}"
        archive = partial(stack.enter_context, layout.archive(path))
        return remembered(name, source, state, lambda: _plan(path, archive(), size, progress, skip_bad, bad))


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


def _samples(name: str, kept: Kept, skipped: tuple[str, ...]) -> dict[str, Samples]:
    classes = json.loads(kept.notes["classes"])
    splits = {}
    for split in json.loads(kept.notes["splits"]):
        fields = kept.split(split)
        made = image_samples(
            layout.plain(name), split, fields["real"], fields.get("label"), classes, digest=kept.digests[split]
        )
        splits[split] = replace(made, resize=kept.notes["resize"], skipped=tuple(map(layout.plain, skipped)))
    return splits


def _plan(
    path: Path,
    place: layout.Place,
    size: int | None,
    progress: Progress | None,
    skip_bad: int,
    bad: Mapping[str, str],
) -> Plan:
    """What the pool of these files is to be, from their headers, and how to fill it."""
    names = [name for name in place.names if name not in bad]
    if bad and not names:
        raise _refusal(path, bad, 0)
    found = layout.arrange(path, names)
    told = _Steps(progress, len(names))
    most = max(FAILURES, skip_bad + 1)
    looks = _each(place, names, lambda number, file: pixels.look(file), told, most)
    modes = {name: one.mode for name, one in zip(names, looks, strict=True)}
    lines = [manifest.Line(name, skipped=reason) for name, reason in bad.items()]
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
            contents = _each(place, names, partial(_put, made[f"{split}/real"], channels, size), told, most)
            lines.extend(manifest.Line(n, *c, modes[n]) for n, c in zip(names, contents, strict=True))
            if found.classes:
                made[f"{split}/label"][:] = found.labels[split]

    notes = {
        "classes": json.dumps(found.classes),
        "splits": json.dumps(list(found.members)),
        "resize": _method(size) if size and sizes != {(size, size)} else "none",
        "skipped": json.dumps(bad),
    }
    return Plan(arrays, notes, fill, lambda: manifest.text(lines))


def _put(images: Array, channels: int, size: int | None, number: int, file: IO[bytes]) -> tuple[int, str]:
    """Decodes the very bytes that are hashed; returns their number and SHA-256."""
    data = file.read()
    images[number] = pixels.decode(io.BytesIO(data), channels, size)
    return len(data), hashlib.sha256(data).hexdigest()


class _Steps:
    """Counts files for `progress`; each is opened twice, for its header and for its pixels, and is half done by one."""

    def __init__(self, progress: Progress | None, files: int) -> None:
        self.progress, self.files, self.opened = progress, files, 0

    def add(self, opened: int) -> None:
        self.opened += opened
        if self.progress is not None:
            self.progress(self.opened // 2, self.files)


def _each(
    place: layout.Place, names: Sequence[str], do: Callable[[int, IO[bytes]], T], steps: _Steps, most: int
) -> list[T]:
    """`do(number, file)` for every file, in threads; raises _Damaged with those that it fails for, about `most`."""
    failed: dict[int, str] = {}

    def some(numbers: range) -> list[T]:
        made = []
        for number in numbers:
            if len(failed) >= most:
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
        raise _Damaged({names[number]: failed[number] for number in sorted(failed)}, len(failed) < most)
    return made


class _Damaged(Exception):
    """Files that failed, with the reasons, and whether all others were tried."""

    def __init__(self, failed: Mapping[str, str], all_found: bool) -> None:
        super().__init__(failed)
        self.failed, self.all_found = dict(failed), all_found


def _refusal(path: Path, bad: Mapping[str, str], skip_bad: int, all_found: bool = True) -> DataError:
    first, *more = bad
    lines = [f"{path}: {layout.plain(first)} cannot be read as an image: {layout.plain(bad[first])}"]
    if more:
        others = ", ".join(layout.plain(name) for name in more[:3])
        count = f"{len(more):,}{'' if all_found else ' or more'}"
        lines.append(f"nor can {count} of its other files: {others}{', ...' if more[3:] else ''}")
    fix = "replace or remove what is damaged"
    if all_found:
        fix += f", or leave it out with --skip-bad {len(bad)}" + (f" (now {skip_bad})" if skip_bad else "")
    return DataError("\n".join([*lines, fix]))
