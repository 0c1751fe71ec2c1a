"""How a run goes on that was begun with another card: on another machine, or to another end.

A run continues to more or fewer steps or images, or to another target. The steps that were trained are those of a run
of the new length, bit for bit, unless they depend on `t`, the fraction of the run that is done. Checkpoints record
whether they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aigc_zoo.artefacts.atomic import explained
from aigc_zoo.artefacts.cards import LENGTH, MACHINE, Changes, changes, section, summarize
from aigc_zoo.errors import ConfigError

if TYPE_CHECKING:
    from aigc_zoo.artefacts.runs import RunDirectory

RECORDS = ("inexact", "extended")
"""Keys of a card that record after which steps a run went on with another one."""

UNRECORDED = "earlier versions did not record whether it does"

_ANEW = "--fresh to start anew, or another --out"


def reconcile(directory: RunDirectory, card: Mapping[str, Any], inexact: bool, extend: bool) -> None:
    """Rewrites card.json where the run goes on with `card`, and records since which step.

    `inexact` allows another machine, `extend` another length where the steps depend on it. A finished run that
    continues is unfinished then. Raises ConfigError where the directory holds a different run, and DataError where all
    checkpoints are damaged.
    """
    old = directory.read_card()
    found = changes(old, card)
    machine = {key: values for key, values in found.items() if section(key) in MACHINE}
    others = found.keys() - machine.keys() - LENGTH
    if others or (machine and not inexact):
        more = "" if others else "--allow-inexact-resume to resume with slightly different numbers, "
        raise ConfigError(f"run {directory.path} was started with {summarize(found)}:\nuse {more}{_ANEW}")
    records = {key: old[key] for key in RECORDS if key in old}
    continued = _continued(directory, old, card, found, extend) if found.keys() & LENGTH else None
    if continued is not None:
        records["extended"] = [*old.get("extended", []), continued]
        # finished.json goes first: it says that the others are whole.
        for path in (directory.finished_path, *directory.written_at_the_end):
            with explained(path):
                path.unlink(missing_ok=True)
    resumes = bool(machine) and not directory.finished()
    if resumes:
        since = max((step for step, _ in directory.checkpoints()), default=0)
        records["inexact"] = [*old.get("inexact", []), {"after_step": since, "changed": summarize(machine)}]
    if resumes or continued is not None:
        directory.amend({**card, **records})


def _continued(
    directory: RunDirectory, old: Mapping[str, Any], new: Mapping[str, Any], found: Changes, extend: bool
) -> dict[str, Any] | None:
    """The record of a run that continues to the end that the card `new` states; None where the run is there already."""
    finished, newest = directory.finished(), directory.newest_valid()
    steps, step = int(new["steps"]), int(newest.card["step"]) if newest is not None else 0
    reached = int(finished["step"]) if finished else step
    changed = summarize({key: values for key, values in found.items() if key in LENGTH})
    if finished and reached == steps:
        return None
    if reached > steps:
        raise ConfigError(
            f"run {directory.path} has trained {reached:,} steps, and cannot end after {steps:,}:\n"
            f"ask for {reached} steps or more, or use {_ANEW}"
        )
    if reached and newest is None:
        raise ConfigError(
            f"run {directory.path} is finished and has no checkpoint from which to continue ({changed}):\nuse {_ANEW}"
        )
    users = newest.card.get("uses_t", [UNRECORDED]) if newest is not None and int(old["steps"]) != steps else []
    if users and not extend:
        raise ConfigError(
            f"run {directory.path} was started with {changed}; its steps depend on t, the fraction of the run that is "
            f"done ({', '.join(users)}):\n"
            f"use --extend to continue at t = {step / steps:.3g} after t = {step / int(old['steps']):.3g}, {_ANEW}"
        )
    return {"after_step": step, "changed": changed, "uses_t": users}
