"""A run folder: what one training leaves, written by one process at a time.

card.json        what the run is; there before the first step
log.jsonl        metrics.jsonl    a line each, appended
samples/         checkpoints/     000001000.png, 000001000.safetensors: nine digits of the step
finished.json    step, images and reason, written last of all: where it stands, the run is finished
.lock            holds the writer's process id, and a lock that the system drops when the process dies

Whatever belongs to a step (log line, metrics, grid) is written before the checkpoint of that step; a run that continues
from a checkpoint cuts everything later, so the folder never shows a future that training has not reached again.
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

from aigc_zoo.artefacts import checkpoint, lock, migration
from aigc_zoo.artefacts.atomic import append_line, explained, make_folder, sweep, sync_folder, write_bytes, write_json
from aigc_zoo.artefacts.cards import only_the_machine, told
from aigc_zoo.errors import ConfigError, DataError

_STEP = re.compile(r"(\d{9,})\.\w+")


class Restored(NamedTuple):
    """The newest valid checkpoint, and a sentence for each newer one that was damaged."""

    tensors: dict[str, Tensor]
    card: dict[str, Any]
    skipped: list[str]


class RunDirectory:
    """A run at `path`. Reading needs nothing; to write, hold it: `with RunDirectory(path) as run: run.begin(card)`."""

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        # A folder that is set aside is renamed, and "." would follow it.
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
        self.finished_path = self.path / "finished.json"
        self._lock: int | None = None
        self._made = False

    # --- one writer ---------------------------------------------------------------------------------------------------

    def acquire(self) -> Self:
        """Makes the folder, locks it and sweeps what killed writers left. LockedError while another process writes."""
        assert self._lock is None, "this run is held already"
        self._made = not self.path.exists()
        self._lock = lock.acquire(self.path)
        for folder in (self.path, self.samples_path, self.checkpoints_path):
            sweep(folder)
        return self

    def release(self) -> None:
        """Lets others write. A folder that was made for a run which never began goes again."""
        if self._lock is None:
            return
        with suppress(OSError):  # tidying is a courtesy: others may have removed the folder, or want it by now
            if self._made and os.listdir(self.path) == [lock.NAME]:
                (self.path / lock.NAME).unlink()
                self.path.rmdir()
        lock.release(self._lock)
        self._lock = None

    def __enter__(self) -> Self:
        return self if self._lock is not None else self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def begin(
        self, card: Mapping[str, Any], fresh: bool = False, inexact: bool = False
    ) -> Literal["new", "unfinished", "finished"]:
        """Decides what a start with this card is, and writes card.json for a new run.

        `fresh` sets an older run aside as PATH-1, PATH-2, ... `inexact` goes on with a run of another machine, and its
        card says from which step on. Raises ConfigError where the folder holds another run.
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
                f"{self.path} holds checkpoints or logs, but no card.json that says what of:\n"
                "use --fresh to start anew, or another --out"
            )
        old = self.read_card()
        changes = told(old, card)
        if changes:
            machine = only_the_machine(old, card)
            if not (machine and inexact):
                more = "--allow-inexact-resume to go on with numbers that differ a little, " if machine else ""
                raise ConfigError(
                    f"run {self.path} was started with {changes}:\nuse {more}--fresh to start anew, or another --out"
                )
            if not self.finished():
                since = {"after_step": max((step for step, _ in self.checkpoints()), default=0), "changed": changes}
                self.amend({**card, "inexact": [*old.get("inexact", []), since]})
        return "finished" if self.finished() else "unfinished"

    def amend(self, card: Mapping[str, Any]) -> None:
        """Writes the card of the run anew, with something that only playing it could show."""
        assert self._lock is not None, "amend needs the lock"
        write_json(self.card_path, card)

    def finish(self, step: int, images: int, reason: str, **facts: float) -> None:
        """Declares the run finished; everything else must stand by now."""
        write_json(self.finished_path, {"step": step, "images": images, "reason": reason, **facts})

    def _used(self) -> bool:
        return self.card_path.exists() or self.log_path.exists() or bool(self.checkpoints())

    def _set_aside(self) -> None:
        home = Path(os.path.abspath(self.path))
        numbered = (home.with_name(f"{home.name}-{number}") for number in itertools.count(1))
        aside = next(path for path in numbered if not os.path.lexists(path))
        held, self._lock = self._lock, None
        assert held is not None
        try:
            with explained(aside):
                os.rename(home, aside)
                sync_folder(home.parent)
            # The lock went with the old folder; the new one has a lock of its own, and another process may be first.
            self.acquire()
        finally:
            lock.release(held)

    # --- what it says of itself ---------------------------------------------------------------------------------------

    def read_card(self) -> dict[str, Any]:
        """The content of card.json, with current names. Raises DataError where the file is missing or damaged."""
        with checkpoint.judged(self.card_path):
            return migration.card(checkpoint.json_object(self.card_path.read_text("utf-8")), self.card_path)

    def read_held_out(self) -> tuple[dict[str, Any], ...]:
        """The records of held_out.json; none where there is no such file. Raises DataError where it is damaged."""
        path = self.held_out_path
        if not path.exists():
            return ()
        with checkpoint.judged(path):
            records = checkpoint.json_object(path.read_text("utf-8"))["metrics"]
            return tuple(migration.record(dict(line), path) for line in records)

    def finished(self) -> dict[str, Any] | None:
        """What `finish` was told, or None for a run that has not reached its end."""
        if not self.finished_path.exists():
            return None
        with checkpoint.judged(self.finished_path):
            return checkpoint.json_object(self.finished_path.read_text("utf-8"))

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def checkpoint_path(self, step: int) -> Path:
        return self.checkpoints_path / f"{step:09d}.safetensors"

    def checkpoints(self) -> list[tuple[int, Path]]:
        """Steps and files in the order of the steps; whether they are valid is not looked at."""
        return [(step, path) for step, path in _by_step(self.checkpoints_path) if path.suffix == ".safetensors"]

    def save_checkpoint(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        card: Mapping[str, Any],
        keep: int = 2,
        best: int | None = None,
    ) -> Path:
        """Writes a checkpoint whose card also says its step; once it stands, all but the newest `keep` go.

        That of step `best` stays, too. Those of later steps go: a run that is at `step` passed them over because they
        are damaged.
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
        """The newest checkpoint that proves to be whole; None where there is none at all.

        Raises DataError where there are some and all are damaged, StorageError where the system refuses to read one.
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
                "use --fresh to start anew, or another --out"
            )
        return None

    # --- lines and grids ----------------------------------------------------------------------------------------------

    def log(self, line: Mapping[str, Any]) -> None:
        """Appends to log.jsonl; NaN and infinity, which JSON has not, become null."""
        append_line(self.log_path, json.dumps(nulled(line)))

    def metric(self, *lines: Mapping[str, Any]) -> None:
        """Appends to metrics.jsonl, durably: these lines are few, and the best generator is found by them.

        The lines of one evaluation go in one write, so that none stands without the others.
        """
        append_line(self.metrics_path, "\n".join(json.dumps(nulled(line)) for line in lines), sync=True)

    def sample_path(self, step: int, suffix: str = ".png") -> Path:
        return self.samples_path / f"{step:09d}{suffix}"

    def samples(self) -> list[Path]:
        """The sample grids in the order of their steps."""
        return [path for _, path in _by_step(self.samples_path)]

    def cut_logs(self, step: int) -> None:
        """Removes the lines of later steps, and what a kill or a loss of power tore, from the log and the metrics.

        A run that has no checkpoint yet starts over: it cuts at -1.
        """
        for path in (self.log_path, self.metrics_path):
            kept = b"".join(text + b"\n" for line, text in _lines(path) if line["step"] <= step)
            if path.exists() and path.read_bytes() != kept:
                write_bytes(path, kept)

    def cut_samples(self, step: int) -> None:
        """Removes the grids of later steps; the run draws them again, bit for bit."""
        for other, path in _by_step(self.samples_path):
            if other > step:
                with explained(path):
                    path.unlink()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log.jsonl or metrics.jsonl that are whole; none where there is no file."""
    return [migration.record(line, path) if "name" in line else line for line, _ in _lines(path)]


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    with checkpoint.judged(path):
        texts = path.read_bytes().split(b"\n") if path.exists() else []
    for text in texts:
        try:
            line = json.loads(text)
        except ValueError:  # torn, or the nothing after the last line
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            yield line, text


def nulled(value: Any) -> Any:
    """The value with null in place of NaN and infinity, which JSON has not."""
    if isinstance(value, Mapping):
        return {key: nulled(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [nulled(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _by_step(folder: Path) -> list[tuple[int, Path]]:
    """By number, since by name step 1,000,000,000 comes before 999,999,999."""
    found = ((_STEP.fullmatch(path.name), path) for path in folder.glob("*"))
    return sorted((int(match[1]), path) for match, path in found if match)
