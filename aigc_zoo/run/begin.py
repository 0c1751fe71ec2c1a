"""Begins a run in its directory: a new one, or one that is resumed, possibly with its parts at other places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aigc_zoo.artefacts.moves import same_content, summarize_moves
from aigc_zoo.artefacts.runs import RunDirectory


def begin_run(
    directory: RunDirectory, card: dict[str, Any], *, fresh: bool, inexact: bool, say: Callable[[str], None]
) -> str:
    """Locks the directory and returns "new", "unfinished" or "finished".

    `card` receives what the directory's card records of earlier starts. Where parts of the run have moved, that is said
    in one line, and card.json receives their new places. Raises LockedError, ConfigError, DataError.
    """
    directory.acquire()
    before = directory.read_card() if directory.card_path.exists() and not fresh else {}
    state = directory.begin(card, fresh=fresh, inexact=inexact)
    if state == "new":
        return state
    now = directory.read_card()
    resumes = now.get("inexact", []) if state != "finished" else []
    if resumes:
        card["inexact"] = resumes
        say(f"inexact since step {resumes[-1]['after_step']:,}: {resumes[-1]['changed']}")
    if "files" in before:  # a file that is only read at the start may have changed since: its digest then is kept
        moved_files = {key: one for key, one in card["files"].items() if same_content(before["files"].get(key), one)}
        card["files"] = {**card["files"], **before["files"], **moved_files}
    if moves := summarize_moves(before, card):
        say(f"note: {moves}")
        places: dict[str, Any] = {
            key: card[key] for key in ("plugins", "extractor_plugins", "files", "directory") if key in card
        }
        data = {key: card["data"][key] for key in ("reference", "plugins")}
        directory.amend({**now, **places, "data": {**now["data"], **data}})
    return state
