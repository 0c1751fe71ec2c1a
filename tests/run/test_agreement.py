"""Two ranks under torchrun of a run that is finished or refused end with the same error and exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import aigc_zoo
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.errors import ConfigError, DataError, DivergedError, LockedError, StorageError, ZooError
from aigc_zoo.run import agreement
from aigc_zoo.run.agreement import agree

from .conftest import TINY, digests_of

CPU = torch.device("cpu")
SETTINGS = {**TINY, "steps": 2, "eval_every": 2, "precision": "fp32"}

RANK = """
import os, sys, time
from pathlib import Path
from aigc_zoo.cli import main
code, codes, rank = main(sys.argv[2:]), Path(sys.argv[1]), int(os.environ["RANK"])
codes.joinpath(str(rank)).write_text(str(code))
deadline = time.monotonic() + 20
while not codes.joinpath(str(1 - rank)).exists() and time.monotonic() < deadline:
    time.sleep(0.01)  # torchrun ends the other rank as soon as one has failed
sys.exit(code)
"""


def torchrun(blobs: Path, out: Path, *more: str) -> tuple[int, list[int], str]:
    """The exit code of torchrun, that of each rank, and all that they print."""
    script, codes = out.parent / "rank.py", out.parent / f"{out.name}.codes"
    script.write_text(RANK)
    codes.mkdir(exist_ok=True)
    for old in codes.iterdir():
        old.unlink()
    flags = [word for key, value in SETTINGS.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    train = ["train", "dcgan", "--data", str(blobs), "--out", str(out), *flags, *more]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(script), str(codes), *train],
        capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return done.returncode, [int((codes / str(rank)).read_text()) for rank in range(2)], done.stdout + done.stderr


@pytest.fixture(scope="module")
def finished(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks that is finished."""
    out = tmp_path_factory.mktemp("agreement") / "run"
    code, codes, text = torchrun(blobs, out)
    assert (code, codes) == (0, [0, 0]), text
    return out


@pytest.mark.slow
def test_the_same_command_on_a_finished_run_succeeds_on_every_rank(blobs: Path, finished: Path) -> None:
    before = digests_of(finished)
    code, codes, text = torchrun(blobs, finished)
    assert (code, codes) == (0, [0, 0]), text
    assert "this run is finished" in text
    assert "Traceback" not in text
    assert digests_of(finished) == before


def _damaged(out: Path) -> None:
    (out / "finished.json").write_text("{")


def _no_card(out: Path) -> None:
    (out / "card.json").unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "more", "expected", "message"),
    [
        (None, ("--latent", "16"), 3, "was started with.*latent"),
        (None, ("--seed", "7", "--batch-size", "16"), 3, "was started with"),
        (_damaged, (), 65, "finished.json"),
        (_no_card, (), 3, "no card.json"),
    ],
)
def test_a_refusal_ends_every_rank_with_its_exit_code(
    blobs: Path, finished: Path, tmp_path: Path, change: Callable[[Path], None] | None, more: tuple[str, ...],
    expected: int, message: str,
) -> None:  # fmt: skip
    out = tmp_path / "run"
    subprocess.run(["cp", "-r", str(finished), str(out)], check=True)
    if change is not None:
        change(out)
    code, codes, text = torchrun(blobs, out, *more)
    assert codes == [expected, expected], text
    assert code != 0
    assert len(re.findall(message, text)) == 2, text
    assert "Connection closed" not in text


@pytest.mark.slow
def test_a_locked_run_ends_every_rank_with_its_exit_code(blobs: Path, finished: Path) -> None:
    with RunDirectory(finished):
        _, codes, text = torchrun(blobs, finished)
    assert codes == [4, 4], text
    assert text.count(f"is being written by process {os.getpid()}") == 2


@pytest.mark.slow
def test_a_finished_run_of_one_rank_is_refused_by_two(blobs: Path, tmp_path: Path) -> None:
    aigc_zoo.train("dcgan", str(blobs), out=tmp_path / "run", **SETTINGS)
    _, codes, text = torchrun(blobs, tmp_path / "run")
    assert codes == [3, 3], text
    assert "world 1, now 2" in text


# --- the exchange itself, with ranks that are threads -----------------------------------------------------------------


class Meeting:
    """Ranks that are threads, with a `gather` like that of a process group."""

    def __init__(self, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
        from threading import Barrier

        self.world, barrier, given = world, Barrier(world, timeout=20), dict[int, torch.Tensor]()

        def gather(ranks: Ranks, tensor: torch.Tensor) -> list[torch.Tensor]:
            given[ranks.rank] = tensor
            barrier.wait()
            return [given[rank] for rank in range(world)]

        monkeypatch.setattr(Ranks, "gather", gather)

    def outcomes(self, begin: Callable[[int], str]) -> list[str | Exception]:
        def of(rank: int) -> str | Exception:
            try:
                return agree(Ranks(rank, self.world), CPU, lambda: begin(rank))
            except Exception as error:
                return error

        with ThreadPoolExecutor(self.world) as pool:
            return list(pool.map(of, range(self.world)))


def test_every_rank_gets_the_result_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Meeting(3, monkeypatch).outcomes(lambda rank: "finished" if rank == 0 else "") == ["finished"] * 3


@pytest.mark.parametrize("failing", [{0}, {1}, {2}, {0, 2}, {1, 2}, {0, 1, 2}])
@pytest.mark.parametrize("error", [ConfigError, DataError, LockedError, StorageError, DivergedError, ZooError])
def test_an_error_of_any_rank_is_raised_on_all(
    failing: set[int], error: type[ZooError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(rank: int) -> str:
        if rank in failing:
            raise error(f"rank {rank} says\nno")
        return "new"

    outcomes = Meeting(3, monkeypatch).outcomes(begin)
    assert [type(outcome) for outcome in outcomes] == [error] * 3
    assert {str(outcome) for outcome in outcomes} == {f"rank {min(failing)} says\nno"}


@pytest.mark.parametrize(
    ("error", "code"),
    [(PermissionError(13, "Permission denied", "/x"), 74), (TypeError("no"), 1), (ConfigError("\U0001f600" * 5000), 3)],
)
def test_other_errors_have_the_exit_code_of_the_command(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(rank: int) -> str:
        if rank == 0:
            raise error
        return ""

    first, second = Meeting(2, monkeypatch).outcomes(begin)
    assert first is error
    assert isinstance(second, ZooError)
    assert second.exit_code == code


def test_one_rank_exchanges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "_exchange", None)
    assert agree(Ranks(), CPU, lambda: "new") == "new"
