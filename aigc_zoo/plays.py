"""Networks, losses and plays: what a player minimizes at each training step. `game` re-exports all names.

A play is a loss, a choice of losses by training step, or None. `changed` and `plus` derive a play from another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

Batch = Mapping[str, Tensor]
"""Named tensors that vary: reals, labels (one-hot), noise, `t` (progress, 0 to 1), `images` (samples seen so far)."""

Terms = Mapping[str, Tensor]
"""Named scalar loss terms. Their sum is minimized; a term whose name starts with `_` is detached and only logged."""


class Nets(nn.ModuleDict):
    """The networks by name: `nets.G` is `nets["G"]`. State other than weights belongs in buffers of the modules.

    Float buffers of a module with the attribute `shared = True` are all-reduced together with the gradients. An EMA
    averages the buffers running_mean, running_var and those named by a module's `ema_buffers`; it copies all others.
    """

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name)


Loss = Callable[[Nets, Batch], Terms]
"""A pure function: all that persists is in `nets`, all that varies is in `batch`."""

Schedule = Callable[[Nets, Batch], Tensor | float]
"""A number that changes during training, a function of `batch["t"]`, `batch["images"]` or a buffer in `nets`."""

MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
"""Builds the optimizer of a player's weights."""


@dataclass(frozen=True)
class Every:
    """`loss` at steps 0, interval, 2 interval, ..., `otherwise` at all others (lazy regularization)."""

    interval: int
    loss: Play
    otherwise: Play

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ValueError(f"Every needs an interval of at least 1, not {self.interval}")

    def at(self, step: int) -> Play:
        return self.otherwise if step % self.interval else self.loss


@dataclass(frozen=True)
class Until:
    """`loss` during the first `steps` steps, `then` afterwards (pre-training, stages)."""

    steps: int
    loss: Play
    then: Play

    def at(self, step: int) -> Play:
        return self.loss if step < self.steps else self.then


Play = Loss | Every | Until | None
"""A player's loss, or a choice of losses by training step. Choices nest; None skips the update."""


def play_at(play: Play, step: int) -> Loss | None:
    """The loss of a play at this training step."""
    while isinstance(play, Every | Until):
        play = play.at(step)
    return play


def all_losses(play: Play) -> list[Loss]:
    """Return every loss that a play can select at some step."""
    if isinstance(play, Every):
        return all_losses(play.loss) + all_losses(play.otherwise)
    if isinstance(play, Until):
        return all_losses(play.loss) + all_losses(play.then)
    return [] if play is None else [play]


def changed(play: Play, batch_fn: Callable[[Nets, Batch], Batch]) -> Play:
    """The play whose losses get `batch_fn(nets, batch)` in place of the batch, at every step that it is not None.

    `batch_fn` returns a whole batch, such as `{**batch, "real": blurred}`; the batch of other players does not change.
    """

    def derive(loss: Loss) -> Loss:
        def changed_loss(nets: Nets, batch: Batch) -> Terms:
            return loss(nets, batch_fn(nets, batch))

        return changed_loss

    return _each_loss(play, derive)


def plus(play: Play, terms_fn: Play) -> Play:
    """The play with the terms `terms_fn(nets, batch)` added to those of its losses, at every step that it is not None.

    `terms_fn` may itself be a choice by step: `plus(play, Every(16, r1, None))` adds a term lazily. At the first step
    it raises ValueError for a term that both return.
    """

    def derive(loss: Loss) -> Play:
        def add(more: Loss) -> Loss:
            def sum_of_terms(nets: Nets, batch: Batch) -> Terms:
                terms, added = loss(nets, batch), more(nets, batch)
                if both := sorted(terms.keys() & added.keys()):
                    raise ValueError(f"plus: the loss already has the term {both[0]!r}, choose another name")
                return {**terms, **added}

            return sum_of_terms

        return _each_loss(terms_fn, add, skipped=loss)

    return _each_loss(play, derive)


def _each_loss(play: Play, derive: Callable[[Loss], Play], skipped: Play = None) -> Play:
    """The play with `derive(loss)` in place of every loss, and `skipped` in place of None."""
    if isinstance(play, Every):
        loss, other = (_each_loss(one, derive, skipped) for one in (play.loss, play.otherwise))
        return replace(play, loss=loss, otherwise=other)
    if isinstance(play, Until):
        loss, other = (_each_loss(one, derive, skipped) for one in (play.loss, play.then))
        return replace(play, loss=loss, then=other)
    return skipped if play is None else derive(play)
