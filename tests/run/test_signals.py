"""A signal saves the run and exits with 130 or 143; the same command resumes it exactly."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from forked import ended, fork

from aigc_zoo import options, plugins
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.data import pool
from aigc_zoo.engine import trainer
from aigc_zoo.run import loop, monitor, previews
from aigc_zoo.run.prepare import prepare
from aigc_zoo.run.signals import stopping

from .conftest import TINY, digests_of

# Python 3.12 warns of fork beside threads; these child processes do not use the parent's threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


def command(blobs: Path, out: Path, **more: object) -> list[str]:
    settings = {**TINY, "steps": 100_000, "log_every": 1, "save_every": 50_000, "eval_every": 50_000, **more}
    flags = [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "aigc_zoo", "train", "dcgan", "--data", str(blobs), "--out", str(out), *flags]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_exits(blobs: Path, tmp_path: Path, sent: signal.Signals, code: int) -> None:
    out = tmp_path / "run"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command(blobs, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    deadline = time.monotonic() + 60
    while not (out / "log.jsonl").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert "resumes" in output
    last = json.loads((out / "log.jsonl").read_text().splitlines()[-1])["step"]
    (saved, _), *_ = RunDirectory(out).checkpoints()[::-1]
    assert saved >= last >= 1
    assert not (out / "finished.json").exists()


def test_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


# --- at any moment ----------------------------------------------------------------------------------------------------

PHASES: dict[str, tuple[Any, str, int]] = {
    "data wait": (pool.Pool, "batch", 13),
    "step": (trainer, "turn", 24),
    "grid": (previews, "save", 4),
    "evaluation": (monitor, "distributed_samples", 3),
    "save": (checkpoint, "save", 4),
}
"""When a signal is sent: during a call of (module, function), which a run of TINY makes so many times."""


def run_dcgan(blobs: Path, out: Path, mapped: bool) -> int:
    """A run in this process, as by the command line; returns 128 + the signal that ended it, else 0."""
    catalogue = plugins.catalogue()
    run = prepare(catalogue, options.resolve(catalogue, "dcgan", data=str(blobs), given=TINY, origin="python"))
    if mapped:
        run.__dict__["pool"] = pool.Pool(run.train, "cpu", budget=0)  # rows are read by a thread
    with stopping() as stop:
        result = loop.train(run, out, stop=stop)
    return 128 + result.signal if result.signal else 0


def interrupted(blobs: Path, out: Path, phase: str, number: int, mapped: bool, sent: int = signal.SIGTERM) -> int:
    """The exit code of a run that gets a signal at the n-th call of its `phase`."""
    module, name, _ = PHASES[phase]

    def work() -> None:
        count, call = itertools.count(1), getattr(module, name)

        def send_signal(*arguments: Any, **keywords: Any) -> Any:
            if next(count) == number:
                os.kill(os.getpid(), sent)
            return call(*arguments, **keywords)

        setattr(module, name, send_signal)
        loop.require_memory = lambda *_, **__: None  # the estimate takes turns as well, which are not to be counted
        os._exit(run_dcgan(blobs, out, mapped))

    return ended(fork(work))


@pytest.fixture(scope="module")
def undisturbed(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert ended(fork(lambda: os._exit(run_dcgan(blobs, out, False)))) == 0
    return digests_of(out)


@pytest.mark.promise("R18", 10, 50)
def test_a_signal_at_any_moment_loses_nothing(
    blobs: Path, tmp_path: Path, undisturbed: dict[str, str], promise: Any
) -> None:
    rng = random.Random(0)
    for number, phase in zip(range(promise.count), itertools.cycle(PHASES)):
        out, mapped = tmp_path / str(number), number % 2 == 1
        moment = rng.randint(1, PHASES[phase][2])
        assert interrupted(blobs, out, phase, moment, mapped) == 143, (phase, moment)
        assert not (out / "finished.json").exists()
        logged = max((line["step"] for line in read_lines(out / "log.jsonl")), default=0)
        saved = max((step for step, _ in RunDirectory(out).checkpoints()), default=0)
        assert saved >= logged, "all logged steps are saved"
        assert moment == 1 or saved > 0, "a checkpoint exists, unless the signal came at the first call"
        assert ended(fork(lambda out=out, mapped=mapped: os._exit(run_dcgan(blobs, out, mapped)))) == 0
        assert digests_of(out) == undisturbed, (phase, moment)
    promise.kept(signals=promise.count, phases_each=len(PHASES), exit_143=promise.count, identical=promise.count)


@pytest.mark.promise("R20", 1, 1)
def test_a_second_interrupt_exits_at_once(blobs: Path, tmp_path: Path, promise: Any) -> None:
    """The first signal is handled at the end of a step, and this step does not end."""
    ready = os.pipe()

    def work() -> None:
        count, turn = itertools.count(1), trainer.turn

        def stuck(*arguments: Any, **keywords: Any) -> Any:
            if next(count) == 11:
                os.write(ready[1], b"x")
                time.sleep(20)
            return turn(*arguments, **keywords)

        trainer.turn = stuck  # type: ignore[assignment]
        try:
            run_dcgan(blobs, tmp_path / "run", False)
        except KeyboardInterrupt:
            os._exit(130)

    child = fork(work)
    assert os.read(ready[0], 1) == b"x"
    os.kill(child, signal.SIGINT)
    time.sleep(0.2)
    assert os.waitpid(child, os.WNOHANG) == (0, 0), "the first signal waits for the end of the step"
    began = time.monotonic()
    os.kill(child, signal.SIGINT)
    assert ended(child) == 130
    assert time.monotonic() - began < 5
    found = RunDirectory(tmp_path / "run").newest_valid()
    assert found is not None
    assert found.card["step"] == 3
    promise.kept(exit_130=1, checkpoint_whole=1)


@pytest.mark.parametrize("wait", [0.05, 0.4, 1.0])
def test_a_signal_during_start_up_leaves_no_files(blobs: Path, tmp_path: Path, wait: float) -> None:
    process = subprocess.Popen(command(blobs, tmp_path / "run"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(wait)  # it is importing
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGTERM, 143), "a shell reports both as 143"
    assert not (tmp_path / "run").exists()


def test_an_interrupted_evaluation_is_repeated_on_resume(
    blobs: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    """The signal comes during the first evaluation, which writes nothing."""
    out = tmp_path / "run"
    assert interrupted(blobs, out, "evaluation", 1, False) == 143
    assert not (out / "metrics.jsonl").exists()
    assert ended(fork(lambda: os._exit(run_dcgan(blobs, out, False)))) == 0
    assert digests_of(out) == undisturbed
