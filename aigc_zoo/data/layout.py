"""Where images lie: files of a folder or members of a zip, and what their folders say of splits and classes."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from aigc_zoo.data.pixels import SUFFIXES
from aigc_zoo.errors import DataError

MOST_FILES = 5_000_000
MOST_BYTES = 256 << 20
BOMB_BYTES, BOMB_RATIO = 16 << 20, 100
"""What a zip holds of more bytes than that, packed more tightly than that, is made to fill memory."""

_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLITS |= {"val": "val", "valid": "val", "validation": "val"}


class Place(NamedTuple):
    """Image files by relative name, in natural order, and how to open one of them."""

    names: list[str]
    open: Callable[[str], IO[bytes]]


class Layout(NamedTuple):
    """Splits, the training split first, with the names of their files; labels where folders are classes."""

    members: dict[str, list[str]]
    labels: dict[str, list[int]]
    classes: tuple[str, ...]


# --- folders ----------------------------------------------------------------------------------------------------------


def folder(path: Path) -> tuple[Place, str]:
    """The images in a folder, hidden ones left out, and a digest that changes when any of them does."""
    names, about = [], {}
    for name, entry in _walk(path):
        try:
            status = entry.stat()
        except OSError as error:
            raise DataError(f"{path / name} cannot be read: {error.strerror}") from error
        if stat.S_ISREG(status.st_mode):
            if status.st_size > MOST_BYTES:
                raise DataError(f"{path / name} has more than {MOST_BYTES >> 20} MB: it is no image to train on")
            names.append(name)
            about[name] = f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"
    names.sort(key=natural)
    state = hashlib.sha256("".join(about[name] for name in names).encode("utf-8", "surrogateescape")).hexdigest()
    return Place(names, lambda name: (path / name).open("rb")), state


def _walk(path: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Image files below a folder by relative name; links to folders are followed, but never in a circle."""
    waiting, seen = [(path, "")], set()
    while waiting:
        here, prefix = waiting.pop()
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(here) as found:
                entries = [(entry, entry.is_dir()) for entry in found if not _hidden(entry.name)]
        except OSError as error:
            raise DataError(f"{error.filename or here} cannot be read: {error.strerror}") from error
        for entry, is_folder in entries:
            if is_folder:
                waiting.append((here / entry.name, f"{prefix}{entry.name}/"))
            elif _is_image(entry.name):
                yield prefix + entry.name, entry


# --- archives ---------------------------------------------------------------------------------------------------------


@contextmanager
def archive(path: Path) -> Iterator[Place]:
    """The images in a zip. Members are read one by one; nothing is written anywhere, so their names harm nobody."""
    try:
        with zipfile.ZipFile(path) as zipped:
            members = _members(path, zipped)
            yield Place(sorted(members, key=natural), lambda name: io.BytesIO(zipped.read(members[name])))
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(
            f"{path} is not a whole zip archive: {error}\npack it anew, or give the folder: --data FOLDER"
        ) from error


def _members(path: Path, zipped: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    if len(zipped.filelist) > MOST_FILES:
        raise DataError(f"{path} has {len(zipped.filelist):,} entries, more than {MOST_FILES:,}")
    members: dict[str, zipfile.ZipInfo] = {}
    for member in zipped.filelist:
        name = member.filename
        if not _counts(member):
            continue
        if name in members:
            raise DataError(f"{path} has two entries named {plain(name)}: make the archive anew")
        if member.file_size > MOST_BYTES:
            raise DataError(f"{path}: {plain(name)} has more than {MOST_BYTES >> 20} MB: it is no image to train on")
        if member.file_size > max(BOMB_BYTES, BOMB_RATIO * member.compress_size):
            raise DataError(
                f"{path}: {plain(name)} unpacks from {member.compress_size:,} to {member.file_size:,} bytes: "
                "it is a bomb rather than an image; remove it"
            )
        if member.flag_bits & 1:
            raise DataError(f"{path}: {plain(name)} is encrypted: make an archive without a password")
        members[name] = member
    return members


def _counts(member: zipfile.ZipInfo) -> bool:
    """Whether it is a regular file, visible, and named like an image."""
    parts = PurePosixPath(member.filename).parts
    if not parts or member.is_dir():  # a name that begins with NUL is empty, at which `is_dir` alone would stumble
        return False
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archiver knows no kinds
    return kind in (0, stat.S_IFREG) and not any(map(_hidden, parts[:-1])) and _is_image(parts[-1])


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_image(name: str) -> bool:
    return not _hidden(name) and name.lower().endswith(SUFFIXES)


def plain(name: str) -> str:
    """A name that anybody may have written, fit for one line of a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:120]


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sorts 9.png before 10.png."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)], name


# --- splits and classes -----------------------------------------------------------------------------------------------


def arrange(path: Path, names: Sequence[str]) -> Layout:
    """What the folders say: train, test and val at the top are splits, the next level is classes.

    One folder around everything is passed over. Images without a folder of their own make the data unlabelled.
    """
    if not names:
        raise DataError(
            f"{path} holds no images ({', '.join(SUFFIXES)})\nsay --data FOLDER or --data FILE.zip with some"
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
        raise DataError(f"{path} has {' and '.join(sorted(tops))} and no train beside them: training needs that folder")
    classes = tuple(sorted({parts[0] for parts in folders}, key=natural)) if all(folders) else ()
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
