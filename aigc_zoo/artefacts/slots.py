"""Slots in a card, read alike whether the recipe's slot takes one component or several."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def plain(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card as it is read from JSON, in which a slot for several components that holds one or none reads like a slot
    for one.

    A recipe's slot may have become one for several components since the card was written.
    """
    read: dict[str, Any] = json.loads(json.dumps(card))
    slots, options, files = (read.get(section) for section in ("slots", "options", "files"))
    if not isinstance(slots, dict) or not isinstance(options, dict):
        return read
    held = {slot: ids[0] if len(ids) == 1 else ids or None for slot, ids in slots.items() if isinstance(ids, list)}
    read |= {"slots": slots | held, "options": {short_key(key, slots): options[key] for key in options}}
    if isinstance(files, dict):
        read["files"] = {_short_file(key, slots): entry for key, entry in files.items()}
    return read


def short_key(key: str, slots: Mapping[str, Any]) -> str:
    """The key of an option without the component's name, where its slot for several components holds one."""
    slot, _, rest = key.partition(".")
    ids = slots.get(slot)
    if not rest or not isinstance(ids, list | tuple) or len(ids) != 1:
        return key
    name = str(ids[0]).rpartition("/")[2]
    return f"{slot}.{rest.removeprefix(f'{name}.')}"


def _short_file(key: str, slots: Mapping[str, Any]) -> str:
    section, _, name = key.partition(".")
    return f"options.{short_key(name, slots)}" if section == "options" else key
