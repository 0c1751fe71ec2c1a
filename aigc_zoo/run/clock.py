"""Measures the training time of a run."""

from __future__ import annotations

import time


class Clock:
    """Training time. Evaluations and saves between a lap and the next start are not counted."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._images, self._began = 0, 0.0

    def start(self, images: int) -> None:
        self._images, self._began = images, time.perf_counter()

    def now(self) -> float:
        """Seconds of training so far."""
        return self.seconds + time.perf_counter() - self._began

    def lap(self, images: int) -> tuple[int, float]:
        """Images and seconds since the last start or lap; the seconds are added to `seconds`."""
        now = time.perf_counter()
        lap = images - self._images, now - self._began
        self.seconds += lap[1]
        self._images, self._began = images, now
        return lap
