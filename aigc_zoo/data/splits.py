"""Splits and classes of image files, by the names of the folders that hold them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, NoReturn

from aigc_zoo.data.layout import plain, split_name
from aigc_zoo.data.pixels import SUFFIXES
from aigc_zoo.errors import DataError
from aigc_zoo.text import natural_key

_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLITS |= {"val": "val", "valid": "val", "validation": "val"}
_UNCLEAR = {"dev", "eval", "evaluation", "holdout", "heldout", "trainval", "traintest"}
"""Words of splits that are not among train, test and val."""
_NEUTRAL = {
    "set",
    "sets",
    "data",
    "dataset",
    "image",
    "images",
    "img",
    "imgs",
    "photo",
    "photos",
    "picture",
    "pictures",
}
_NEUTRAL |= {"file", "files", "folder", "split", "samples", "jpg", "jpeg", "png"}
"""Words that a folder name may have beside that of its split."""
_DOMAINS = {("a",), ("b",)}
_COMPOUND = re.compile(rf"({'|'.join([*_SPLITS, *_UNCLEAR])})({'|'.join(_NEUTRAL)})")
_DOMAIN_FOLDERS = {"traina": "trainA", "trainb": "trainB", "testa": "testA", "testb": "testB"}
_DOMAIN_FOLDERS |= {"vala": "valA", "valb": "valB"}
SHOWN = 6
"""Folders that a message names."""


class Layout(NamedTuple):
    """File names by split, the training split first, labels where the folders are classes, and what was noted."""

    members: dict[str, list[str]]
    labels: dict[str, list[int]]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


class _Name(NamedTuple):
    """A folder name with the word of a split: the split, "" where it is unclear, and the words beside it."""

    split: str
    rest: tuple[str, ...]

    @property
    def clear(self) -> bool:
        return bool(self.split) and (not self.rest or self.rest in _DOMAINS)


def arrange(path: Path, names: Sequence[str], notes: Sequence[str] = ()) -> Layout:
    r"""Splits and classes by folder: the folders of one level are the splits, the first other level is classes.

    Folders around everything are skipped, and a backslash separates folders as a slash does. Without splits, everything
    is for training. The dataset has no labels if any image lies outside the class folders. `notes` say which files were
    left out. Raises DataError where there are no images, and where folders look like splits but are not understood.
    """
    if not names:
        lines = [f"{path} has no images ({', '.join(SUFFIXES)})", *notes[:1]]
        raise DataError("\n".join([*lines, "use --data with a folder or a .zip file of images"]))
    found = _find_splits(path, names, _unwrap([split_name(name)[:-1] for name in names]))
    unlabelled = [name for name, (_, parts) in zip(names, found, strict=True) if not parts]
    classes = () if unlabelled else tuple(sorted({parts[0] for _, parts in found}, key=natural_key))
    number = {name: label for label, name in enumerate(classes)}
    layout = Layout({"train": []}, {}, tuple(map(plain, classes)), _no_labels(unlabelled, len(names)))
    for name, (split, parts) in zip(names, found, strict=True):
        layout.members.setdefault(split, []).append(name)
        if classes:
            layout.labels.setdefault(split, []).append(number[parts[0]])
    return layout


def _no_labels(unlabelled: Sequence[str], count: int) -> tuple[str, ...]:
    """A sentence that says why there are no labels although some images are in class folders."""
    if len(unlabelled) in (0, count):
        return ()
    verb, them = ("is", "it") if len(unlabelled) == 1 else ("are", "them")
    first = f"{plain(unlabelled[0])}{', ...' if unlabelled[1:] else ''}"
    return (
        f"no labels: {len(unlabelled):,} of {count:,} images {verb} outside the class folders ({first}); "
        f"remove {them} or move {them} into a class folder",
    )


# --- splits -----------------------------------------------------------------------------------------------------------

Parts = tuple[str, ...]


def _unwrap(folders: list[Parts]) -> list[Parts]:
    """The folders without those around everything, except for one that is a training split."""
    while True:
        tops = {parts[0] if parts else "" for parts in folders}
        if len(tops) > 1 or "" in tops or _is_train(_read(next(iter(tops)))):
            return folders
        folders = [parts[1:] for parts in folders]


def _find_splits(path: Path, names: Sequence[str], folders: Sequence[Parts]) -> list[tuple[str, Parts]]:
    """The split of each file, and its other folders."""
    depth = 0
    while True:
        level = {parts[depth] if len(parts) > depth else "" for parts in folders}
        if level == {""}:
            return [("train", parts) for parts in folders]
        splits = _read_level(level)
        if _is_split_level(path, level, splits, names, folders, depth):
            break
        depth += 1
    found = []
    for parts in folders:
        name = splits[parts[depth]]
        domain = tuple(word.upper() for word in name.rest if name.rest in _DOMAINS)
        found.append((name.split, (*parts[:depth], *domain), parts[depth + 1 :]))
    tails = _without_wrappers([(split, tail) for split, _, tail in found])
    for name_, (split, _, _), tail in zip(names, found, tails, strict=True):
        for part in tail:
            inner = _read(part)
            if inner is not None and inner.clear and inner.split != split:
                raise DataError(
                    f"{path}: {plain(name_)} is in a folder {plain(part)} inside the split {split}\n"
                    "keep train, test and val beside each other, or rename the inner folder if it is a class"
                )
    return [(split, head + tail) for (split, head, _), tail in zip(found, tails, strict=True)]


def _read_level(level: Collection[str]) -> dict[str, _Name]:
    """The folders of a level that look like splits. Words that all of them share, as in seg_train and seg_test, count
    as no difference."""
    domains = any(name.lower() in ("traina", "trainb") for name in level)
    read = {name: _read(_DOMAIN_FOLDERS.get(name.lower(), name) if domains else name) for name in level}
    found = {name: one for name, one in read.items() if one is not None}
    alike = len(found) == len(level) and len({one.rest for one in found.values()}) == 1
    if alike and len({one.split for one in found.values()} - {""}) > 1:
        return {name: one if one.clear else one._replace(rest=()) for name, one in found.items()}
    return found


def _is_split_level(
    path: Path,
    level: Collection[str],
    splits: dict[str, _Name],
    names: Sequence[str],
    folders: Sequence[Parts],
    depth: int,
) -> bool:
    """Whether the folders of a level are splits. Raises DataError where some look like it, but not all are clear."""
    clear = {name for name, one in splits.items() if one.clear}
    trains = sorted(name for name in clear if splits[name].split == "train")
    if trains:
        beside = [
            name for name, parts in zip(names, folders, strict=True) if len(parts) <= depth or parts[depth] not in clear
        ]
        if beside:
            _refuse_beside(path, trains[0], level, beside)
        return True
    if all(one.split == "train" for one in splits.values()) or (len(level) == 1 and depth):
        return False  # a class such as "train station", or one folder in each class
    if len(clear) == len(level):
        raise DataError(f"{path} has {_listed(level, 'and')} but no folder train, which training needs")
    raise DataError(
        f"{path} has folders that look like splits, but are not clear: {_listed(splits)}"
        f"{_beside(set(level) - set(splits))}\n"
        "rename them to train, test or val, or, if they are classes, to names without such a word"
    )


def _refuse_beside(path: Path, train: str, level: Collection[str], beside: Sequence[str]) -> NoReturn:
    raise DataError(
        f"{path} has a folder {plain(train)}, but {len(beside):,} images are in none of train, test and val: "
        f"{plain(beside[0])}{', ...' if beside[1:] else ''}\n"
        f"beside each other are {_listed(level)}\n"
        f"move them into train, test and val, or rename {plain(train)} if it is a class"
    )


def _without_wrappers(found: Sequence[tuple[str, Parts]]) -> list[Parts]:
    """Folders below the splits, without a folder such as "images" or a second "train" around all files of a split."""
    tops: dict[str, set[str]] = {}
    for split, tail in found:
        tops.setdefault(split, set()).add(tail[0] if tail else "")
    wrapped = {split for split, names in tops.items() if len(names) == 1 and _is_wrapper(split, next(iter(names)))}
    if not wrapped:
        return [tail for _, tail in found]
    return _without_wrappers([(split, tail[1:] if split in wrapped else tail) for split, tail in found])


def _is_wrapper(split: str, name: str) -> bool:
    read = _read(name)
    return name.lower() in _NEUTRAL or (read is not None and read.split == split)


def _is_train(name: _Name | None) -> bool:
    return name is not None and name.clear and name.split == "train"


@lru_cache(1 << 16)
def _read(name: str) -> _Name | None:
    """The split that a folder name says, with the words beside it; None where it has no word of a split."""
    words: list[str] = []
    for part in re.findall(r"[^\W_]+", name):
        for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", part) if part.isascii() else [part]:
            compound = _COMPOUND.fullmatch(word.lower())
            words += compound.groups() if compound else [word.lower()]
    said = [word for word in words if word in _SPLITS or word in _UNCLEAR]
    if not said:
        return None
    rest = [word for word in words if word not in said and word not in _NEUTRAL and not re.fullmatch(r"\d{4}", word)]
    return _Name(_SPLITS.get(said[0], "") if len(said) == 1 else "", tuple(rest))


def _listed(names: Collection[str], last: str = ",") -> str:
    shown = [plain(name) or "files" for name in sorted(names, key=natural_key)]
    if len(shown) > SHOWN:
        shown = [*shown[:SHOWN], "..."]
    join = f" {last} " if last != "," else ", "
    return join.join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)


def _beside(names: Collection[str]) -> str:
    return f" (beside {_listed(names)})" if names else ""
