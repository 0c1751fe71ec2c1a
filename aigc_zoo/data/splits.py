"""Splits and classes of files, by the names of the folders that hold them and by tables of labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from aigc_zoo.data.classes import labels_of
from aigc_zoo.data.layout import plain, split_name
from aigc_zoo.data.metadata import NOTHING, Metadata
from aigc_zoo.data.split_words import DOMAINS, NEUTRAL, SplitName, read_name
from aigc_zoo.errors import DataError
from aigc_zoo.text import natural_key

_DOMAIN_FOLDERS = {"traina": "trainA", "trainb": "trainB", "testa": "testA", "testb": "testB"}
_DOMAIN_FOLDERS |= {"vala": "valA", "valb": "valB"}
SHOWN = 6
"""Folders that a message names."""

Parts = tuple[str, ...]


class Layout(NamedTuple):
    """File names by split, the training split first, labels of the splits that have them, and what was noted."""

    members: dict[str, list[str]]
    labels: dict[str, list[int]]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def arrange(
    path: Path,
    names: Sequence[str],
    notes: Sequence[str] = (),
    metadata: Metadata = NOTHING,
    *,
    suffixes: Sequence[str] = (),
    units: str = "samples",
) -> Layout:
    r"""Splits and classes: the folders of one level are the splits, the first other level is classes.

    Folders around everything are skipped, and a backslash separates folders as a slash does. Without splits, everything
    is for training. `metadata` is what tables say of the files, which takes precedence over class folders. `notes` say
    which files were left out. Raises DataError where there are no files, and where folders look like splits but are
    not understood.
    """
    if not names:
        lines = [f"{path} has no {units} ({', '.join(suffixes)})", *notes[:1]]
        raise DataError("\n".join([*lines, f"use --data with a folder or a .zip file of {units}"]))
    folders = [split_name(name)[:-1] for name in names]
    found = _find_splits(path, names, _unwrap(folders))
    if metadata.splits and all(split == "train" for split, _ in found):
        found = _stated_splits(path, names, found, metadata.splits)
    members: dict[str, list[str]] = {"train": []}
    for name, (split, _) in zip(names, found, strict=True):
        members.setdefault(split, []).append(name)
    labels, more = labels_of(path, members, dict(zip(names, (parts for _, parts in found), strict=True)), metadata)
    classes = tuple(sorted(set(labels.values()), key=natural_key))
    number = {name: label for label, name in enumerate(classes)}
    labelled = {split: [number[labels[name]] for name in some] for split, some in members.items() if some[0] in labels}
    return Layout(members, labelled, tuple(map(plain, classes)), (*metadata.notes, *more))


def _stated_splits(
    path: Path, names: Sequence[str], found: Sequence[tuple[str, Parts]], stated: Mapping[str, str]
) -> list[tuple[str, Parts]]:
    """The splits that a table of labels states. Raises DataError for files without one, and for unclear ones."""
    result = []
    for name, (_, parts) in zip(names, found, strict=True):
        word = stated.get(name, "")
        read = read_name(word)
        if read is None or not read.clear:
            said = f"is in the split {plain(word)!r}" if word else "is in no split"
            raise DataError(
                f"{path}: {plain(name)} {said} of the table of labels\n"
                "correct the column to train, test or val for every file, or remove it"
            )
        result.append((read.split, parts))
    if all(split != "train" for split, _ in result):
        raise DataError(f"{path} has no file in the split train of its table of labels, which training needs")
    return result


# --- splits -----------------------------------------------------------------------------------------------------------


def _unwrap(folders: list[Parts]) -> list[Parts]:
    """The folders without those around everything, except for one that is a training split."""
    while True:
        tops = {parts[0] if parts else "" for parts in folders}
        if len(tops) > 1 or "" in tops or _is_train(read_name(next(iter(tops)))):
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
        domain = tuple(word.upper() for word in name.rest if name.rest in DOMAINS)
        found.append((name.split, (*parts[:depth], *domain), parts[depth + 1 :]))
    tails = _without_wrappers([(split, tail) for split, _, tail in found])
    for name_, (split, _, _), tail in zip(names, found, tails, strict=True):
        for part in tail:
            inner = read_name(part)
            if inner is not None and inner.clear and inner.split != split:
                raise DataError(
                    f"{path}: {plain(name_)} is in a folder {plain(part)} inside the split {split}\n"
                    "keep train, test and val beside each other, or rename the inner folder if it is a class"
                )
    return [(split, head + tail) for (split, head, _), tail in zip(found, tails, strict=True)]


def _read_level(level: Collection[str]) -> dict[str, SplitName]:
    """The folders of a level that look like splits. Words that all of them share, as in seg_train and seg_test, count
    as no difference."""
    domains = any(name.lower() in ("traina", "trainb") for name in level)
    read = {name: read_name(_DOMAIN_FOLDERS.get(name.lower(), name) if domains else name) for name in level}
    found = {name: one for name, one in read.items() if one is not None}
    alike = len(found) == len(level) and len({one.rest for one in found.values()}) == 1
    if alike and len({one.split for one in found.values()} - {""}) > 1:
        return {name: one if one.clear else one._replace(rest=()) for name, one in found.items()}
    return found


def _is_split_level(
    path: Path,
    level: Collection[str],
    splits: dict[str, SplitName],
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
        f"{path} has a folder {plain(train)}, but {len(beside):,} files are in none of train, test and val: "
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
    read = read_name(name)
    return name.lower() in NEUTRAL or (read is not None and read.split == split)


def _is_train(name: SplitName | None) -> bool:
    return name is not None and name.clear and name.split == "train"


def _listed(names: Collection[str], last: str = ",") -> str:
    shown = [plain(name) or "files" for name in sorted(names, key=natural_key)]
    if len(shown) > SHOWN:
        shown = [*shown[:SHOWN], "..."]
    join = f" {last} " if last != "," else ", "
    return join.join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)


def _beside(names: Collection[str]) -> str:
    return f" (beside {_listed(names)})" if names else ""
