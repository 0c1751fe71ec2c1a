"""Folders and zips of images as samples: decoded once, in threads, into a pool that is cached between runs."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import torch
from PIL import Image

from aigc_zoo.data import layout, manifest, metadata, pixels, splits
from aigc_zoo.data.cache import CachedPool, Plan, cached_pool, file_state, manifest_of
from aigc_zoo.data.download import Progress
from aigc_zoo.data.left_out import UNREADABLE, LeftOut
from aigc_zoo.data.samples import digest_of, image_samples
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples
from aigc_zoo.text import zoo_command

SIZE = 64
"""Pixels a side that images of different sizes are resized to where no size is given."""

VERSION = 4
"""Version of the conversion from files to splits and pixels; pools that another version cached are not used."""

CHUNK = 64
"""Files that a thread processes in a row."""

FAILURES = 100
"""Number of damaged files after which reading stops."""

Array = np.ndarray[Any, Any]
T = TypeVar("T")


def open_images(
    path: Path, *, size: int | None = None, progress: Progress | None = None, skip_bad: int = 0
) -> dict[str, Samples]:
    """The splits in a folder or a zip of images: "train", and "test" and "val" where there are such folders.

    The samples have one channel if all images are grey, otherwise three. Images of one size keep it unless `size` is
    given; images of several sizes are cropped to the center square and resized to `size`, by default 64. Up to
    `skip_bad` files that cannot be read are left out and recorded. Raises DataError that names the files that cannot be
    read and the fix.
    """
    name, source = _identity(path, size)
    bad: dict[str, str] = {}
    while True:
        try:
            pool, notes = _pool(path, name, source, size, progress, skip_bad, bad)
        except _Damaged as damaged:  # decoding finds more damaged files than reading the headers
            bad |= damaged.failed
            if len(bad) > skip_bad:
                raise _refusal(path, bad, skip_bad, damaged.all_found) from damaged.__cause__
            continue
        skipped = json.loads(pool.notes["skipped"])
        if len(skipped) > skip_bad:  # the pool was cached by a run with a higher `skip_bad`
            raise _refusal(path, skipped, skip_bad)
        return _samples(name, pool, tuple(skipped), [*notes, *json.loads(pool.notes["notes"])])


def verify(path: Path, size: int | None = None) -> manifest.Changes:
    """Compares the files of a folder or zip with the manifest of its pool. Raises DataError where there is none."""
    found = manifest_of(*_identity(path, size))
    if found is None:
        raise DataError(f"{path} has no manifest yet, which is written at first reading:\n{preparing(path, size)}")
    with _opened(path) as files:
        return manifest.compare(manifest.read(found), [*files.names, *files.metadata], files.open)


def preparing(path: Path, size: int | None) -> str:
    """The command that reads a dataset and writes its manifest; a bare name could be that of another dataset."""
    reference = str(path) if path.is_absolute() else os.path.join(".", path)
    return zoo_command("data", "prepare", reference, *(("--size", str(size)) if size else ()))


def resized(samples: Samples, size: int) -> Samples:
    """Images as squares of `size` pixels a side, resized as image files are. Raises DataError for other samples."""
    images = samples.fields["real"]
    if samples.spec.modality != "image" or images.dtype != torch.uint8:
        kind = f"{samples.spec.modality} of {str(images.dtype).removeprefix('torch.')}"
        raise DataError(
            f"--size {size}: {samples.name} has {kind}, and only uint8 images can be resized: leave the option out"
        )
    if tuple(images.shape[2:]) == (size, size):
        return samples
    result = torch.empty(*images.shape[:2], size, size, dtype=torch.uint8)
    for channel, target in zip(images.flatten(0, 1), result.flatten(0, 1), strict=True):
        target.copy_(torch.from_numpy(np.array(pixels.square(Image.fromarray(channel.numpy()), size))))
    fields = {**samples.fields, "real": result}
    spec = replace(samples.spec, shape=tuple(result.shape[1:]))
    return replace(samples, fields=fields, spec=spec, digest=digest_of(fields), extractor="", resize=method(size))


def _identity(path: Path, size: int | None) -> tuple[str, str]:
    """The name of the dataset, and the key of its pool in the cache."""
    return path.absolute().name if path.is_dir() else path.stem, f"images {VERSION} {path.resolve()} {size}"


def method(size: int) -> str:
    return f"{pixels.METHOD} to {size}x{size}"


def _samples(name: str, pool: CachedPool, skipped: tuple[str, ...], notes: Sequence[str] = ()) -> dict[str, Samples]:
    left = tuple(map(layout.plain, skipped))
    unread = LeftOut()
    for file in skipped:
        unread.add(UNREADABLE, file)
    sentences = tuple(f"{layout.plain(name)}: {note}" for note in (*unread.notes(), *notes))
    classes = json.loads(pool.notes["classes"])
    found = {}
    for split in json.loads(pool.notes["splits"]):
        fields = pool.split(split)
        samples = image_samples(
            layout.plain(name), split, fields["real"], fields.get("label"), classes, digest=pool.digests[split]
        )
        found[split] = replace(samples, resize=pool.notes["resize"], skipped=left, notes=sentences)
    return found


# --- from files to a pool ---------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[layout.ImageFiles]:
    if path.is_dir():
        yield layout.folder(path)[0]
    else:
        with layout.archive(path) as files:
            yield files


def _pool(
    path: Path,
    name: str,
    source: str,
    size: int | None,
    progress: Progress | None,
    skip_bad: int,
    bad: Mapping[str, str],
) -> tuple[CachedPool, tuple[str, ...]]:
    """The pool from the cache, otherwise decoded from all files that are not `bad`, and notes that are not in it."""

    def plan(files: layout.ImageFiles, notes: Sequence[str] = ()) -> Plan:
        names = [name for name in files.names if name not in bad]
        if bad and not names:
            raise _refusal(path, bad, 0)
        reader = _Reader(files, _Steps(progress, len(names)), max(FAILURES, skip_bad + 1))
        found = splits.arrange(path, names, files.notes, metadata.read(files))
        return _plan(found._replace(notes=(*notes, *found.notes)), names, reader, size, bad)

    def plan_archive(files: layout.ImageFiles) -> Plan:
        return plan(files, files.notes)

    with ExitStack() as stack:
        if path.is_dir():
            files, state = layout.folder(path)
            # The notes on a folder may change with files that are not read, which do not change the pool.
            return cached_pool(name, source, state, lambda: plan(files)), files.notes
        state = file_state(path.stat())
        return cached_pool(name, source, state, lambda: plan_archive(stack.enter_context(layout.archive(path)))), ()


def _plan(
    found: splits.Layout, names: Sequence[str], reader: _Reader, size: int | None, bad: Mapping[str, str]
) -> Plan:
    """Shapes of the pool, from the headers of its files, and the function that decodes the files into it."""
    headers = dict(zip(names, reader.each(names, lambda number, file: pixels.read_header(file)), strict=True))
    sizes = {(header.width, header.height) for header in headers.values()}
    if size is None and len(sizes) > 1:
        size = SIZE
    width, height = (size, size) if size else next(iter(sizes))
    channels = 1 if all(header.grey for header in headers.values()) else 3
    arrays: dict[str, tuple[str, tuple[int, ...]]] = {}
    for split, members in found.members.items():
        arrays[f"{split}/real"] = "uint8", (len(members), channels, height, width)
        if split in found.labels:
            arrays[f"{split}/label"] = "int64", (len(members),)
    lines = [manifest.Line(name, skipped=reason) for name, reason in bad.items()]

    def fill(pool: Mapping[str, Array]) -> None:
        for split, members in found.members.items():
            contents = reader.each(members, partial(_decode, pool[f"{split}/real"], channels, size))
            lines.extend(manifest.Line(n, *c, headers[n].mode) for n, c in zip(members, contents, strict=True))
            if split in found.labels:
                pool[f"{split}/label"][:] = found.labels[split]
        lines.extend(manifest.line_of(name, reader.files.open) for name in reader.files.metadata)

    notes = {
        "classes": json.dumps(found.classes),
        "splits": json.dumps(list(found.members)),
        "resize": method(size) if size and sizes != {(size, size)} else "none",
        "skipped": json.dumps(bad),
        "notes": json.dumps(found.notes),
    }
    return Plan(arrays, notes, fill, lambda: manifest.text(lines))


def _decode(images: Array, channels: int, size: int | None, number: int, file: IO[bytes]) -> tuple[int, str]:
    """Decodes a file into `images[number]`; returns the size and the SHA-256 of the very bytes that were decoded."""
    data = file.read()
    images[number] = pixels.decode(io.BytesIO(data), channels, size)
    return len(data), hashlib.sha256(data).hexdigest()


class _Steps:
    """Reports progress in files. Each file is opened twice, for header and pixels, and each time counts half."""

    def __init__(self, progress: Progress | None, files: int) -> None:
        self.progress, self.files, self.opened = progress, files, 0

    def add(self, opened: int) -> None:
        self.opened += opened
        if self.progress is not None:
            self.progress(self.opened // 2, self.files)


@dataclass(frozen=True)
class _Reader:
    """Reads image files in threads, until about `most` of them have failed."""

    files: layout.ImageFiles
    steps: _Steps
    most: int

    def each(self, names: Sequence[str], function: Callable[[int, IO[bytes]], T]) -> list[T]:
        """`function(number, file)` for every file, in order. Raises _Damaged with the files that it failed for."""
        failed: dict[int, str] = {}

        def some(numbers: range) -> list[T]:
            results = []
            for number in numbers:
                if len(failed) >= self.most:
                    break
                try:
                    with self.files.open(names[number]) as file:
                        results.append(function(number, file))
                # Decoders can raise any exception on hostile bytes, and it concerns this file alone.
                except Exception as error:
                    failed[number] = " ".join(str(error).split()) or type(error).__name__
            return results

        chunks = [range(first, min(first + CHUNK, len(names))) for first in range(0, len(names), CHUNK)]
        results: list[T] = []
        with pixels.strict(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            try:
                for chunk, some_results in zip(chunks, pool.map(some, chunks), strict=True):
                    results += some_results
                    self.steps.add(len(chunk))
            except BaseException:
                pool.shutdown(cancel_futures=True)  # otherwise Ctrl-C would wait for everything in the queue
                raise
        if failed:
            raise _Damaged({names[number]: failed[number] for number in sorted(failed)}, len(failed) < self.most)
        return results


class _Damaged(Exception):
    """Names of damaged files with the reasons, and whether all other files were tried."""

    def __init__(self, failed: Mapping[str, str], all_found: bool) -> None:
        super().__init__(failed)
        self.failed, self.all_found = dict(failed), all_found


def _refusal(path: Path, bad: Mapping[str, str], skip_bad: int, all_found: bool = True) -> DataError:
    first, *more = bad
    lines = [f"{path}: {layout.plain(first)} cannot be read as an image: {layout.plain(bad[first])}"]
    if more:
        others = ", ".join(layout.plain(name) for name in more[:3])
        count = f"{len(more):,}{'' if all_found else ' or more'}"
        lines.append(f"{count} of its other files cannot be read either: {others}{', ...' if more[3:] else ''}")
    fix = "replace or remove the damaged files"
    if all_found:
        fix += f", or leave them out with --skip-bad {len(bad)}" + (f" (now {skip_bad})" if skip_bad else "")
    return DataError("\n".join([*lines, fix]))
