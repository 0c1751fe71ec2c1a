"""Classes of files, by tables of labels or by the names of the folders that hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from aigc_zoo.data.layout import plain, split_name
from aigc_zoo.data.metadata import Metadata
from aigc_zoo.data.split_words import NEUTRAL, read_name
from aigc_zoo.text import natural_key

Parts = tuple[str, ...]
Found = tuple[dict[str, str], tuple[str, ...]]
"""Class names by file, and sentences for the user."""


def labels_of(
    path: Path, members: Mapping[str, Sequence[str]], folders: Mapping[str, Parts], metadata: Metadata
) -> Found:
    """The classes of files, all of a split or none of it; `folders` are those of each file below its split.

    Tables of labels take precedence over folders. Where the training split has no labels, no split has them.
    """
    tables = metadata.labels
    covered = [name for name in members["train"] if name in tables]
    if not covered:
        labels, notes = _of_folders(path, members, folders, metadata)
        alone = [split for split in members if tables and any(name in tables for name in members[split])]
        if alone:
            notes = (*notes, f"labels of {' and '.join(alone)} in tables are not used, as those of train are missing")
        return labels, notes
    if len(covered) < len(members["train"]):
        missing = next(name for name in members["train"] if name not in tables)
        return {}, (
            f"no labels: the tables have labels of {len(covered):,} of {len(members['train']):,} training files "
            f"(none of {plain(missing)}); add the others, or remove these files",
        )
    return _complete(members, tables)


def _complete(members: Mapping[str, Sequence[str]], labels: Mapping[str, str]) -> Found:
    """The labels of the splits that are labelled as a whole, and a sentence on those that are not."""
    whole = [split for split, names in members.items() if all(name in labels for name in names)]
    rest = tuple(
        f"the split {split} has no labels: {sum(name not in labels for name in names):,} of its {len(names):,} files "
        "have none"
        for split, names in members.items()
        if split not in whole
    )
    return {name: labels[name] for split in whole for name in members[split]}, rest


# --- folders ----------------------------------------------------------------------------------------------------------


def _of_folders(
    path: Path, members: Mapping[str, Sequence[str]], folders: Mapping[str, Parts], metadata: Metadata
) -> Found:
    """Class folders, the first level below the splits; or the one folder that holds all files."""
    unlabelled = [name for name, parts in folders.items() if not parts]
    if len(unlabelled) == len(folders):
        only = _only_folder(path, members)
        return (dict.fromkeys(folders, only) if only else {}), ()
    if any(not folders[name] for name in members["train"]):
        return {}, (_outside(unlabelled, len(folders)),)
    if shards := _shards({name: parts[0] for name, parts in folders.items() if parts}, metadata.sharded):
        return {}, (f"no labels: the folders {shards} are shards, not classes: their numbers continue in their files",)
    return _complete(members, {name: parts[0] for name, parts in folders.items() if parts})


def _only_folder(path: Path, members: Mapping[str, Sequence[str]]) -> str:
    """The class of files that are all in one folder: its name, unless that is the dataset's, a split's or neutral."""
    holding = {split_name(name)[-2:-1] for name in members["train"]}
    if len(members) > 1 or len(holding) > 1 or holding == {()}:
        return ""
    ((name,),) = holding
    same = name.lower() in (path.absolute().name.lower(), path.stem.lower())
    return "" if same or name.lower() in NEUTRAL or read_name(name) or re.fullmatch(r"\d{5,}", name) else name


def _outside(unlabelled: Sequence[str], count: int) -> str:
    """A sentence that says why there are no labels although some files are in class folders."""
    verb, them = ("is", "it") if len(unlabelled) == 1 else ("are", "them")
    first = f"{plain(unlabelled[0])}{', ...' if unlabelled[1:] else ''}"
    return (
        f"no labels: {len(unlabelled):,} of {count:,} files {verb} outside the class folders ({first}); "
        f"remove {them} or move {them} into a class folder"
    )


def _shards(folders: Mapping[str, str], sharded: bool) -> str:
    """The numbered folders into which many files are divided, as text; "" where folders are classes.

    The folders have numbers of one length, and the numbers of the files continue from one folder to the next, as in
    00000/img00000999.png and 00001/img00001000.png. Beside a dataset.json (`sharded`), the files may have any names.
    """
    names = sorted(set(folders.values()))
    if len({len(name) for name in names}) > 1 or not all(re.fullmatch(r"[0-9]{5,}", name) for name in names):
        return ""
    if not sharded:
        numbers: dict[str, list[int]] = {name: [] for name in names}
        for file, folder in folders.items():
            found = re.findall(r"[0-9]+", split_name(file)[-1].rpartition(".")[0])
            if len(found) != 1:
                return ""
            numbers[folder].append(int(found[0]))
        ranges = [(min(some), max(some)) for some in numbers.values()]
        if len(names) < 2 or any(high >= low for (_, high), (low, _) in pairwise(ranges)):
            return ""
    shown = sorted(names, key=natural_key)[:3]
    return ", ".join(shown) + (", ..." if names[3:] else "")
