"""Folders and archives of files as samples: read once, in threads, into a pool that is cached between runs."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from aigc_zoo.data import layout, manifest, metadata, splits
from aigc_zoo.data.cache import CachedPool, Plan, cached_pool, file_state, manifest_of
from aigc_zoo.data.download import Progress
from aigc_zoo.data.kinds import Kinds
from aigc_zoo.data.left_out import UNREADABLE, LeftOut
from aigc_zoo.data.reading import FAILURES, Damaged, Reader, Steps, refusal
from aigc_zoo.data.samples import samples_of, spec_from
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples, Spec
from aigc_zoo.options.settings import RUN_SETTINGS
from aigc_zoo.options.values import flag_of
from aigc_zoo.text import zoo_command

VERSION = 7
"""Version of the conversion from files to splits and samples; pools that another version cached are not used."""

Array = np.ndarray[Any, Any]


def open_files(
    path: Path,
    kinds: Kinds,
    *,
    view: layout.View = layout.EVERYTHING,
    progress: Progress | None = None,
    skip_bad: int | None = None,
) -> dict[str, Samples]:
    """The splits in a folder, a zip or one file: "train", and "test" and "val" where there are such folders.

    The first modality that has any of the files reads the data. `view` selects some of the files. Up to `skip_bad`
    files that cannot be read are left out and recorded; where it is None, messages do not name --skip-bad. Raises
    DataError that names the files that cannot be read and the fix.
    """
    name, source = _identity(path, kinds, view)
    allowed = skip_bad or 0
    bad: dict[str, str] = {}
    while True:
        try:
            pool, notes = _pool(path, name, source, kinds, view, progress, allowed, bad)
        except Damaged as damaged:  # reading finds more damaged files than scanning
            bad |= damaged.failed
            if len(bad) > allowed:
                raise refusal(
                    path, bad, skip_bad, damaged.noun, damaged.all_found, damaged.none_left
                ) from damaged.__cause__
            continue
        skipped = json.loads(pool.notes["skipped"])
        if len(skipped) > allowed:  # the pool was cached by a run with a higher `skip_bad`
            raise refusal(path, skipped, skip_bad, pool.notes["noun"])
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
    key += f" like {json.dumps(asdict(kinds.like), sort_keys=True)}" if kinds.like is not None else ""
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
            raise refusal(path, bad, skip_bad, kinds.of[files.modality].noun, none_left=True)
        reader = Reader(files, kinds, Steps(progress, len(names)), max(FAILURES, skip_bad + 1))
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


def _plan(path: Path, found: splits.Layout, names: Sequence[str], reader: Reader, bad: Mapping[str, str]) -> Plan:
    """The arrays of the pool, by the scans of its files, and the function that reads the files into them."""
    modality = reader.modality
    scans = dict(zip(names, reader.each(names, reader.scan), strict=True))
    every = [scan for some in scans.values() for scan in some]
    spec = _planned(path, reader.kinds, reader.files.modality, every)
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
        return kinds.plan(modality, scans)
    except ValueError as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from error
