"""A rank that dies ends the job soon and without orphaned processes; a restarted job ends with the same weights."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory, read_lines

from .conftest import TINY

STEPS = 200
BOUND = 45.0


def start(blobs: Path, out: Path, steps: int, *more: str) -> subprocess.Popen[str]:
    settings = {**TINY, "steps": steps, "log_every": 1, "save_every": 2, "eval_every": steps, "sample_every": steps}
    flags = [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *more]
    return subprocess.Popen(
        [*torchrun, "-m", "aigc_zoo", "train", "dcgan", "--data", str(blobs), "--out", str(out), *flags],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def finished(job: subprocess.Popen[str]) -> None:
    output, _ = job.communicate(timeout=180)
    assert job.returncode == 0, output


def processes(out: Path) -> dict[int, str]:
    """The process ids of this run with their ranks ("" for the launcher)."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(out) in (folder / "cmdline").read_text().split("\0"):
                named = dict(e.partition("=")[::2] for e in (folder / "environ").read_text().split("\0"))
                found[int(folder.name)] = named.get("RANK", "")
        except (OSError, ValueError):
            continue
    return found


def killed(blobs: Path, out: Path, at_step: int, steps: int, *more: str) -> tuple[int, str, float]:
    """Starts two ranks and kills rank 1 once the step is logged; returns exit code, output and seconds to the end."""
    job = start(blobs, out, steps, *more)
    deadline = time.monotonic() + 90
    while max((line["step"] for line in read_lines(out / "log.jsonl")), default=0) < at_step:
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (victim,) = [pid for pid, rank in processes(out).items() if rank == "1"]
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    output, _ = job.communicate(timeout=180)
    return job.returncode, output, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.promise("R23", 1, 20)
def test_a_dead_rank_ends_the_job_cleanly(blobs: Path, tmp_path: Path, promise: Any) -> None:
    rng, longest = random.Random(0), 0.0
    for number in range(promise.count):
        out = tmp_path / str(number)
        code, output, took = killed(blobs, out, rng.randint(3, 40), 100_000)
        assert code != 0, output
        assert took < BOUND
        deadline = time.monotonic() + 5
        while processes(out) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert processes(out) == {}, "no process is left"
        found = RunDirectory(out).newest_valid()
        assert found is not None
        assert found.skipped == []
        longest = max(longest, took)
    promise.kept(kills=promise.count, clean_ends=promise.count, orphans=0, longest_seconds=round(longest, 1))


@pytest.mark.slow
@pytest.mark.promise("R23", 1, 1)
def test_a_restarted_job_ends_with_the_same_weights(blobs: Path, tmp_path: Path, promise: Any) -> None:
    finished(start(blobs, tmp_path / "whole", STEPS))
    code, output, _ = killed(blobs, tmp_path / "killed", 10, STEPS, "--max-restarts", "1")
    assert code == 0, output
    one, other = (RunDirectory(tmp_path / name).newest_valid() for name in ("whole", "killed"))
    assert one is not None
    assert other is not None
    assert one.card["step"] == other.card["step"] == STEPS
    assert checkpoint.digest(one.tensors, {}) == checkpoint.digest(other.tensors, {})
    promise.kept(restarts=1, identical=1)


@pytest.mark.slow
@pytest.mark.promise("R18", 1, 1)
def test_two_ranks_save_the_same_step_after_a_signal(blobs: Path, tmp_path: Path, promise: Any) -> None:
    """torchrun forwards SIGTERM; the ranks agree on a step, and the same command resumes from it."""
    finished(start(blobs, tmp_path / "whole", STEPS))
    out = tmp_path / "stopped"
    job = start(blobs, out, STEPS)
    deadline = time.monotonic() + 90
    while max((line["step"] for line in read_lines(out / "log.jsonl")), default=0) < 10:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    output, _ = job.communicate(timeout=120)
    assert job.returncode != 0
    found = RunDirectory(out).newest_valid()
    assert found is not None
    assert 10 <= found.card["step"] < STEPS, output
    finished(start(blobs, out, STEPS))
    one, other = (RunDirectory(path).newest_valid() for path in (tmp_path / "whole", out))
    assert one is not None
    assert other is not None
    assert checkpoint.digest(one.tensors, {}) == checkpoint.digest(other.tensors, {})
    promise.kept(signals=1, identical=1)
