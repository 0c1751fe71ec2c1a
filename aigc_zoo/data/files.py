"""Folders and archives of files as samples: read once, in threads, into a pool that is cached between runs."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from aigc_zoo.data import layout, manifest, metadata, splits
from aigc_zoo.data.cache import CachedPool, Plan, cached_pool, file_state, manifest_of
from aigc_zoo.data.download import Progress
from aigc_zoo.data.kinds import Kinds
from aigc_zoo.data.left_out import UNREADABLE, LeftOut
from aigc_zoo.data.samples import samples_of, spec_from
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples, Spec
from aigc_zoo.options.settings import RUN_SETTINGS
from aigc_zoo.options.values import flag_of
from aigc_zoo.text import with_article, zoo_command

VERSION = 6
"""Version of the conversion from files to splits and samples; pools that another version cached are not used."""

CHUNK = 64
"""Files that a thread processes in a row."""

FAILURES = 100
"""Number of damaged files after which reading stops."""

Array = np.ndarray[Any, Any]
T = TypeVar("T")


def open_files(
    path: Path,
    kinds: Kinds,
    *,
    view: layout.View = layout.EVERYTHING,
    progress: Progress | None = None,
    skip_bad: int = 0,
) -> dict[str, Samples]:
    """The splits in a folder, a zip or one file: "train", and "test" and "val" where there are such folders.

    The first modality that has any of the files reads the data. `view` selects some of the files. Up to `skip_bad`
    files that cannot be read are left out and recorded. Raises DataError that names the files that cannot be read and
    the fix.
    """
    name, source = _identity(path, kinds, view)
    bad: dict[str, str] = {}
    while True:
        try:
            pool, notes = _pool(path, name, source, kinds, view, progress, skip_bad, bad)
        except _Damaged as damaged:  # reading finds more damaged files than scanning
            bad |= damaged.failed
            if len(bad) > skip_bad:
                raise _refusal(path, bad, skip_bad, damaged.noun, damaged.all_found) from damaged.__cause__
            continue
        skipped = json.loads(pool.notes["skipped"])
        if len(skipped) > skip_bad:  # the pool was cached by a run with a higher `skip_bad`
            raise _refusal(path, skipped, skip_bad, pool.notes["noun"])
        return _samples(name, pool, kinds, tuple(skipped), [*notes, *json.loads(pool.notes["notes"])])


def verify(path: Path, kinds: Kinds) -> manifest.Changes:
    """Compares the files of a folder or zip with the manifest of its pool. Raises DataError where there is none."""
    found = manifest_of(*_identity(path, kinds))
    if found is None:
        raise DataError(f"{path} has no manifest yet, which is written at first reading:\n{preparing(path, kinds)}")
    with opened(path, kinds) as files:
        return manifest.compare(manifest.read(found), [*files.names, *files.metadata], files.open)


def preparing(path: Path, kinds: Kinds) -> str:
    """The command that reads a dataset and writes its manifest; a bare name could be that of another dataset."""
    reference = str(path) if path.is_absolute() else os.path.join(".", path)
    words = [] if len(kinds.of) > 1 else ["--modality", *kinds.of]
    for key, value in kinds.options.items():
        words += [flag_of(key if key in RUN_SETTINGS else f"data.{key}"), str(value)]
    return zoo_command("data", "prepare", reference, *words)


def _identity(path: Path, kinds: Kinds, view: layout.View = layout.EVERYTHING) -> tuple[str, str]:
    """The name of the dataset, and the key of its pool in the cache."""
    name = path.absolute().name if path.is_dir() else path.stem
    key = f"files {VERSION} {path.resolve()} {','.join(kinds.of)} {sorted(kinds.options.items())}"
    return name, f"{key} {view.key}" if view.key else key


def _samples(
    name: str, pool: CachedPool, kinds: Kinds, skipped: tuple[str, ...], notes: Sequence[str] = ()
) -> dict[str, Samples]:
    left = tuple(map(layout.plain, skipped))
    unread = LeftOut()
    for file in skipped:
        unread.add(UNREADABLE, file)
    name = layout.plain(name)
    sentences = tuple(f"{name}: {note}" for note in (*unread.notes(), *notes))
    classes, spec = json.loads(pool.notes["classes"]), spec_from(json.loads(pool.notes["spec"]))
    found = {}
    for split in json.loads(pool.notes["splits"]):
        fields = pool.split(split)
        samples = samples_of(
            kinds.of[spec.modality], name, split, spec, fields["real"], fields.get("label"), classes,
            digest=pool.digests[split],
        )  # fmt: skip
        found[split] = replace(samples, resize=pool.notes["resize"], skipped=left, notes=sentences)
    return found


# --- from files to a pool ---------------------------------------------------------------------------------------------


@contextmanager
def opened(path: Path, kinds: Kinds) -> Iterator[layout.Files]:
    """The files of a dataset of the modality that reads it."""
    if path.is_dir():
        yield layout.folder(path, kinds)[0]
    elif path.suffix.lower() == ".zip":
        with layout.archive(path, kinds) as files:
            yield files
    else:
        yield layout.single(path, kinds)


def _pool(
    path: Path,
    name: str,
    source: str,
    kinds: Kinds,
    view: layout.View,
    progress: Progress | None,
    skip_bad: int,
    bad: Mapping[str, str],
) -> tuple[CachedPool, tuple[str, ...]]:
    """The pool from the cache, otherwise read from all files that are not `bad`, and notes that are not in it."""

    def plan(files: layout.Files, notes: Sequence[str] = ()) -> Plan:
        names = [name for name in files.names if name not in bad]
        if bad and not names:
            raise _refusal(path, bad, 0, kinds.of[files.modality].noun)
        reader = _Reader(files, kinds, _Steps(progress, len(names)), max(FAILURES, skip_bad + 1))
        modality = kinds.of[files.modality]
        found = splits.arrange(
            path, names, files.notes, metadata.read(files), suffixes=modality.suffixes, units=modality.units
        )
        return _plan(path, found._replace(notes=(*notes, *found.notes)), names, reader, bad)

    with ExitStack() as stack:
        if path.is_dir():
            files, state = layout.folder(path, kinds)
            files = files.through(view)
            # The notes on a folder may change with files that are not read, which do not change the pool.
            return cached_pool(name, source, state, lambda: plan(files)), files.notes

        def plan_file() -> Plan:
            files = stack.enter_context(opened(path, kinds)).through(view)
            return plan(files, files.notes)

        return cached_pool(name, source, file_state(path.stat()), plan_file), ()


def _plan(path: Path, found: splits.Layout, names: Sequence[str], reader: _Reader, bad: Mapping[str, str]) -> Plan:
    """The arrays of the pool, by the scans of its files, and the function that reads the files into them."""
    modality = reader.modality
    scans = dict(zip(names, reader.each(names, reader.scan), strict=True))
    every = [scan for some in scans.values() for scan in some]
    spec = replace(_planned(path, reader.kinds, reader.files.modality, every), modality=reader.files.modality)
    counts = {name: modality.count(some, spec) for name, some in scans.items()}
    dtype, shape = modality.stored(spec)
    arrays: dict[str, tuple[str, tuple[int, ...]]] = {}
    for split, members in found.members.items():
        total = sum(counts[name] for name in members)
        arrays[f"{split}/real"] = dtype, (total, *shape)
        if split in found.labels:
            arrays[f"{split}/label"] = "int64", (total,)
    lines = [manifest.Line(name, skipped=reason) for name, reason in bad.items()]

    def fill(pool: Mapping[str, Array]) -> None:
        for split, members in found.members.items():
            some = [counts[name] for name in members]
            starts = [0, *itertools.accumulate(some)]
            contents = reader.each(members, reader.into(pool[f"{split}/real"], starts, spec))
            modes = (str(getattr(scans[name][0], "mode", "")) for name in members)
            lines.extend(manifest.Line(n, *c, mode) for n, c, mode in zip(members, contents, modes, strict=True))
            if split in found.labels:
                pool[f"{split}/label"][:] = np.repeat(found.labels[split], some)
        lines.extend(manifest.line_of(name, reader.files.open) for name in reader.files.metadata)

    notes = {
        "classes": json.dumps(found.classes),
        "spec": json.dumps(asdict(spec)),
        "splits": json.dumps(list(found.members)),
        "resize": modality.conversion(every, spec),
        "skipped": json.dumps(bad),
        "noun": modality.noun,
        "notes": json.dumps([*found.notes, *modality.notes(every, spec)]),
    }
    return Plan(arrays, notes, fill, lambda: manifest.text(lines))


def _planned(path: Path, kinds: Kinds, modality: str, scans: Sequence[Any]) -> Spec:
    try:
        return kinds.of[modality].plan(scans, **kinds.options_of(modality))
    except ValueError as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from error


class _Steps:
    """Reports progress in files. Each file is opened twice, to scan and to read it, and each time counts half."""

    def __init__(self, progress: Progress | None, files: int) -> None:
        self.progress, self.files, self.opened = progress, files, 0

    def add(self, opened: int) -> None:
        self.opened += opened
        if self.progress is not None:
            self.progress(self.opened // 2, self.files)


@dataclass(frozen=True)
class _Reader:
    """Reads files in threads, until about `most` of them have failed."""

    files: layout.Files
    kinds: Kinds
    steps: _Steps
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
        """`function(number, name, file)` of every file, in order. Raises _Damaged with the files that failed."""
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
            raise _Damaged(names_, len(failed) < self.most, self.modality.noun)
        return results


class _Damaged(Exception):
    """Names of damaged files with the reasons, whether all other files were tried, and what a sample is called."""

    def __init__(self, failed: Mapping[str, str], all_found: bool, noun: str) -> None:
        super().__init__(failed)
        self.failed, self.all_found, self.noun = dict(failed), all_found, noun


def _refusal(path: Path, bad: Mapping[str, str], skip_bad: int, noun: str, all_found: bool = True) -> DataError:
    first, *more = bad
    lines = [f"{path}: {layout.plain(first)} cannot be read as {with_article(noun)}: {layout.plain(bad[first])}"]
    if more:
        others = ", ".join(layout.plain(name) for name in more[:3])
        count = f"{len(more):,}{'' if all_found else ' or more'}"
        lines.append(f"{count} of its other files cannot be read either: {others}{', ...' if more[3:] else ''}")
    fix = "replace or remove the damaged files"
    if all_found:
        fix += f", or leave them out with --skip-bad {len(bad)}" + (f" (now {skip_bad})" if skip_bad else "")
    return DataError("\n".join([*lines, fix]))
