"""SIGINT and SIGTERM as a flag that the training loop polls; the signal handler does nothing else."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """Raised to abandon a long operation, such as an evaluation, after a request to stop."""


class Stop:
    """A request to stop, true once it was made; `signal` is the number of the signal that made it."""

    def __init__(self) -> None:
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal > 0


@contextmanager
def stopping() -> Iterator[Stop]:
    """Within the block, the first SIGINT or SIGTERM sets the flag; a second one raises KeyboardInterrupt at once."""
    stop = Stop()

    def request_stop(number: int, frame: FrameType | None) -> None:
        if stop:
            raise KeyboardInterrupt
        stop.signal = number

    old = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
