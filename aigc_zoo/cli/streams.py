"""Standard streams that are closed, full or without a reader: they cost a command its output, not its work.

The process starts with `protect`, and then no write to stdout or stderr raises: what cannot be written is dropped, and
the command finishes with its own exit code. A pipe whose reader has left (`| head -1`) is no error; the commands that
save their progress stop there, see `stopping`. Any other output that stdout loses, on a full disk for example, gives
the exit code 74.
"""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aigc_zoo.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from aigc_zoo.run.signals import Stop

_on_broken_pipe: list[Callable[[], None]] = []


class _Writer(io.FileIO):
    """A file descriptor to which writes always succeed. `lost` is the error of a write that did not.

    A pipe that was closed and a terminal that hung up have no reader who could miss anything.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.lost: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            while (written := super().write(data)) is None:  # another process made the pipe non-blocking
                select.select([], [self], [])
            return written
        except OSError as error:
            if error.errno == errno.EPIPE:
                for call in _on_broken_pipe:
                    call()
            elif error.errno != errno.EIO or not stat.S_ISCHR(os.fstat(self.fileno()).st_mode):
                self.lost = error
            return memoryview(data).nbytes


def protect() -> None:
    """Replaces sys.stdout and sys.stderr of this process, unless a test or a notebook has already done so.

    Closed descriptors 0 to 2 are opened on os.devnull: the next file that is opened, a checkpoint for example, would
    take their number otherwise, and with it what libraries print.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 (open as long as the process)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _protected(1, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _protected(2, sys.stderr)


def finished(code: int) -> int:
    """The exit code of a command that ends with `code`: 74 instead of 0 where stdout has lost output.

    A message on stderr says so. Output without a reader is not lost.
    """
    lost: OSError | None = None
    try:
        sys.stdout.flush()
    except OSError as error:  # of a stream that is not ours
        lost = error
    writer = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(writer, _Writer):
        lost, writer.lost = writer.lost, None  # `main` can be called again
    if lost is None:
        return code
    sys.stderr.write(f"zoo: standard output: {lost.strerror}; the output is incomplete, all else is done\n")
    return code or StorageError.exit_code


@contextmanager
def stopping() -> Iterator[Stop]:
    """`run.signals.stopping`, where writing to a pipe without a reader is a request to stop as well."""
    from aigc_zoo.run import signals

    with signals.stopping() as stop:
        request = getattr(signal, "SIGPIPE", signal.SIGTERM)
        _on_broken_pipe.append(lambda: stop.request(request))
        try:
            yield stop
        finally:
            _on_broken_pipe.pop()


def _protected(descriptor: int, old: io.TextIOWrapper | None) -> io.TextIOWrapper:
    """A text stream that never raises, with the encoding and buffering of the old one, which is None if closed.

    Letters that the encoding lacks are written as escapes.
    """
    return io.TextIOWrapper(
        io.BufferedWriter(_Writer(descriptor)),
        encoding=old.encoding if old is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=old.line_buffering if old is not None else True,
        write_through=old.write_through if old is not None else False,
    )
