"""SIGINT, SIGTERM and SIGHUP as a flag that the training loop polls; the signal handler does nothing else."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_INSISTENT = (signal.SIGINT, signal.SIGTERM)
"""Signals of which a second one ends the process at once. When a terminal closes, the shell and the system may both
send SIGHUP, and a shutdown sends it beside SIGTERM."""


class Interrupted(BaseException):
    """Raised to abandon a long operation, such as an evaluation, after a request to stop.

    It is no Exception, so that it passes through code that explains the errors of plugins.
    """


class Stop:
    """A request to stop, true once it was made; `signal` is the number of the signal that made it."""

    def __init__(self) -> None:
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal > 0

    def request(self, number: int) -> None:
        """Requests a stop in the name of a signal; the first of equal rank counts, SIGINT and SIGTERM above others."""
        if self.signal not in _INSISTENT and (not self.signal or number in _INSISTENT):
            self.signal = number


@contextmanager
def stopping() -> Iterator[Stop]:
    """Within the block, the first signal sets the flag; a second SIGINT or SIGTERM raises KeyboardInterrupt at once.

    SIGHUP stays ignored where it is ignored, as by `nohup`.
    """
    stop = Stop()

    def request_stop(number: int, frame: FrameType | None) -> None:
        if number in _INSISTENT and stop.signal in _INSISTENT:
            raise KeyboardInterrupt
        stop.request(number)

    numbers: list[signal.Signals] = list(_INSISTENT)
    hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
        numbers.append(hang_up)
    old = {number: signal.signal(number, request_stop) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
