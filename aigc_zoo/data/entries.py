"""Files with several entries in each sample: pairs of folders, images side by side, and domains without pairs.

The layouts, each in folders train, test and val or without them:

    source/ real/   pairs by file name; the folders are called like the entries, or as --entry says
    A/ B/           also trainA/ trainB/: A is the source, B the real entry, pairs or two domains
    AB/ or BA/      one file with both side by side
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from aigc_zoo.data import files
from aigc_zoo.data.download import Progress
from aigc_zoo.data.kinds import Kinds
from aigc_zoo.data.layout import View, plain, split_name
from aigc_zoo.data.samples import with_entries
from aigc_zoo.errors import DataError, UsageError
from aigc_zoo.game import Recipe, Samples

REAL, SOURCE = "real", "source"
LETTERS = {SOURCE: "a", REAL: "b"}
SIDES = ("ab", "ba")
"""Folders of files with both entries side by side, in this order."""


@dataclass(frozen=True)
class Wanted:
    """The entries that a recipe reads, the one that it imitates among them; `folders` are their names on disk."""

    names: tuple[str, ...]
    paired: bool = True
    folders: Mapping[str, str] | None = None

    def folder(self, entry: str) -> str:
        return (self.folders or {}).get(entry, entry)


def wanted_entries(recipe: Recipe, folders: Sequence[str] = ()) -> Wanted | None:
    """The entries that a recipe reads from files, None where it reads the one that it imitates alone.

    Raises UsageError for a name that is not of the form ENTRY=FOLDER.
    """
    names = tuple(dict.fromkeys((*recipe.inputs, recipe.imitates)))
    named = {}
    for text in folders:
        entry, equals, folder = text.partition("=")
        if not equals or not folder or entry not in names:
            raise UsageError(f"--entry {text}: not ENTRY=FOLDER with one of the entries {', '.join(names)}")
        named[entry] = folder
    return Wanted(names, recipe.paired, named) if len(names) > 1 else None


def open_entries(
    path: Path, kinds: Kinds, wanted: Wanted, *, progress: Progress | None = None, skip_bad: int | None = None
) -> dict[str, Samples]:
    """The splits of a folder or zip of pairs or domains. Raises DataError that names the folders that are missing."""
    names = _names(path, kinds)
    side = next((side for side in SIDES if any(side in _folders(name) for name in names)), "")
    if side and set(wanted.names) == {SOURCE, REAL}:
        return _side_by_side(path, kinds, side, progress, skip_bad)
    views = _views(path, names, wanted)
    found = {
        entry: files.open_files(path, kinds, view=view, progress=progress, skip_bad=skip_bad)
        for entry, view in views.items()
    }
    if wanted.paired:
        _require_pairs(path, views, names)
    return _joined(path, found, wanted.paired)


def view_of(names: Sequence[str], entry: str, wanted: Wanted) -> View | None:
    """The files of one entry, where a folder is called like it, or where there are folders A and B; else None."""
    letters = [_view(letter) for letter in LETTERS.values()]
    both = entry in LETTERS and all(any(map(view.name, names)) for view in letters)
    folders = (wanted.folder(entry), *((LETTERS[entry],) if both else ()))
    return next((view for view in map(_view, folders) if any(map(view.name, names))), None)


def side_of(names: Sequence[str], entry: str) -> tuple[View, int] | None:
    """The files with both entries side by side, and the place of this one in them; None where there are none."""
    for side in SIDES if entry in LETTERS else ():
        if any(side in _folders(name) for name in names):
            return _view(side), side.index(LETTERS[entry])
    return None


def _names(path: Path, kinds: Kinds) -> Sequence[str]:
    with files.opened(path, kinds) as found:
        return found.names


def _folders(name: str) -> list[str]:
    return [part.lower() for part in split_name(name)[:-1]]


def _views(path: Path, names: Sequence[str], wanted: Wanted) -> dict[str, View]:
    """The files of each entry, seen without the folder that says which entry they are."""
    for choice in ({entry: wanted.folder(entry) for entry in wanted.names}, LETTERS):
        views = {entry: _view(choice[entry]) for entry in wanted.names if entry in choice}
        if len(views) == len(wanted.names) and all(any(map(view.name, names)) for view in views.values()):
            return views
    asked = " and ".join(f"{wanted.folder(entry)}/" for entry in wanted.names)
    here = sorted({plain(split_name(name)[0]) for name in names if len(split_name(name)) > 1})
    letters = ", A/ and B/, or AB/ with both side by side" if set(wanted.names) == {SOURCE, REAL} else ""
    raise DataError(
        f"{path} has no folders {asked}{letters}, which this recipe reads"
        f"{f'; it has {chr(44).join(here[:6])}' if here else ''}\n"
        f"rename the folders, or name them: --entry {wanted.names[0]}=FOLDER --entry {wanted.names[-1]}=FOLDER"
    )


def _view(folder: str) -> View:
    """The files in folders of this name, or of a split's name and this one, such as trainA."""
    pattern = re.compile(rf"((train|test|val)[-_ ]?)?{re.escape(folder.lower())}")

    def name(file: str) -> str | None:
        parts = split_name(file)
        for number, part in enumerate(parts[:-1]):
            found = pattern.fullmatch(part.lower())
            if found:
                split = (found[2],) if found[2] else ()
                return "/".join((*parts[:number], *split, *parts[number + 1 :]))
        return None

    return View(f"entry {folder}", name)


def _require_pairs(path: Path, views: Mapping[str, View], names: Sequence[str]) -> None:
    """Raises DataError for a file without a counterpart of the same name, apart from its suffix."""
    stems = {
        entry: {shown.rpartition(".")[0] for name in names if (shown := view.name(name)) is not None}
        for entry, view in views.items()
    }
    (first, mine), *others = stems.items()
    for other, theirs in others:
        alone = sorted(mine ^ theirs)
        if alone:
            has, lacks = (first, other) if alone[0] in mine else (other, first)
            more = f" and {len(alone) - 1:,} more" if alone[1:] else ""
            raise DataError(
                f"{path}: {plain(alone[0])}{more} is in {has} but not in {lacks}, and this recipe needs pairs of files "
                "with equal names\nadd the missing files, or choose a recipe for unpaired data"
            )


def _side_by_side(
    path: Path, kinds: Kinds, side: str, progress: Progress | None, skip_bad: int | None
) -> dict[str, Samples]:
    found = {}
    view = _view(side)
    for entry, letter in LETTERS.items():
        parts = {}
        for name, modality in kinds.of.items():
            with suppress(ValueError):  # samples of most modalities do not lie side by side
                parts[name] = modality.part(side.index(letter), 2)
        half = replace(kinds, of=parts)
        seen = View(f"{view.key} {letter}", view.name)
        found[entry] = files.open_files(path, half, view=seen, progress=progress, skip_bad=skip_bad)
    return _joined(path, found, paired=True)


def _joined(path: Path, found: Mapping[str, Mapping[str, Samples]], paired: bool) -> dict[str, Samples]:
    """The splits with all entries; a split that lacks one is left out, except for the training split."""
    real = found[REAL]
    others = {entry: splits for entry, splits in found.items() if entry != REAL}
    for entry, splits in others.items():
        lacking = [split for split in real if split not in splits]
        if lacking:
            raise DataError(f"{path}: {entry} has no files for {lacking[0]}, and {REAL} has: add them to that split")
    return {
        split: with_entries(samples, paired=paired, **{entry: splits[split] for entry, splits in others.items()})
        for split, samples in real.items()
    }
