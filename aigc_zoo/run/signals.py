"""SIGINT and SIGTERM as one flag that the loop polls; nothing is done inside a handler."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """Raised where something long is given up because somebody asked to stop."""


class Stop:
    """Set once somebody asked to stop; `signal` is the number of the signal that did."""

    def __init__(self) -> None:
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal > 0


@contextmanager
def stopping() -> Iterator[Stop]:
    """While inside, a first SIGINT or SIGTERM sets the flag; a second one raises KeyboardInterrupt at once."""
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        if stop:
            raise KeyboardInterrupt
        stop.signal = number

    old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
