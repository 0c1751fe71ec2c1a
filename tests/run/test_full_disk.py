"""A disk that is full for a while costs a warning; one that stays full ends the run with what was saved intact."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aigc_zoo
from aigc_zoo import plugins
from aigc_zoo.api import Run
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.errors import StorageError
from aigc_zoo.run.progress import Progress

from .conftest import TINY, prints

SETTINGS = {**TINY, "steps": 12, "save_every": 2, "sample_every": 3, "eval_every": 12}


class Full(Progress):
    """No file grows beyond `size` bytes from step `first` to step `last`, and what is said meanwhile."""

    def __init__(self, first: int, last: int, size: int = 100) -> None:
        self.first, self.last, self.size = first, last, size
        self.said: list[str] = []
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def step(self, step: int, images: int, seconds: float) -> None:
        soft = self.size if self.first <= step < self.last else self.limits[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, self.limits[1]))

    def say(self, text: str) -> None:
        self.said.append(text)

    def close(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)


@pytest.fixture(autouse=True, scope="module")
def _no_listeners() -> Iterator[None]:
    """A listener's own files on the full disk are its own affair: TensorBoard writes them in a thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_DISABLE_PLUGINS", "tensorboard")
        plugins._discover.cache_clear()
        yield
    plugins._discover.cache_clear()


def play(blobs: Path, out: Path, **more: Any) -> Run:
    return aigc_zoo.train("dcgan", str(blobs), out=out, **{**SETTINGS, **more})


@pytest.fixture(scope="module")
def undisturbed(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return play(blobs, tmp_path_factory.mktemp("runs") / "undisturbed").path


def test_training_goes_on_with_a_warning(undisturbed: Path, blobs: Path, tmp_path: Path) -> None:
    screen = Full(5, 9)  # checkpoints 6 and 8, grid 6, log lines 6 and 8
    run = play(blobs, tmp_path / "run", progress=screen)
    assert run.result is not None
    assert (run.result.reason, run.result.step) == ("done", 12)
    told = [text for text in screen.said if "training continues without this " in text]
    ends = [text.rsplit("training continues without this ", 1)[1] for text in told]
    assert ends == ["log line", "sample grid", "checkpoint", "checkpoint"]
    assert all(text.startswith(f"warning: cannot write {run.path}") for text in told)
    found, wanted = prints(run.path), prints(undisturbed)
    assert [line["step"] for line in run.log] == [2, 4, 10, 12]
    assert wanted.keys() - found.keys() == {"000000006.png"}
    assert all(found[name] == wanted[name] for name in found.keys() - {"log"})


@pytest.mark.promise("R6", 3, 50)
def test_a_disk_that_stays_full_ends_the_run_with_74(
    undisturbed: Path, blobs: Path, tmp_path: Path, promise: Any
) -> None:
    """After three checkpoints in a row; what stands loads, and the same command continues once there is room."""
    size = RunDirectory(undisturbed).checkpoints()[-1][1].stat().st_size
    for number in range(promise.count):
        offset = 1 + number * (size - 512) // max(1, promise.count - 1)  # the first ones are a little smaller
        out = tmp_path / str(number)
        screen = Full(3, 99, offset)
        with pytest.raises(StorageError, match=r"free space(.|\n)*3 checkpoints in a row") as caught:
            play(blobs, out, progress=screen)
        assert caught.value.exit_code == 74
        assert len(str(caught.value).splitlines()) <= 3
        home = RunDirectory(out)
        assert [step for step, _ in home.checkpoints()] == [2]
        assert checkpoint.load(home.checkpoint_path(2))[1]["step"] == 2
        assert not list(out.rglob("*.tmp"))
        play(blobs, out)
        assert prints(out) == prints(undisturbed)
    promise.kept(
        runs=promise.count, exit_74=promise.count, old_one_loads=promise.count, continued_bit_identical=promise.count
    )


def test_the_last_checkpoint_is_not_waited_for(blobs: Path, tmp_path: Path) -> None:
    """At the end there is no next one: the run fails at once, unfinished, rather than call itself done."""
    with pytest.raises(StorageError, match="free space"):
        play(blobs, tmp_path / "run", progress=Full(12, 99))
    assert RunDirectory(tmp_path / "run").finished() is None
    assert [step for step, _ in RunDirectory(tmp_path / "run").checkpoints()] == [8, 10]


def test_the_best_checkpoint_stays(blobs: Path, tmp_path: Path) -> None:
    run = play(blobs, tmp_path / "run", steps=20, eval_every=3, keep=1)
    leading = [record for record in run.metrics if record["name"] == run.metrics[0]["name"]]
    best = min(leading, key=lambda record: record["value"])["step"]
    kept = [step for step, _ in RunDirectory(run.path).checkpoints()]
    assert kept == sorted({best, 20} - {0})
    again = play(blobs, tmp_path / "run", steps=20, eval_every=3, keep=5)  # which is no other configuration
    assert again.result is not None
    assert again.result.notes
