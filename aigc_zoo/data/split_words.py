"""Words in folder names: those of splits, and those that say nothing of the content."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLITS |= {"val": "val", "valid": "val", "validation": "val"}
_UNCLEAR = {"dev", "eval", "evaluation", "holdout", "heldout", "trainval", "traintest"}
"""Words of splits that are not among train, test and val."""
NEUTRAL = {
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
NEUTRAL |= {"audio", "audios", "recording", "recordings", "sound", "sounds", "wav", "wavs"}
NEUTRAL |= {"clip", "clips", "video", "videos", "frame", "frames", "gif", "gifs", "text", "texts", "txt"}
NEUTRAL |= {"file", "files", "folder", "split", "samples", "jpg", "jpeg", "png"}
"""Words that a folder name may have beside that of its split."""
DOMAINS = {("a",), ("b",)}
_COMPOUND = re.compile(rf"({'|'.join([*_SPLITS, *_UNCLEAR])})({'|'.join(NEUTRAL)})")


class SplitName(NamedTuple):
    """A folder name with the word of a split: the split, "" where it is unclear, and the words beside it."""

    split: str
    rest: tuple[str, ...]

    @property
    def clear(self) -> bool:
        return bool(self.split) and (not self.rest or self.rest in DOMAINS)


@lru_cache(1 << 16)
def read_name(name: str) -> SplitName | None:
    """The split that a folder name says, with the words beside it; None where it has no word of a split."""
    words: list[str] = []
    for part in re.findall(r"[^\W_]+", name):
        for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", part) if part.isascii() else [part]:
            compound = _COMPOUND.fullmatch(word.lower())
            words += compound.groups() if compound else [word.lower()]
    said = [word for word in words if word in _SPLITS or word in _UNCLEAR]
    if not said:
        return None
    rest = [word for word in words if word not in said and word not in NEUTRAL and not re.fullmatch(r"\d{4}", word)]
    return SplitName(_SPLITS.get(said[0], "") if len(said) == 1 else "", tuple(rest))
