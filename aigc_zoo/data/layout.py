"""Image files of a folder or a zip archive, and the splits and classes that their folders name."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from aigc_zoo.data.pixels import SUFFIXES
from aigc_zoo.errors import DataError, printable
from aigc_zoo.text import natural_key

MOST_FILES = 5_000_000
MOST_BYTES = 256 << 20
BOMB_BYTES, BOMB_RATIO = 16 << 20, 100
"""A member of a zip that exceeds both this size and this compression ratio is refused as a decompression bomb."""

_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLITS |= {"val": "val", "valid": "val", "validation": "val"}


class ImageFiles(NamedTuple):
    """Relative names of image files, in natural order, and a function that opens one of them."""

    names: list[str]
    open: Callable[[str], IO[bytes]]


class Layout(NamedTuple):
    """File names by split, the training split first, and labels where the folders are classes."""

    members: dict[str, list[str]]
    labels: dict[str, list[int]]
    classes: tuple[str, ...]


# --- folders ----------------------------------------------------------------------------------------------------------


def folder(path: Path) -> tuple[ImageFiles, str]:
    """The images in a folder without hidden ones, and a digest of their names, sizes and modification times."""
    names, about = [], {}
    for name, entry in _walk(path):
        try:
            status = entry.stat()
        except OSError as error:
            raise DataError(f"{path / name} cannot be read: {error.strerror}") from error
        if stat.S_ISREG(status.st_mode):
            if status.st_size > MOST_BYTES:
                raise DataError(
                    f"{path / name} has more than {MOST_BYTES >> 20} MB: it is too large for a training image"
                )
            names.append(name)
            about[name] = f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"
    names.sort(key=natural_key)
    state = hashlib.sha256("".join(about[name] for name in names).encode("utf-8", "surrogateescape")).hexdigest()
    return ImageFiles(names, lambda name: (path / name).open("rb")), state


def _walk(path: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Image files below a folder by relative name; symbolic links are followed, each folder is visited once."""
    pending, visited = [(path, "")], set()
    while pending:
        directory, prefix = pending.pop()
        try:
            status = directory.stat()
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(directory) as found:
                entries = [(entry, entry.is_dir()) for entry in found if not _hidden(entry.name)]
        except OSError as error:
            raise DataError(f"{error.filename or directory} cannot be read: {error.strerror}") from error
        for entry, is_folder in entries:
            if is_folder:
                pending.append((directory / entry.name, f"{prefix}{entry.name}/"))
            elif _is_image(entry.name):
                yield prefix + entry.name, entry


# --- archives ---------------------------------------------------------------------------------------------------------


@contextmanager
def archive(path: Path) -> Iterator[ImageFiles]:
    """The images in a zip archive. Members are read into memory one by one, so their names are never used as paths."""
    try:
        with zipfile.ZipFile(path) as zipped:
            members = _members(path, zipped)
            yield ImageFiles(sorted(members, key=natural_key), lambda name: io.BytesIO(zipped.read(members[name])))
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(
            f"{path} is not a complete zip archive: {error}\npack it again, or give the folder: --data FOLDER"
        ) from error


def _members(path: Path, zipped: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    if len(zipped.filelist) > MOST_FILES:
        raise DataError(f"{path} has {len(zipped.filelist):,} entries, more than {MOST_FILES:,}")
    members: dict[str, zipfile.ZipInfo] = {}
    for member in zipped.filelist:
        name = member.filename
        if not _is_member(member):
            continue
        if name in members:
            raise DataError(f"{path} has two entries named {plain(name)}: pack the archive again")
        if member.file_size > MOST_BYTES:
            raise DataError(
                f"{path}: {plain(name)} has more than {MOST_BYTES >> 20} MB: it is too large for a training image"
            )
        if member.file_size > max(BOMB_BYTES, BOMB_RATIO * member.compress_size):
            raise DataError(
                f"{path}: {plain(name)} unpacks from {member.compress_size:,} to {member.file_size:,} bytes: "
                "it is a decompression bomb, not an image; remove it"
            )
        if member.flag_bits & 1:
            raise DataError(f"{path}: {plain(name)} is encrypted: pack the archive without a password")
        members[name] = member
    return members


def _is_member(member: zipfile.ZipInfo) -> bool:
    """Whether the member is a regular file that is not hidden and has the suffix of an image."""
    parts = PurePosixPath(member.filename).parts
    if not parts or member.is_dir():  # a name that begins with NUL is empty, which `is_dir` alone fails on
        return False
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archiver stores no file type
    return kind in (0, stat.S_IFREG) and not any(map(_hidden, parts[:-1])) and _is_image(parts[-1])


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_image(name: str) -> bool:
    return not _hidden(name) and name.lower().endswith(SUFFIXES)


def plain(name: str) -> str:
    """A name from an untrusted source in a form that is safe to print on one line of a terminal."""
    return printable(name).replace("\n", "?")[:120]


# --- splits and classes -----------------------------------------------------------------------------------------------


def arrange(path: Path, names: Sequence[str]) -> Layout:
    """Splits and classes by folder: train, test and val at the top are splits, the next level is classes.

    A single folder around everything is skipped. The dataset has no labels if any image lies outside the class folders.
    """
    if not names:
        raise DataError(
            f"{path} has no images ({', '.join(SUFFIXES)})\nuse --data with a folder or a .zip file of images"
        )
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    tops = {parts[0] if parts else "" for parts in folders}
    if len(tops) == 1 and "" not in tops and not _has_train(tops):
        folders = [parts[1:] for parts in folders]
        tops = {parts[0] if parts else "" for parts in folders}
    splits = ["train"] * len(names)
    if _has_train(tops):
        _need_splits(path, names, folders)
        splits = [_SPLITS[parts[0].lower()] for parts in folders]
        folders = [parts[1:] for parts in folders]
    elif tops and all(top.lower() in _SPLITS for top in tops):
        raise DataError(f"{path} has {' and '.join(sorted(tops))} but no folder train, which training needs")
    classes = tuple(sorted({parts[0] for parts in folders}, key=natural_key)) if all(folders) else ()
    number = {name: label for label, name in enumerate(classes)}
    layout = Layout({"train": []}, {}, tuple(map(plain, classes)))
    for name, split, parts in zip(names, splits, folders, strict=True):
        layout.members.setdefault(split, []).append(name)
        if classes:
            layout.labels.setdefault(split, []).append(number[parts[0]])
    return layout


def _has_train(tops: Iterable[str]) -> bool:
    return any(_SPLITS.get(top.lower()) == "train" for top in tops)


def _need_splits(path: Path, names: Sequence[str], folders: Sequence[tuple[str, ...]]) -> None:
    beside = [name for name, parts in zip(names, folders, strict=True) if not parts or parts[0].lower() not in _SPLITS]
    if beside:
        raise DataError(
            f"{path} has a folder train, but {len(beside):,} images are in none of train, test and val: "
            f"{plain(beside[0])}{', ...' if beside[1:] else ''}\nmove them into one, or rename train"
        )
