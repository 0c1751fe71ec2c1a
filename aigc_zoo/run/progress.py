"""What a run says while it goes on; the base is silent, as a library should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Screen:
    """Told of a run's progress. Command lines show it, notebooks may, rank 0 only."""

    def start(self, folder: Path, card: Mapping[str, Any], step: int, parameters: Mapping[str, int]) -> None:
        """The run starts, or continues, at `step`; `parameters` counts each network's weights."""

    def step(self, step: int, images: int) -> None:
        """A step was played."""

    def log(self, line: Mapping[str, Any]) -> None:
        """A line was logged."""

    def metric(self, record: Mapping[str, Any]) -> None:
        """A metric was measured."""

    def say(self, text: str) -> None:
        """Something worth a line of its own."""

    def close(self) -> None:
        """The run is over, well or not."""


@dataclass(frozen=True)
class Result:
    """How a run ended. `reason` is done, target or stopped; `signal` the number of the signal that stopped it."""

    folder: Path
    step: int
    images: int
    reason: str
    seconds: float = 0.0
    signal: int = 0
    final: Mapping[str, float] = field(default_factory=dict)
    best: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    held_out: tuple[Mapping[str, Any], ...] = ()
