"""The directory of a run: the files that a training writes, with one writing process at a time.

card.json        configuration and environment, written before the first step
log.jsonl        metrics.jsonl    one line for each logged step, one for each metric of each evaluation
samples/         checkpoints/     000001000.png, 000001000.safetensors: the step in nine digits
finished.json    step, images and reason, written last: a run that has this file is finished
.lock            process id of the writer; the system drops the lock when the process dies

The files of a step (log line, metrics, sample grid) are written before its checkpoint. A run that resumes from a
checkpoint removes everything later, so the directory never has results of steps that training has yet to reach again.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from torch import Tensor

from aigc_zoo.artefacts import checkpoint, lock, migration, resume
from aigc_zoo.artefacts.atomic import append_line, explained, make_folder, sweep, sync_folder, write_bytes, write_json
from aigc_zoo.artefacts.checkpoint import explain_damage, json_object
from aigc_zoo.errors import ConfigError, DataError

_STEP = re.compile(r"(\d{9,})\.\w+")


class Restored(NamedTuple):
    """The newest valid checkpoint, and a sentence for each newer one that was damaged."""

    tensors: dict[str, Tensor]
    card: dict[str, Any]
    skipped: list[str]


class RunDirectory:
    """The run at `path`. Reading needs no lock; writing does: `with RunDirectory(path) as run: run.begin(card)`."""

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        # `--fresh` renames the directory, and "." would follow it.
        self.path = path if path.name not in ("", "..") else Path(os.path.abspath(path))
        self.card_path = self.path / "card.json"
        self.log_path = self.path / "log.jsonl"
        self.metrics_path = self.path / "metrics.jsonl"
        self.samples_path = self.path / "samples"
        self.checkpoints_path = self.path / "checkpoints"
        self.generator_path = self.path / "generator.safetensors"
        self.best_path = self.path / "generator-best.safetensors"
        self.held_out_path = self.path / "held_out.json"
        self.nearest_path = self.path / "nearest.png"
        self.animation_path = self.path / "samples.gif"
        self.page_path = self.path / "samples.html"
        self.finished_path = self.path / "finished.json"
        self.written_at_the_end = self.generator_path, self.held_out_path, self.nearest_path, self.animation_path
        self._lock: int | None = None
        self._created = False

    # --- the lock -----------------------------------------------------------------------------------------------------

    def acquire(self) -> Self:
        """Creates and locks the directory, and removes temporary files that killed writers left.

        Raises LockedError while another process writes.
        """
        assert self._lock is None, "this run is already locked by this object"
        self._created = not self.path.exists()
        self._lock = lock.acquire(self.path)
        for folder in (self.path, self.samples_path, self.checkpoints_path):
            sweep(folder)
        return self

    def release(self) -> None:
        """Releases the lock. A directory that was created for a run which never began is removed."""
        if self._lock is None:
            return
        with suppress(OSError):  # another process may have removed the directory, or be about to use it
            if self._created and os.listdir(self.path) == [lock.NAME]:
                (self.path / lock.NAME).unlink()
                self.path.rmdir()
        lock.release(self._lock)
        self._lock = None

    def __enter__(self) -> Self:
        return self if self._lock is not None else self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    # --- beginning and end --------------------------------------------------------------------------------------------

    def begin(
        self, card: Mapping[str, Any], fresh: bool = False, inexact: bool = False, extend: bool = False
    ) -> Literal["new", "unfinished", "finished"]:
        """Compares `card` with the run in the directory, and writes card.json for a new run.

        `fresh` renames an older run to PATH-1, PATH-2, ... For `inexact` and `extend` see `resume.reconcile`. Raises
        ConfigError where the directory holds a different run.
        """
        assert self._lock is not None, "begin needs the lock"
        if fresh and self._used():
            self._set_aside()
        if not self._used():
            for folder in (self.samples_path, self.checkpoints_path):
                make_folder(folder)
            write_json(self.card_path, card)
            return "new"
        if not self.card_path.exists():
            raise ConfigError(
                f"{self.path} holds checkpoints or logs of a run, but no card.json that describes it:\n"
                "use --fresh to start anew, or another --out"
            )
        resume.reconcile(self, card, inexact, extend)
        return "finished" if self.finished() else "unfinished"

    def amend(self, card: Mapping[str, Any]) -> None:
        """Rewrites card.json with what only became known during training."""
        assert self._lock is not None, "amend needs the lock"
        write_json(self.card_path, card)

    def finish(self, step: int, images: int, reason: str, **facts: float) -> None:
        """Marks the run as finished, after all its other files were written."""
        write_json(self.finished_path, {"step": step, "images": images, "reason": reason, **facts})

    def _used(self) -> bool:
        return self.card_path.exists() or self.log_path.exists() or bool(self.checkpoints())

    def _set_aside(self) -> None:
        directory = Path(os.path.abspath(self.path))
        numbered = (directory.with_name(f"{directory.name}-{number}") for number in itertools.count(1))
        aside = next(path for path in numbered if not os.path.lexists(path))
        held, self._lock = self._lock, None
        assert held is not None
        try:
            with explained(aside):
                os.rename(directory, aside)
                sync_folder(directory.parent)
            # The lock moved with the old directory. The new one has its own, which another process may get first.
            self.acquire()
        finally:
            lock.release(held)

    # --- reading ------------------------------------------------------------------------------------------------------

    def read_card(self) -> dict[str, Any]:
        """The content of card.json, with current names. Raises DataError where the file is missing or damaged."""
        with explain_damage(self.card_path):
            return migration.card(json_object(self.card_path.read_text("utf-8")), self.card_path)

    def finished(self) -> dict[str, Any] | None:
        """The content of finished.json, or None for an unfinished run."""
        if not self.finished_path.exists():
            return None
        with explain_damage(self.finished_path):
            return json_object(self.finished_path.read_text("utf-8"))

    def read_held_out(self) -> tuple[dict[str, Any], ...]:
        """The records of held_out.json; none where there is no such file. Raises DataError where it is damaged."""
        path = self.held_out_path
        if not path.exists():
            return ()
        with explain_damage(path):
            return tuple(migration.record(dict(line), path) for line in json_object(path.read_text("utf-8"))["metrics"])

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def checkpoint_path(self, step: int) -> Path:
        return self.checkpoints_path / f"{step:09d}.safetensors"

    def checkpoints(self) -> list[tuple[int, Path]]:
        """Steps and files in the order of the steps; the files are not opened."""
        return [(step, path) for step, path in _by_step(self.checkpoints_path) if path.suffix == ".safetensors"]

    def save_checkpoint(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        card: Mapping[str, Any],
        keep: int = 2,
        best: int | None = None,
    ) -> Path:
        """Writes a checkpoint, adds its step to the card, and then deletes all but the newest `keep` checkpoints.

        The checkpoint of step `best` is kept too. Those of later steps are deleted: a run that is at `step` has skipped
        them because they are damaged.
        """
        if keep < 1:
            raise ValueError(f"a run keeps at least 1 checkpoint, not {keep}")
        path = self.checkpoint_path(step)
        checkpoint.save(path, tensors, {**card, "step": step})
        others = [(other, old) for other, old in self.checkpoints() if other != step]
        earlier = [old for other, old in others if other < step]
        later = [old for other, old in others if other > step]
        for old in earlier[: max(len(earlier) + 1 - keep, 0)] + later:
            if best is None or old != self.checkpoint_path(best):
                with explained(old):
                    old.unlink(missing_ok=True)
        return path

    def newest_valid(self) -> Restored | None:
        """The newest checkpoint whose SHA-256 matches; None where there are no checkpoints.

        Raises DataError where all of them are damaged, StorageError where the system refuses to read one.
        """
        skipped: list[str] = []
        for _, path in reversed(self.checkpoints()):
            try:
                return Restored(*checkpoint.load(path), skipped)
            except DataError as error:
                skipped.append(f"{path}: {error.__cause__}")
        if skipped:
            raise DataError(
                f"all {len(skipped)} checkpoints of run {self.path} are damaged ({skipped[0]}):\n"
                "train again, with --fresh or another --out of zoo train"
            )
        return None

    # --- log lines and sample grids -----------------------------------------------------------------------------------

    def log(self, line: Mapping[str, Any]) -> None:
        """Appends to log.jsonl; NaN and infinity, which JSON lacks, become null."""
        append_line(self.log_path, json.dumps(nulled(line)))

    def metric(self, *lines: Mapping[str, Any]) -> None:
        """Appends the lines of one evaluation to metrics.jsonl, in one write, so that all of them are there or none.

        The write is synced: the lines are few, and they tell which generator is the best.
        """
        append_line(self.metrics_path, "\n".join(json.dumps(nulled(line)) for line in lines), sync=True)

    def sample_path(self, step: int, suffix: str = ".png") -> Path:
        return self.samples_path / f"{step:09d}{suffix}"

    def previews(self) -> list[Path]:
        """The previews in the order of their steps."""
        return [path for _, path in _by_step(self.samples_path) if path.suffix == ".png"]

    def samples(self) -> list[Path]:
        """Previews, and samples in other formats, in the order of their steps."""
        return [path for _, path in _by_step(self.samples_path)]

    def cut_logs(self, step: int) -> None:
        """Removes lines of later steps and incomplete lines from the log and the metrics; -1 removes all lines."""
        for path in (self.log_path, self.metrics_path):
            kept = b"".join(text + b"\n" for line, text in _lines(path) if line["step"] <= step)
            if path.exists() and path.read_bytes() != kept:
                write_bytes(path, kept)

    def cut_samples(self, step: int) -> None:
        """Deletes the grids of later steps; the resumed run draws them again, bit for bit."""
        for other, path in _by_step(self.samples_path):
            if other > step:
                with explained(path):
                    path.unlink()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a log.jsonl or metrics.jsonl, with current metric names; none where there is no file."""
    return [migration.record(line, path) if "name" in line else line for line, _ in _lines(path)]


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    with explain_damage(path):
        texts = path.read_bytes().split(b"\n") if path.exists() else []
    for text in texts:
        try:
            line = json.loads(text)
        except ValueError:  # an incomplete line, or the empty text after the last one
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            yield line, text


def nulled(value: Any) -> Any:
    """The value with null in place of NaN and infinity, which JSON lacks."""
    if isinstance(value, Mapping):
        return {key: nulled(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [nulled(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _by_step(folder: Path) -> list[tuple[int, Path]]:
    """Files named after their step, sorted by number: as text, step 1,000,000,000 would precede 999,999,999."""
    found = ((_STEP.fullmatch(path.name), path) for path in folder.glob("*"))
    return sorted((int(match[1]), path) for match, path in found if match)
