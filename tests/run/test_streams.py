"""Training whose standard streams are closed, full or gone: it goes on in silence, or saves and stops."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import select
import signal
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forked import ended, fork

import aigc_zoo
from aigc_zoo import cli
from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.run.signals import stopping

from .conftest import TINY

# Python 3.12 warns of fork beside threads; these child processes do not use the parent's threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def _imported(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One run in this process, so that its children import nothing."""
    aigc_zoo.train("dcgan", str(blobs), out=tmp_path_factory.mktemp("first") / "run", **TINY)


RARE = {"log_every": 1, "save_every": 100_000, "sample_every": 100_000, "eval_every": 100_000}


def start(blobs: Path, out: Path, connect: Callable[[], None], then: Callable[[], None] = lambda: None) -> int:
    """A child that is `zoo train`, with descriptors as `connect` sets them up; it calls `then` before its 7th step."""

    def work() -> None:
        connect()
        for descriptor, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
            try:
                os.fstat(descriptor)
                stream = open(descriptor, "r" if name == "stdin" else "w", closefd=False)  # noqa: SIM115
            except OSError:
                stream = None  # as at the start of Python
            for attribute in (name, f"__{name}__"):
                setattr(sys, attribute, stream)
        count, train_step = itertools.count(), Trainer.train_step

        def step(trainer: Trainer) -> object:
            if next(count) == 6:
                then()
            return train_step(trainer)

        Trainer.train_step = step  # type: ignore[method-assign, assignment]
        settings = {**TINY, **RARE, "data": blobs, "out": out}
        words = [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        os._exit(cli.main(["train", "dcgan", *words]))

    return fork(work)


def training(blobs: Path, out: Path, connect: Callable[[], None]) -> int:
    return ended(start(blobs, out, connect))


def ended_well(out: Path) -> bool:
    return (RunDirectory(out).finished() or {}).get("step") == 12


def saved_all(out: Path) -> bool:
    """Whether the newest checkpoint has every step that was logged, and there are some."""
    logged = read_lines(RunDirectory(out).log_path)[-1]["step"]
    return 6 <= logged <= RunDirectory(out).checkpoints()[-1][0] < 12 and not RunDirectory(out).finished()


def closing(*descriptors: int) -> Callable[[], None]:
    def connect() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return connect


def opening(path: str, *descriptors: int) -> Callable[[], None]:
    def connect() -> None:
        opened = os.open(path, os.O_WRONLY)
        for descriptor in descriptors:
            os.dup2(opened, descriptor)

    return connect


@pytest.mark.promise("R32", 1, 1)
@pytest.mark.parametrize("descriptors", [(2,), (0, 1, 2)])
def test_training_with_closed_streams_goes_on(
    descriptors: tuple[int, ...], blobs: Path, tmp_path: Path, promise: Any
) -> None:
    assert training(blobs, tmp_path / "run", closing(*descriptors)) == 0
    assert ended_well(tmp_path / "run")
    promise.kept(runs=1, ended=1)


@pytest.mark.promise("R32", 1, 1)
@pytest.mark.parametrize(("descriptors", "code"), [((2,), 0), ((1, 2), 74)])
def test_training_on_a_full_disk_of_logs_goes_on(
    descriptors: tuple[int, ...], code: int, blobs: Path, tmp_path: Path, promise: Any
) -> None:
    assert training(blobs, tmp_path / "run", opening("/dev/full", *descriptors)) == code
    assert ended_well(tmp_path / "run")
    promise.kept(runs=1, ended=1)


@pytest.mark.promise("R32", 1, 1)
@pytest.mark.parametrize("descriptors", [(2,), (1, 2)])
def test_training_whose_reader_leaves_saves_and_stops(
    descriptors: tuple[int, ...], blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promise: Any
) -> None:
    monkeypatch.setattr("aigc_zoo.run.terminal.LINE_SECONDS", 0.0)  # a line for every step
    out, (read, write) = tmp_path / "run", os.pipe()

    def connect() -> None:
        for descriptor in descriptors:
            os.dup2(write, descriptor)

    child = start(blobs, out, connect, then=lambda: os.close(read))
    os.close(read)
    os.close(write)
    assert ended(child) == 128 + signal.SIGPIPE
    assert saved_all(out)
    assert training(blobs, out, opening(os.devnull, 1, 2)) == 0
    assert ended_well(out)
    promise.kept(runs=1, stopped=1)


@pytest.mark.promise("R32", 1, 1)
@pytest.mark.parametrize(
    ("controls", "ignored", "code"),
    [
        pytest.param(True, False, 129, id="the terminal closes"),
        pytest.param(True, True, 0, id="the terminal closes under nohup"),
        pytest.param(False, False, 0, id="another session's terminal closes"),
    ],
)
def test_a_terminal_goes_away(
    controls: bool, ignored: bool, code: int, blobs: Path, tmp_path: Path, promise: Any
) -> None:
    out, (master, slave) = tmp_path / "run", pty.openpty()

    def connect() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
        os.setsid()
        if controls:
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for descriptor in range(3):
            os.dup2(slave, descriptor)
        os.close(slave)

    # The child waits in its 7th step until its terminal is gone; until then its output is read.
    (reached, at), (go, gone) = os.pipe(), os.pipe()

    def wait() -> None:
        os.close(master)
        os.write(at, b"x")
        os.read(go, 1)

    child = start(blobs, out, connect, then=wait)
    os.close(slave)
    while reached not in (ready := select.select([reached, master], [], [])[0]):
        assert ready
        os.read(master, 4096)
    os.close(master)
    os.write(gone, b"x")
    assert ended(child) == code
    assert saved_all(out) if code else ended_well(out)
    for descriptor in (reached, at, go, gone):
        os.close(descriptor)
    promise.kept(runs=1, **{"stopped" if code else "ended": 1})


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([signal.SIGHUP], signal.SIGHUP),
        ([signal.SIGHUP, signal.SIGHUP, signal.SIGHUP], signal.SIGHUP),
        ([signal.SIGTERM, signal.SIGHUP], signal.SIGTERM),
        ([signal.SIGHUP, signal.SIGTERM], signal.SIGTERM),
        ([signal.SIGHUP, signal.SIGINT, signal.SIGHUP], signal.SIGINT),
    ],
)
def test_a_hang_up_never_cuts_the_save_short(sent: list[signal.Signals], expected: signal.Signals) -> None:
    with stopping() as stop:
        for number in sent:
            os.kill(os.getpid(), number)
        assert stop.signal == expected
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_a_second_request_by_hand_still_leaves_at_once() -> None:
    with stopping() as stop:
        stop.request(signal.SIGPIPE)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
