"""Progress reports of a run, and its result. The base class prints nothing, as a library should."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Progress:
    """Receives the progress of a run, on rank 0 only. Subclasses show it; every method does nothing by default."""

    def start(self, directory: Path, card: Mapping[str, Any], step: int, parameters: Mapping[str, int]) -> None:
        """The run starts or resumes at `step`; `parameters` is the number of parameters of each network."""

    def step(self, step: int, images: int, seconds: float) -> None:
        """A training step is done, after so many images and seconds of training (without evaluations and saves)."""

    def evaluating(self, step: int, samples: str, done: int, total: int) -> None:
        """The evaluation at `step` has read `done` of `total` samples of the kind `samples`."""

    def log(self, line: Mapping[str, Any]) -> None:
        """A line was logged."""

    def metric(self, record: Mapping[str, Any]) -> None:
        """A metric was measured."""

    def say(self, text: str) -> None:
        """A message that deserves a line of its own."""

    def close(self) -> None:
        """The run ended, with or without an error."""


@dataclass(frozen=True)
class Result:
    """The end of a run. `reason` is done, target or stopped; `signal` is the number of the signal that stopped it.

    `images` is the number of real samples that it was trained on, and `units` what they are called.
    """

    folder: Path
    step: int
    images: int
    reason: str
    seconds: float = 0.0
    signal: int = 0
    final: Mapping[str, float] = field(default_factory=dict)
    best: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    held_out: tuple[Mapping[str, Any], ...] = ()
    units: str = "images"
