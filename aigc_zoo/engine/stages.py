"""The length of a run and its stages: which losses are computed at which steps, according to `Until` and `Every`."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from aigc_zoo.engine import fast
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Every, Loss, Play, Recipe, Until, play_at

Losses = tuple[Loss | None, ...]
"""The loss of each player at a step, in the order of the players; None for a player that sits it out."""

_EXACT = 10_000
"""Steps of a stage that are counted one by one. Of a longer stage the first ones are counted, at least one period of
its intervals if that is not longer."""


class Part(NamedTuple):
    """Steps of a stage with the same losses: the first of them, and their fraction of the stage's steps."""

    losses: Losses
    first: int
    fraction: float


class Stage(NamedTuple):
    """The steps from `first` to `end` (exclusive), during which no `Until` changes a loss."""

    first: int
    end: int
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return f"steps {self.first + 1:,} to {self.end:,}"

    @property
    def steps(self) -> int:
        return self.end - self.first

    def mean(self, values: Mapping[Losses, float]) -> float:
        """The mean over the stage's steps of a value that depends on the losses, such as the time of a step."""
        return sum(part.fraction * values[part.losses] for part in self.parts)


def stages(recipe: Recipe, steps: int) -> list[Stage]:
    """The stages of the first `steps` steps of a recipe, in order."""
    plays = [player.loss for player in recipe.players.values()]
    ends = sorted({end for play in plays for end in _ends(play) if 0 < end < steps} | {steps})
    found: list[Stage] = []
    first = 0
    for end in ends:
        parts = _parts(plays, first, end)
        if found and {part.losses for part in found[-1].parts} == {part.losses for part in parts}:
            first = found.pop().first  # the same losses before and after an `Until`
            parts = _parts(plays, first, end)
        found.append(Stage(first, end, parts))
        first = end
    return found


def steps_for(recipe: Recipe, batch_size: int, steps: int | None, images: int | None) -> int:
    """The length of a run in steps: as requested, in steps or in images, else the default of the recipe."""
    if steps is None and images is None:
        steps, images = recipe.steps, recipe.images
    if steps is None:
        assert images is not None
        steps = math.ceil(images / (batch_size * recipe.rounds))
    return max(1, steps)


def mean(stages: Sequence[Stage], values: Mapping[Losses, float]) -> float:
    """The mean over all steps of all stages of a value that depends on the losses."""
    return sum(stage.steps * stage.mean(values) for stage in stages) / sum(stage.steps for stage in stages)


class StageSteps:
    """Runs steps of any stage of a run of `steps` steps, by default the trainer's, in any order, to measure them.

    The trainer is of no other use afterwards. Its data go on from batch to batch, whichever steps it runs.
    """

    def __init__(self, trainer: Trainer, steps: int | None = None) -> None:
        self.trainer, self.stages = trainer, stages(trainer.recipe, steps or trainer.steps)
        self.parts = {part.losses: part for stage in self.stages for part in stage.parts}
        numbers, source = itertools.count(trainer.step * trainer.recipe.rounds), trainer.source
        trainer.source = lambda _: source(next(numbers))  # in order, as a pool prefetches the next batch

    def run(self, losses: Losses) -> None:
        """Runs the first step with these losses."""
        self.trainer.step = self.parts[losses].first
        self.trainer.train_step()

    def seconds(self, repeats: int) -> dict[Losses, float]:
        """The median time of a step with each combination of losses over `repeats` steps, after a warm-up."""
        return {losses: statistics.median(self._times(losses, repeats)) for losses in self.parts}

    def _times(self, losses: Losses, repeats: int) -> list[float]:
        times = []
        recorded = self.trainer.engine.choice.name == "graph"
        warm_up = fast.WARM_UP + 1 if recorded else 1
        for _ in range(warm_up + repeats):
            start = time.perf_counter()
            self.run(losses)
            self.trainer.diverged()  # waits for the device
            times.append(time.perf_counter() - start)
        return times[warm_up:]


def _parts(plays: list[Play], first: int, end: int) -> tuple[Part, ...]:
    """The combinations of losses of the steps from `first` to `end`, with their fractions."""
    period = math.lcm(*(interval for play in plays for interval in _intervals(play)))
    length = end - first
    count = length if length <= _EXACT else min(length, _EXACT // period * period or _EXACT)
    counts: Counter[Losses] = Counter()
    firsts: dict[Losses, int] = {}
    for step in range(first, first + count):
        losses = tuple(play_at(play, step) for play in plays)
        counts[losses] += 1
        firsts.setdefault(losses, step)
    return tuple(Part(losses, firsts[losses], number / count) for losses, number in counts.items())


def _ends(play: Play) -> Iterator[int]:
    """The steps at which an `Until` changes the loss."""
    if isinstance(play, Until):
        yield play.steps
        yield from _ends(play.loss)
        yield from _ends(play.then)
    elif isinstance(play, Every):
        yield from _ends(play.loss)
        yield from _ends(play.otherwise)


def _intervals(play: Play) -> Iterator[int]:
    """The intervals of every `Every`."""
    if isinstance(play, Until):
        yield from _intervals(play.loss)
        yield from _intervals(play.then)
    elif isinstance(play, Every):
        yield play.interval
        yield from _intervals(play.loss)
        yield from _intervals(play.otherwise)
