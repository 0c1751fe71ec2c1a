"""A full disk: a run continues with warnings; if the disk stays full it ends with its checkpoints intact."""

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

from .conftest import TINY, digests_of

SETTINGS = {**TINY, "steps": 12, "save_every": 2, "sample_every": 3, "eval_every": 12}


class FullDisk(Progress):
    """Limits files to `size` bytes from step `first` to step `last`, and records the messages."""

    def __init__(self, first: int, last: int, size: int = 100) -> None:
        self.first, self.last, self.size = first, last, size
        self.messages: list[str] = []
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def step(self, step: int, images: int, seconds: float) -> None:
        soft = self.size if self.first <= step < self.last else self.limits[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, self.limits[1]))

    def say(self, text: str) -> None:
        self.messages.append(text)

    def close(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)


@pytest.fixture(autouse=True, scope="module")
def _no_listeners() -> Iterator[None]:
    """Without the TensorBoard listener, whose thread would write to the full disk, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_DISABLE_PLUGINS", "tensorboard")
        plugins._discover.cache_clear()
        yield
    plugins._discover.cache_clear()


def train_dcgan(blobs: Path, out: Path, **more: Any) -> Run:
    return aigc_zoo.train("dcgan", str(blobs), out=out, **{**SETTINGS, **more})


@pytest.fixture(scope="module")
def undisturbed(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_dcgan(blobs, tmp_path_factory.mktemp("runs") / "undisturbed").path


def test_training_continues_with_a_warning(undisturbed: Path, blobs: Path, tmp_path: Path) -> None:
    progress = FullDisk(5, 9)  # checkpoints 6 and 8, grid 6, log lines 6 and 8
    run = train_dcgan(blobs, tmp_path / "run", progress=progress)
    assert run.result is not None
    assert (run.result.reason, run.result.step) == ("done", 12)
    warnings = [text for text in progress.messages if "training continues without this " in text]
    ends = [text.rsplit("training continues without this ", 1)[1] for text in warnings]
    assert ends == ["log line", "sample grid", "checkpoint", "checkpoint"]
    assert all(text.startswith(f"warning: cannot write {run.path}") for text in warnings)
    found, wanted = digests_of(run.path), digests_of(undisturbed)
    assert [line["step"] for line in run.log] == [2, 4, 10, 12]
    assert wanted.keys() - found.keys() == {"000000006.png"}
    assert all(found[name] == wanted[name] for name in found.keys() - {"log"})


@pytest.mark.promise("R6", 3, 50)
def test_a_disk_that_stays_full_ends_the_run_with_74(
    undisturbed: Path, blobs: Path, tmp_path: Path, promise: Any
) -> None:
    """After three failed checkpoints in a row; the old one loads, and the command resumes once there is space."""
    size = RunDirectory(undisturbed).checkpoints()[-1][1].stat().st_size
    for number in range(promise.count):
        offset = 1 + number * (size - 512) // max(1, promise.count - 1)  # the first ones are a little smaller
        out = tmp_path / str(number)
        progress = FullDisk(3, 99, offset)
        with pytest.raises(StorageError, match=r"free space(.|\n)*3 checkpoints in a row") as caught:
            train_dcgan(blobs, out, progress=progress)
        assert caught.value.exit_code == 74
        assert len(str(caught.value).splitlines()) <= 3
        directory = RunDirectory(out)
        assert [step for step, _ in directory.checkpoints()] == [2]
        assert checkpoint.load(directory.checkpoint_path(2))[1]["step"] == 2
        assert not list(out.rglob("*.tmp"))
        train_dcgan(blobs, out)
        assert digests_of(out) == digests_of(undisturbed)
    promise.kept(
        runs=promise.count, exit_74=promise.count, old_one_loads=promise.count, continued_bit_identical=promise.count
    )


def test_the_last_checkpoint_must_be_saved(blobs: Path, tmp_path: Path) -> None:
    """There is no later one, so the run fails at once and is not marked as finished."""
    with pytest.raises(StorageError, match="free space"):
        train_dcgan(blobs, tmp_path / "run", progress=FullDisk(12, 99))
    assert RunDirectory(tmp_path / "run").finished() is None
    assert [step for step, _ in RunDirectory(tmp_path / "run").checkpoints()] == [8, 10]


def test_the_best_checkpoint_is_kept(blobs: Path, tmp_path: Path) -> None:
    run = train_dcgan(blobs, tmp_path / "run", steps=20, eval_every=3, keep=1)
    leading = [record for record in run.metrics if record["name"] == run.metrics[0]["name"]]
    best = min(leading, key=lambda record: record["value"])["step"]
    kept = [step for step, _ in RunDirectory(run.path).checkpoints()]
    assert kept == sorted({best, 20} - {0})
    again = train_dcgan(blobs, tmp_path / "run", steps=20, eval_every=3, keep=5)  # `keep` may change
    assert again.result is not None
    assert again.result.notes
