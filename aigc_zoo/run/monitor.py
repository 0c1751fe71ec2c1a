"""Metrics while training: measured at step 0 and now and then, the best kept apart, a target that ends the run."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.data.writers import to_uint8
from aigc_zoo.engine.dist import Ranks
from aigc_zoo.engine.sampler import CHUNK, Sampler
from aigc_zoo.errors import UsageError
from aigc_zoo.game import Spec
from aigc_zoo.metrics.evaluate import Evaluator
from aigc_zoo.metrics.features import Features, concatenate
from aigc_zoo.metrics.kinds import improves, short_name, warnings
from aigc_zoo.random import derive

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip
_TARGET = re.compile(r"\s*([a-z][a-z0-9-]*)\s*(<=|<|>=|>)\s*([0-9.eE+-]+)\s*")


@dataclass(frozen=True)
class Target:
    """`--until "fid<=X"`: the end of training. A bare metric name means the run's own, whatever its extractor."""

    metric: str
    comparison: str
    value: float

    def met_by(self, metrics: Mapping[str, float]) -> bool:
        return any(
            _COMPARE[self.comparison](value, self.value)
            for name, value in metrics.items()
            if name == self.metric or name.startswith(f"{self.metric}-")
        )

    def __str__(self) -> str:
        return f"{self.metric}{self.comparison}{self.value:g}"


def parse_target(text: str, names: tuple[str, ...]) -> Target:
    """The target that `--until` states, of one of the metrics `names` that this run measures."""
    found = _TARGET.fullmatch(text)
    known = sorted({*names, *map(short_name, names)})
    try:
        if found and found[1] in known:
            return Target(found[1], found[2], float(found[3]))
    except ValueError:
        found = None
    if not names:
        raise UsageError(f'--until "{text}": this run measures nothing; choose a evaluator with --extractor')
    reason = f"{found[1]} is not measured" if found else "not a comparison of a metric with a number"
    own = short_name(names[0])
    raise UsageError(f'--until "{text}": {reason}; for example --until "{own}<=5" (measured: {", ".join(names)})')


EVALUATION_SEED = 0
"""Of the noise that is judged, the same in all runs: values of unlike seeds would not be comparable."""


def evaluation_seed(seed: int) -> int:
    """The seed of the samples that are judged: a stream of its own, so that grids and metrics share no noise."""
    return derive(seed, "evaluation")


def judged(sampler: Sampler, spec: Spec, count: int) -> Iterator[Tensor]:
    """`count` samples of the entry that fakes are, pictures as uint8, in order."""
    for number in range(-(-count // CHUNK)):
        yield _seen(sampler.chunk(number)["fake"][: count - number * CHUNK], spec)


def _seen(made: Tensor, spec: Spec) -> Tensor:
    return to_uint8(made, spec) if spec.modality == "image" else made


def looked(sampler: Sampler, evaluator: Evaluator, ranks: Ranks) -> Features:
    """A look at what `judged` gives of `evaluator.num`: each rank makes and looks at its share, and all have the whole.

    Every rank must call it. Chunks are looked at one by one, as `Evaluator.extract` does, so ranks change no digit.
    """
    parts: list[Features] = []
    spec, count = evaluator.reference.spec, evaluator.num
    for first in range(0, -(-count // CHUNK), ranks.world):
        wanted = [min(CHUNK, max(0, count - number * CHUNK)) for number in range(first, first + ranks.world)]
        # Who has none left to make looks at one more: all ranks meet below.
        mine = sampler.chunk(first + ranks.rank)["fake"][: max(1, wanted[ranks.rank])]
        seen = evaluator.extractor.extract(_seen(mine, spec))
        features, logits = (_from_all(value, sampler.device, ranks) for value in seen)
        parts += [
            Features(features[n][:rows], logits[n][:rows] if seen.logits is not None else None)
            for n, rows in enumerate(wanted)
            if rows
        ]
        evaluator.progress("samples", sum(len(part.values) for part in parts), count)
    return concatenate(parts)


def _from_all(value: Tensor | None, device: torch.device, ranks: Ranks) -> list[Tensor]:
    """The value (at most CHUNK rows) of every rank, filled up to CHUNK, on the CPU."""
    if value is None or ranks.world == 1:
        return [] if value is None else [value]
    whole = torch.zeros(CHUNK, *value.shape[1:], dtype=value.dtype, device=device)
    whole[: len(value)] = value.to(device)
    return [part.cpu() for part in ranks.gather(whole)]


def best_of(history: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """The best of a metric's records, the earliest of equals; a value that is not finite is none."""
    best: dict[str, Any] | None = None
    for record in history:
        if record["name"] != name or record["value"] is None:
            continue
        if best is None or improves(name, float(record["value"]), float(best["value"])):
            best = record
    return best


SATURATED, APART, LASTING = 0.01, 0.9, 3


class Watch:
    """What is wrong while a run is played: told once when it appears, and again when it comes back."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._still: dict[str, int] = {}

    def samples(self, values: Mapping[str, float], modes: int | None) -> list[str]:
        """What the metrics of an evaluation tell of collapse and copying."""
        found = warnings(values, modes)
        new = [text for kind, text in found.items() if kind not in self._known]
        self._known = set(found)
        return new

    def terms(self, terms: Mapping[str, float]) -> list[str]:
        """Players who tell reals from fakes so surely that nobody learns any more: a loss of nearly 0 while their mean
        logits are apart, at three logged steps in a row. An unbounded critic's loss is minus that distance instead."""
        found = []
        for key, loss in terms.items():
            player, _, term = key.rpartition("/")
            apart = terms.get(f"{player}/_real", 0.0) - terms.get(f"{player}/_fake", 0.0)
            if term != "loss":
                continue
            saturated = 0 <= loss < SATURATED and apart >= APART
            self._still[player] = self._still.get(player, 0) + 1 if saturated else 0
            if self._still[player] == LASTING:
                found.append(
                    f"saturated: {player} tells reals from fakes almost without error (loss {loss:.2g}), which leaves "
                    "the generator little to learn from"
                )
        return found
