"""Begins a run in its directory: a new one, or one that is resumed, possibly with its parts at other places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aigc_zoo.artefacts.moves import PLACE, PLUGINS, same_content, summarize_moves
from aigc_zoo.artefacts.resume import RECORDS
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.options.references import IN_MEMORY

SAID = {"inexact": "inexact since", "extended": "continued after"}


def begin_run(
    directory: RunDirectory,
    card: dict[str, Any],
    *,
    fresh: bool,
    inexact: bool,
    extend: bool,
    say: Callable[[str], None],
) -> str:
    """Locks the directory and returns "new", "unfinished" or "finished".

    `card` receives what the directory's card records: after which steps the run went on with another machine or length,
    and files that were read at its start. Where parts of the run have moved, that is said in one line, and card.json
    receives their new places. Raises LockedError, ConfigError, DataError.
    """
    directory.acquire()
    before = directory.read_card() if directory.card_path.exists() and not fresh else {}
    state = directory.begin(card, fresh=fresh, inexact=inexact, extend=extend)
    if state == "new":
        return state
    now = directory.read_card()
    if state != "finished":
        card |= {key: now[key] for key in RECORDS if key in now}
        for key, word in SAID.items():
            for record in now.get(key, [])[-1:]:
                say(f"{word} step {record['after_step']:,}: {record['changed']}")
    card["files"] = _files(before, card)
    if card["data"]["reference"] == IN_MEMORY:  # which is gone when this process ends: a place that was stored remains
        card["data"] = {**card["data"], **_place(before["data"])}
    moves = summarize_moves(before, card)
    if moves:
        say(f"note: {moves}")
    if moves or now != before:
        places = {key: card[key] for key in (*PLUGINS, "files", "directory") if key in card}
        directory.amend({**now, **places, "data": {**now["data"], **_place(card["data"])}})
    return state


def _files(before: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    """The files of the card; one that was only read at the start keeps its digest if it has changed since."""
    earlier = before.get("files", {})
    kept = {key: earlier[key] for key, one in card["files"].items() if key in earlier}
    return {key: one if same_content(kept.get(key), one) else kept.get(key, one) for key, one in card["files"].items()}


def _place(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: data[key] for key in PLACE if key in data}
