"""Parts of a run that have another name or place and the same content, found by the digests in two cards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from aigc_zoo.artefacts.slots import plain

PLUGINS = ("plugins", "extractor_plugins")
PLACE = ("reference", "plugins", "options")
"""Keys of `data` that say where the data are and how they are read."""

OF_DATASET = "run.data."
"""The prefix of a dataset's options in a card."""

READ_ONCE = ("run.init",)
"""Files that are read when a run starts, and never again."""


def in_terms_of(former: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """The card `saved`, as it is read from JSON, with the names and paths that `former` has for the same content.

    Plugin files and data go by their digest, and so do the files that options name. A file that `former` names as well,
    with other content, is marked with its digest. Slots read as in `slots.plain`.
    """
    old, card = plain(former), plain(saved)
    for section in PLUGINS:
        names = {version: name for name, (version, _) in _plugin_files(old, section).items()}
        files = _plugin_files(card, section)
        packages = {
            names.get(files[name][0], name) if name in files else name: _without(about, "file")
            for name, about in _section(card, section).items()
        }
        card = _without(card, section) | ({section: packages} if section in old else {})  # else of an earlier version
    for key, entry in _section(card, "files").items():
        before, (values, name) = _section(old, "files").get(key), _values(card, key)
        if same_content(before, entry):
            values[name] = _values(old, key)[0].get(name)
        elif key not in READ_ONCE and all(_digests(before)) and all(_digests(entry)) and before:
            values[name] = f"{values.get(name)} (SHA-256 {', '.join(one[:16] for one in _digests(entry))})"
    for values, before in ((card, old), (_section(card, "run"), _section(old, "run"))):
        if same_name(before.get("extractor"), values.get("extractor")):
            values["extractor"] = before["extractor"]
    _take_data(_section(old, "data"), _section(card, "data"))
    return card


def _take_data(old: Mapping[str, Any], data: dict[str, Any]) -> None:
    """Give equal data the name that they had, and at another place the options that they were read with."""
    data.pop("plugins", None)  # the digest of the data counts
    if old.get("digest") is None or old["digest"] != data.get("digest"):
        return
    was, now = old.get("reference"), data.get("reference")
    for key in ("name", *(("options",) if was != now and not same_name(was, now) else ())):
        if key in old:
            data[key] = old[key]
        else:
            data.pop(key, None)


def summarize_moves(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The parts of a run that have moved, on one line; empty where none has."""
    found = _moves(plain(old), plain(new))
    moves = dict.fromkeys(f"{what} {_printed(after)} (was {_printed(before)})" for what, before, after in found)
    return f"equal content at another place: {'; '.join(moves)}" if moves else ""


def same_content(before: Any, after: Any) -> bool:
    """Whether two entries of `files` have the same known digests."""
    digests = _digests(before)
    return bool(digests) and all(digests) and digests == _digests(after)


def same_name(old: Any, new: Any) -> bool:
    """Whether `old` is the short name of `new`, as cards of an earlier version store it."""
    return isinstance(old, str) and isinstance(new, str) and "/" not in old and new.rpartition("/")[2] == old


def _moves(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(what, before, after) of each part that has moved."""
    was, now = (_section(card, "data").get("reference") for card in (old, new))
    if was and now and was != now and not same_name(was, now):
        yield "data", was, now
    for section in PLUGINS:
        former = {version: (name, path) for name, (version, path) in _plugin_files(old, section).items()}
        for name, (version, path) in _plugin_files(new, section).items():
            before, place = former.get(version, (name, path))
            if before != name or place not in ("", path):  # an earlier version did not record the path
                yield "plugin file", place or before, path or name
    for key, after in _section(new, "files").items():
        earlier = _section(old, "files").get(key, [])
        for one, other in zip(earlier, after, strict=True) if same_content(earlier, after) else ():
            if one["path"] != other["path"]:
                yield key.partition(".")[2], one["path"], other["path"]
    was, now = old.get("directory"), new.get("directory")
    if was and now and was != now:
        yield "run directory", was, now


def _values(card: Mapping[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """The part of a card that has the value of a key of `files`, and the key in it."""
    section, _, name = key.partition(".")
    if key.startswith(OF_DATASET):  # see `cards`: those of the data are compared
        return _section(_section(card, "data"), "options"), key.removeprefix(OF_DATASET)
    return _section(card, section), name


def _without(values: Any, name: str) -> Any:
    return {key: value for key, value in values.items() if key != name} if isinstance(values, dict) else values


def _plugin_files(card: Mapping[str, Any], section: str) -> dict[str, tuple[str, str]]:
    """Digest and path of the plugin files among the packages of a section; the path may be ""."""
    packages = _section(card, section).items()
    return {
        name: (str(about.get("version", "")), str(about.get("file") or ""))
        for name, about in packages
        if name.endswith(".py") and isinstance(about, dict)
    }


def _section(card: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = card.get(name)
    return found if isinstance(found, dict) else {}


def _digests(entry: Any) -> list[str]:
    return [str(one.get("sha256", "")) for one in entry or () if isinstance(one, dict)]


def _printed(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)
