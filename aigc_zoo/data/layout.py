"""The files of samples in a folder or a zip archive."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from aigc_zoo.data import left_out
from aigc_zoo.data.cache import file_state
from aigc_zoo.data.kinds import Kinds
from aigc_zoo.data.left_out import LeftOut
from aigc_zoo.errors import DataError, printable
from aigc_zoo.text import natural_key, with_article

MOST_FILES = 5_000_000
MOST_BYTES = 256 << 20
BOMB_BYTES, BOMB_RATIO = 16 << 20, 100
"""A member of a zip that exceeds both this size and this compression ratio is refused as a decompression bomb."""


METADATA = re.compile(r"dataset\.json|(metadata|([a-z0-9]+[_-]?)?labels?)\.(csv|tsv|jsonl)", re.IGNORECASE)
"""Names of tables that are read for the labels of files (aigc_zoo.data.metadata)."""


class Files(NamedTuple):
    """Names of files in natural order, the modality that reads them, a function that opens one, and sentences on the
    files left out.

    `metadata` are the names of tables that may have labels; they are opened by the same function.
    """

    names: list[str]
    modality: str
    open: Callable[[str], IO[bytes]]
    notes: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()

    def through(self, view: View) -> Files:
        """The files of a view, under its names."""
        names = {shown: name for name in self.names if (shown := view.name(name)) is not None}
        return self._replace(names=sorted(names, key=_order), open=lambda name: self.open(names.get(name, name)))


class View(NamedTuple):
    """Some of the files of a dataset: `name` gives the name that a file is seen under, None for one that is not seen.

    key  tells views of the same files apart
    """

    key: str
    name: Callable[[str], str | None]


EVERYTHING = View("", lambda name: name)


# --- folders ----------------------------------------------------------------------------------------------------------


def folder(path: Path, kinds: Kinds) -> tuple[Files, str]:
    """The samples and tables of labels in a folder, and a digest of their names, sizes, times and inodes.

    Hidden files and those of runs are left out: a run that is in the folder of its data would train on its samples.
    """
    names, about, left = [], {}, LeftOut()
    for name, entry in _walk(path, kinds.suffixes, left):
        try:
            status = entry.stat()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and entry.is_symlink():
                left.add(left_out.BROKEN, name)
                continue
            raise DataError(f"{path / name} cannot be read: {error.strerror}") from error
        if stat.S_ISREG(status.st_mode):
            if status.st_size > MOST_BYTES:
                raise DataError(f"{path / name} has more than {MOST_BYTES >> 20} MB: it is too large to be read")
            names.append(name)
            about[name] = f"{name}\0{file_state(status)}\n"
        else:
            left.add(left_out.SPECIAL, name)
    names.sort(key=_order)
    chosen, modality, tables = _chosen(names, kinds, left)
    known = sorted((*chosen, *tables), key=_order) if tables else chosen
    state = hashlib.sha256("".join(about[name] for name in known).encode("utf-8", "surrogateescape")).hexdigest()
    return Files(chosen, modality, lambda name: (path / name).open("rb"), left.notes(), tables), state


def single(path: Path, kinds: Kinds) -> Files:
    """One file as the only one of its folder."""
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{path} has more than {MOST_BYTES >> 20} MB: it is too large to be read")
    return Files([path.name], kinds.choose([_suffix(path.name)]), lambda name: path.open("rb"))


def _walk(path: Path, suffixes: tuple[str, ...], left: LeftOut) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Samples and tables of labels below a folder; symbolic links are followed, each folder is visited once."""
    pending, visited = [(path, "")], set()
    while pending:
        directory, prefix = pending.pop()
        try:
            status = directory.stat()
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(directory) as found:
                entries = [(entry, entry.is_dir()) for entry in found]
        except OSError as error:
            raise DataError(f"{error.filename or directory} cannot be read: {error.strerror}") from error
        runs = left_out.is_run([entry.name for entry, _ in entries])
        if runs and prefix:
            left.add(left_out.RUN, prefix.rstrip("/"))
            continue
        for entry, is_folder in entries:
            if runs and left_out.of_run(entry.name, is_folder):
                left.add(left_out.OWN, entry.name)
            elif is_folder:
                if not _hidden(entry.name):
                    pending.append((directory / entry.name, f"{prefix}{entry.name}/"))
            elif _is_sample(entry.name, suffixes) or _is_table(entry.name):
                yield prefix + entry.name, entry
            elif entry.is_symlink() and not os.path.exists(entry.path) and not _hidden(entry.name):
                left.add(left_out.BROKEN, prefix + entry.name)
            elif not runs:
                left.file(prefix + entry.name, entry.name, known=entry.name.lower().endswith(suffixes))


# --- archives ---------------------------------------------------------------------------------------------------------


@contextmanager
def archive(path: Path, kinds: Kinds) -> Iterator[Files]:
    """The samples in a zip archive. Members are read into memory one by one, so their names are never used as paths."""
    try:
        with zipfile.ZipFile(path) as zipped:
            left = LeftOut()
            members = _members(path, zipped, kinds.suffixes, left)
            names, modality, tables = _chosen(sorted(members, key=_order), kinds, left)
            yield Files(names, modality, lambda name: io.BytesIO(zipped.read(members[name])), left.notes(), tables)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(
            f"{path} is not a complete zip archive: {error}\npack it again, or give the folder: --data FOLDER"
        ) from error


def _members(
    path: Path, zipped: zipfile.ZipFile, suffixes: tuple[str, ...], left: LeftOut
) -> dict[str, zipfile.ZipInfo]:
    if len(zipped.filelist) > MOST_FILES:
        raise DataError(f"{path} has {len(zipped.filelist):,} entries, more than {MOST_FILES:,}")
    members: dict[str, zipfile.ZipInfo] = {}
    runs = left_out.runs_among(split_name(member.filename) for member in zipped.filelist)
    for member in zipped.filelist:
        name = member.filename
        if runs and _in_run(split_name(name), runs, left):
            continue
        if not _is_member(member, suffixes):
            if () not in runs:
                _note_member(member, suffixes, left)
            continue
        if name in members:
            raise DataError(f"{path} has two entries named {plain(name)}: pack the archive again")
        if member.file_size > MOST_BYTES:
            raise DataError(f"{path}: {plain(name)} has more than {MOST_BYTES >> 20} MB: it is too large to be read")
        if member.file_size > max(BOMB_BYTES, BOMB_RATIO * member.compress_size):
            raise DataError(
                f"{path}: {plain(name)} unpacks from {member.compress_size:,} to {member.file_size:,} bytes: "
                "it is a decompression bomb; remove it"
            )
        if member.flag_bits & 1:
            raise DataError(f"{path}: {plain(name)} is encrypted: pack the archive without a password")
        members[name] = member
    return members


def _in_run(parts: tuple[str, ...], runs: set[tuple[str, ...]], left: LeftOut) -> bool:
    """Whether a member is in a run directory, or belongs to a run at the top of the archive."""
    for depth in range(1, len(parts)):
        if parts[:depth] in runs:
            left.add(left_out.RUN, "/".join(parts[:depth]))
            return True
    if () in runs and left_out.of_run(parts[0], len(parts) > 1):
        left.add(left_out.OWN, parts[0])
        return True
    return False


def _note_member(member: zipfile.ZipInfo, suffixes: tuple[str, ...], left: LeftOut) -> None:
    """Notes a member that is not read, unless it is a folder or in a hidden one."""
    parts = split_name(member.filename)
    if not parts or member.is_dir() or member.filename.endswith("\\") or any(map(_hidden, parts[:-1])):
        return
    if _is_sample(parts[-1], suffixes):
        left.add(left_out.SPECIAL, member.filename)
    else:
        left.file(member.filename, parts[-1], known=parts[-1].lower().endswith(suffixes))


def _is_member(member: zipfile.ZipInfo, suffixes: tuple[str, ...]) -> bool:
    """Whether the member is a regular file that is not hidden, and a sample or a table of labels."""
    parts = split_name(member.filename)
    if (
        not parts or member.is_dir() or member.filename.endswith("\\")
    ):  # a name that begins with NUL is empty, which `is_dir` alone fails on
        return False
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archiver stores no file type
    read = _is_sample(parts[-1], suffixes) or _is_table(parts[-1])
    return kind in (0, stat.S_IFREG) and not any(map(_hidden, parts[:-1])) and read


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_sample(name: str, suffixes: tuple[str, ...]) -> bool:
    return not _hidden(name) and name.lower().endswith(suffixes)


def _suffix(name: str) -> str:
    return f".{name.rpartition('.')[2].lower()}"


def _is_table(name: str) -> bool:
    return METADATA.fullmatch(name) is not None


def _chosen(names: list[str], kinds: Kinds, left: LeftOut) -> tuple[list[str], str, tuple[str, ...]]:
    """The files of one modality, its id, and tables of labels. Files of other modalities are left out."""
    tables = tuple(name for name in names if _is_table(split_name(name)[-1]))
    files = [name for name in names if name not in tables] if tables else names
    modality = kinds.choose({_suffix(name) for name in files})
    suffixes = kinds.of[modality].suffixes
    left.noun = with_article(kinds.of[modality].noun)
    for name in files:
        if not name.lower().endswith(suffixes):
            left.file(name, split_name(name)[-1], known=False)
    return [name for name in files if name.lower().endswith(suffixes)], modality, tables


def split_name(name: str) -> tuple[str, ...]:
    r"""The parts of a file name, separated by / or, as some archivers of Windows write it, by \."""
    return PurePosixPath(name.replace("\\", "/")).parts


def _order(name: str) -> tuple[list[tuple[int, str]], str]:
    return natural_key(name.replace("\\", "/"))


def plain(name: str) -> str:
    """A name from an untrusted source in a form that is safe to print on one line of a terminal."""
    return printable(name).replace("\n", "?")[:120]
