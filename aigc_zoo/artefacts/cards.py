"""Comparison of two cards: which differences make two runs different runs, and which parts have only moved."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

IGNORED = frozenset(
    {"started", "host", "set_by", "notes", "why", "inexact", "directory", "files"}
    | {"run.data", "data.name", "data.reference", "run.precision", "run.engine", "run.keep", "run.skip_bad"}
    | {"plugins.aigc-zoo.version", "extractor_plugins.aigc-zoo.version"}
)
"""Keys that may differ when a run resumes: where and by whom it was configured, name and place of the data (their
digest is compared), the requested precision and engine (the chosen ones are compared), how many checkpoints are kept,
and what `versions` states as well."""

MACHINE = frozenset({"device", "threads", "world", "precision", "engine", "versions"})
"""Keys that describe the machine. Another machine rounds differently, and the run can resume inexactly on it."""

PLUGINS = ("plugins", "extractor_plugins")
EXTRACTORS = ("extractor", "run.extractor")
READ_ONCE = ("run.init",)
"""Files that are read when a run starts, and never again."""

_MISSING = object()


def only_machine_differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether all differences that matter describe the machine."""
    return all(key.partition(".")[0] in MACHINE for key, _, _ in _changes(old, new))


def summarize_changes(old: Mapping[str, Any], new: Mapping[str, Any], most: int = 3) -> str:
    """The first differences on one line: "batch_size 64, now 128; and 2 more". Empty where none matters."""
    changes = [f"{_option(key)} {_short(before)}, now {_short(after)}" for key, before, after in _changes(old, new)]
    more = [f"and {len(changes) - most} more"] if len(changes) > most else []
    return "; ".join(changes[:most] + more)


def summarize_moves(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The parts of a run that have another place or name and the same content, on one line; empty where none has."""
    moves = dict.fromkeys(f"{what} {_plain(after)} (was {_plain(before)})" for what, before, after in _moves(old, new))
    return f"equal content at another place: {'; '.join(moves)}" if moves else ""


def same_content(before: Any, after: Any) -> bool:
    """Whether two entries of `files` have the same known digests."""
    digests = _digests(before)
    return bool(digests) and all(digests) and digests == _digests(after)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    # Both cards pass through JSON, as a card that was read from a file did: tuples become lists there.
    old, new = (json.loads(json.dumps(card)) for card in (old, new))
    before, after = dict(_flat(_comparable(old, old))), dict(_flat(_comparable(new, old)))
    files = _section(old, "files"), _section(new, "files")
    for key in {**after, **before}:
        if key in IGNORED or key.partition(".")[0] in IGNORED:
            continue
        values = before.get(key, _MISSING), after.get(key, _MISSING)
        section, _, name = key.partition(".")
        if values[0] is _MISSING and section == "options" and name not in new.get("set_by", {}):
            continue  # an option that the recipe has gained since, at its default
        contents = [_digests(one.get(key)) for one in files]
        if values[0] != values[1]:
            if not same_content(*(one.get(key) for one in files)) and not (key in EXTRACTORS and _same_name(*values)):
                yield key, *values
        elif key not in READ_ONCE and all(map(all, contents)) and all(contents) and contents[0] != contents[1]:
            yield f"{key} (SHA-256)", ", ".join(contents[0]), ", ".join(contents[1])


def _comparable(card: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """The card with plugin files under the names that `old` has for the same content, and without their paths."""
    card = dict(card)
    for section in PLUGINS:
        names = {version: name for name, (version, _) in _files(old, section).items()}
        renamed = {name: names.get(version, name) for name, (version, _) in _files(card, section).items()}
        packages = _section(card, section)
        card[section] = {
            renamed.get(name, name): {**about, "file": None} if name in renamed else about
            for name, about in packages.items()
        }
        if section not in old:
            del card[section]  # which an earlier version did not record
    return card | {"data": {key: value for key, value in _section(card, "data").items() if key != "plugins"}}


def _moves(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(what, before, after) of each part that has moved."""
    was, now = (_section(card, "data").get("reference") for card in (old, new))
    if was and now and was != now and not _same_name(was, now):
        yield "data", was, now
    for section in PLUGINS:
        former = {version: (name, path) for name, (version, path) in _files(old, section).items()}
        for name, (version, path) in _files(new, section).items():
            before, place = former.get(version, (name, path))
            if before != name or place not in ("", path):  # an earlier version did not record the path
                yield "plugin file", place or before, path or name
    for key, after in _section(new, "files").items():
        earlier = _section(old, "files").get(key, [])
        for one, other in zip(earlier, after, strict=True) if same_content(earlier, after) else ():
            if one["path"] != other["path"]:
                yield _option(key), one["path"], other["path"]
    was, now = old.get("directory"), new.get("directory")
    if was and now and was != now:
        yield "run directory", was, now


def _files(card: Mapping[str, Any], section: str) -> dict[str, tuple[str, str]]:
    """Digest and path of the plugin files among the packages of a section; the path may be ""."""
    packages = _section(card, section).items()
    return {name: (about.get("version", ""), about.get("file", "")) for name, about in packages if name.endswith(".py")}


def _section(card: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = card.get(name)
    return found if isinstance(found, dict) else {}


def _digests(entry: Any) -> list[str]:
    return [str(one.get("sha256", "")) for one in entry or ()]


def _same_name(old: Any, new: Any) -> bool:
    """Whether `old` is the short name of `new`, as cards of an earlier version store it."""
    return isinstance(old, str) and isinstance(new, str) and "/" not in old and new.rpartition("/")[2] == old


def _flat(card: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in card.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _option(key: str) -> str:
    """The key as the command line spells it, without the card's section."""
    group, _, rest = key.partition(".")
    return rest if group in ("run", "options", "slots") else key


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def _short(value: Any) -> str:
    plain = isinstance(value, str) and value and value.isprintable()
    text = "nothing" if value is _MISSING else "none" if value is None else value if plain else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
