"""Writers that are killed at random moments and at each boundary of a save, and concurrent writers."""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
import torch
from forked import ended, fork

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.errors import LockedError

# Python 3.12 warns about fork with threads; the children here do not use the threads of the parent.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


def at(step: int, size: int = 4) -> dict[str, torch.Tensor]:
    return {"G.weight": torch.full((size,), float(step)), "D.weight": torch.full((size,), -float(step))}


def temporaries(run: RunDirectory) -> list[str]:
    return [name for name in os.listdir(run.checkpoints_path) if name.endswith(".tmp")]


def check(run: RunDirectory, size: int = 4) -> int:
    """Checks that all checkpoints are valid, and returns the newest step."""
    for step, path in run.checkpoints():
        tensors, card = checkpoint.load(path)
        assert card == {"step": step}
        assert all(torch.equal(tensors[name], tensor) for name, tensor in at(step, size).items())
    return run.newest_valid().card["step"]


@pytest.mark.promise("R1", 30, 200)
def test_random_kills(tmp_path, promise):  # R1, R3, R9
    size = 1 << 17  # two tensors of 512 KB
    with RunDirectory(tmp_path / "x") as run:
        run.begin({})
        started = time.perf_counter()
        run.save_checkpoint(0, at(0, size), {})
        once = time.perf_counter() - started

    def save_forever() -> None:
        with RunDirectory(run.path) as mine:
            first = mine.newest_valid().card["step"] + 1
            for step in itertools.count(first):
                os.write(ready[1], b"x")
                mine.save_checkpoint(step, at(step, size), {})

    rng = random.Random(0)
    newest = left = 0
    for _ in range(promise.count):
        ready = os.pipe()
        child = fork(save_forever)
        os.close(ready[1])
        for _ in range(1 + rng.randrange(3)):  # waits until the first, second or third save begins
            assert os.read(ready[0], 1) == b"x"
        time.sleep(rng.uniform(0, once))
        os.kill(child, signal.SIGKILL)
        assert ended(child) == -signal.SIGKILL
        os.close(ready[0])
        step = check(run, size)
        assert run.checkpoints()
        assert step >= newest
        newest = step
        left += len(temporaries(run))
    assert newest > 0  # saves succeeded between the kills
    assert left > 0  # some kills happened during a write
    with run.acquire():
        assert temporaries(run) == []
        run.save_checkpoint(newest + 1, at(newest + 1, size), {})
    assert len(run.checkpoints()) == 2
    promise.kept(kills=promise.count, unreadable=0, missing=0, temporaries_left=left, temporaries_after_start=0)


@pytest.mark.promise("R4", 1, 1)
@pytest.mark.parametrize(
    ("boundary", "newest"), [(0, 2), (1, 2), (2, 3), (3, 3)], ids=["fsync", "replace", "folder", "unlink"]
)
def test_killed_at_a_boundary(boundary, newest, tmp_path, promise):  # R4
    with RunDirectory(tmp_path / "x") as run:
        run.begin({})
        for step in (1, 2):
            run.save_checkpoint(step, at(step), {})

    def killed_before(call, count):
        def counted(*arguments, **options):
            if next(count) == boundary:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return counted

    def save() -> None:
        count = itertools.count()
        with RunDirectory(run.path) as mine:
            for name in ("fsync", "replace", "unlink"):
                setattr(os, name, killed_before(getattr(os, name), count))
            mine.save_checkpoint(3, at(3), {})

    child = fork(save)
    assert ended(child) == -signal.SIGKILL
    assert check(run) == newest
    assert len(temporaries(run)) == (1 if newest == 2 else 0)
    with run.acquire():
        assert temporaries(run) == []
        run.save_checkpoint(3, at(3), {})
        assert [step for step, _ in run.checkpoints()] == [2, 3]
    promise.kept(boundaries=1, consistent=1)


class Half:
    """A file whose writer is killed after half of a write."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.file.write(bytes(data)[: len(data) // 2])
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.promise("R4", 1, 1)
def test_killed_in_the_middle_of_writing(tmp_path, promise):  # R4
    with RunDirectory(tmp_path / "x") as run:
        run.begin({})
        run.save_checkpoint(1, at(1), {})

    def save() -> None:
        whole = Path.open
        Path.open = lambda path, mode="r", *more: Half(whole(path, mode)) if mode == "xb" else whole(path, mode, *more)
        with RunDirectory(run.path) as mine:
            mine.save_checkpoint(2, at(2), {})

    child = fork(save)
    assert ended(child) == -signal.SIGKILL
    (left,) = temporaries(run)
    assert 0 < (run.checkpoints_path / left).stat().st_size < run.checkpoint_path(1).stat().st_size
    assert check(run) == 1
    with run.acquire():
        assert temporaries(run) == []
    promise.kept(boundaries=1, consistent=1)


# --- concurrent writers -----------------------------------------------------------------------------------------------


def test_the_second_writer_gets_the_process_id_of_the_first(tmp_path):
    with RunDirectory(tmp_path / "x") as run:
        run.begin({})
        with pytest.raises(LockedError) as caught:
            RunDirectory(run.path).acquire()
        assert caught.value.exit_code == 4
        assert str(caught.value) == (
            f"run {run.path} is being written by process {os.getpid()}: wait, or choose another --out"
        )
    with RunDirectory(tmp_path / "x") as run:
        assert run.begin({}) == "unfinished"


def test_a_killed_writer_holds_no_lock(tmp_path):
    def hold() -> None:
        RunDirectory(tmp_path / "x").acquire().begin({})
        os.kill(os.getpid(), signal.SIGKILL)

    child = fork(hold)
    os.waitpid(child, 0)
    assert (tmp_path / "x" / ".lock").read_text() == f"{child}\n"
    with RunDirectory(tmp_path / "x") as run:
        assert run.begin({}) == "unfinished"
        with pytest.raises(LockedError, match=f"process {os.getpid()}:"):
            RunDirectory(run.path).acquire()


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_a_lock_file_that_is_removed_while_it_is_being_locked(replaced, tmp_path, monkeypatch):
    """Another process renames or removes the run directory between our open and our flock."""
    flock, path = fcntl.flock, tmp_path / "x" / ".lock"
    calls = itertools.count()

    def late(descriptor, how):
        if next(calls) == 0:
            path.unlink()
            if replaced:
                path.touch()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with RunDirectory(tmp_path / "x") as run:
        assert path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(LockedError):
            RunDirectory(run.path).acquire()
        run.begin({})
    assert path.read_text() == ""


RACERS = 20


@pytest.mark.promise("R11", 2, 20)
@pytest.mark.parametrize("fresh", [False, True], ids=["same", "fresh"])
def test_racing_starts_have_one_winner(fresh, tmp_path, promise):  # R11
    for number in range(promise.count):
        path = tmp_path / str(number)
        with RunDirectory(path) as run:
            run.begin({"number": -1 if fresh else 0})
        start, end, report = os.pipe(), os.pipe(), os.pipe()

        def race(path=path, start=start, end=end, report=report) -> None:
            os.close(start[1])
            os.close(end[1])
            os.read(start[0], 1)
            try:
                with RunDirectory(path) as run:
                    run.begin({"number": 0}, fresh=fresh)
                    os.write(report[1], f"won {os.getpid()}\n".encode())
                    os.read(end[0], 1)  # until the parent closes it
            except LockedError as error:
                os.write(report[1], f"lost {error}\n".encode())
                raise

        children = [fork(race) for _ in range(RACERS)]
        for descriptor in (start[0], start[1], end[0], report[1]):
            os.close(descriptor)
        messages = b""
        while messages.count(b"\n") < RACERS:
            piece = os.read(report[0], 4096)
            assert piece, f"only this was reported: {messages!r}"
            messages += piece
        os.close(end[1])
        os.close(report[0])
        codes = sorted(ended(child) for child in children)
        assert codes == [0] + [4] * (RACERS - 1)
        won = [line.split()[1] for line in messages.decode().splitlines() if line.startswith("won")]
        assert len(won) == 1
        # Between renaming the old directory and locking the new one, a fresh start can lose to another.
        named = set(re.findall(r"written by process (\d+): wait", messages.decode()))
        assert named <= {str(child) for child in children} if fresh else named == set(won)
        assert messages.count(b"written by process ") == RACERS - 1
        assert RunDirectory(path).read_card() == {"number": 0}
        assert (tmp_path / f"{number}-1").exists() == fresh
        assert not (tmp_path / f"{number}-2").exists()
    promise.kept(races=promise.count, starts_each=RACERS, winners_each=1)


def test_racing_starts_that_never_begin(tmp_path):
    """Each process removes the directory that it created; the holder of the lock always holds the existing one."""

    def acquire_and_release() -> None:
        held = 0
        while held < 100:
            try:
                with RunDirectory(tmp_path / "x") as run:
                    assert os.listdir(run.path) == [".lock"]
                    assert (run.path / ".lock").read_text() == f"{os.getpid()}\n"
                    held += 1
            except LockedError:
                continue

    children = [fork(acquire_and_release) for _ in range(3)]
    assert [ended(child) for child in children] == [0, 0, 0]
    assert not (tmp_path / "x").exists() or os.listdir(tmp_path / "x") == [".lock"]
