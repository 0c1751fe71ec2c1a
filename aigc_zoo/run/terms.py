"""The last value of each loss term: terms of lazy penalties are computed at few steps, which are seldom logged ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.artefacts.runs import nulled
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.game import Every, Loss, Play, Player, Until, play_at


class LastTerms:
    """The last value of each term "player/term", with the number of training steps after which it was computed.

    A checkpoint stores them, so that a resumed run writes the log lines of an uninterrupted one.
    """

    def __init__(self, players: Mapping[str, Player], ranks: Ranks) -> None:
        self._players, self._ranks = players, ranks
        self._new: dict[str, tuple[int, Tensor]] = {}  # of this rank, on the device
        self._known: dict[str, tuple[int, float]] = {}  # means over the ranks
        self.trained = False
        """True after a training step of this process."""

    def record(self, step: int, terms: Mapping[str, Tensor]) -> None:
        """Keeps the terms of the training step that led to `step`. Does not wait for the device."""
        self.trained = True
        plays = [player.loss for player in self._players.values()]
        if any(play_at(play, step - 1) is not play_at(play, step) for play in plays):
            # The next step may not compute them again, and the replay of a CUDA graph can overwrite their memory.
            terms = {name: term.clone() for name, term in terms.items()}
        self._new |= {name: (step, term) for name, term in terms.items()}

    def at(self, step: int, since: int) -> dict[str, tuple[int, float]]:
        """Each term's step and value, to be logged at `step`: those computed after the step `since`, and older ones
        whose loss can still be used, which those of an earlier stage cannot. Every rank must call it."""
        self._settle()
        self._known = {
            name: (computed, value)
            for name, (computed, value) in self._known.items()
            if computed > since or self._can_return(name, computed, step)
        }
        return dict(sorted(self._known.items()))

    def state(self) -> dict[str, Any]:
        """The terms for a checkpoint, with null for NaN and infinity. Every rank must call it."""
        self._settle()
        return {name: [step, nulled(value)] for name, (step, value) in self._known.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restores the terms from a checkpoint."""
        self._known = {name: (step, math.nan if value is None else value) for name, (step, value) in state.items()}

    def _settle(self) -> None:
        """Averages new terms over the ranks. Waits for the device."""
        if not self._new:
            return
        names = sorted(self._new)
        (mean,) = self._ranks.all_reduce_mean([torch.stack([self._new[name][1].double() for name in names])])
        assert mean is not None
        self._known |= {name: (self._new[name][0], value) for name, value in zip(names, mean.tolist(), strict=True)}
        self._new = {}

    def _can_return(self, name: str, computed: int, step: int) -> bool:
        player = self._players.get(name.partition("/")[0])
        if player is None:
            return False
        loss = play_at(player.loss, computed - 1)
        return any(loss is other for other in _remaining(player.loss, step - 1))


def _remaining(play: Play, step: int) -> list[Loss]:
    """The losses that a play can select at `step` or later."""
    if isinstance(play, Every):
        return _remaining(play.loss, step) + _remaining(play.otherwise, step)
    if isinstance(play, Until):
        return (_remaining(play.loss, step) if step < play.steps else []) + _remaining(play.then, step)
    return [] if play is None else [play]
