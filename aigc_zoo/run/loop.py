"""The training loop: initialise; train the discriminator, train the generator; evaluate; repeat until good enough.

`Trainer.train_step` does the two training parts. A file that is due at a step (log line, sample grid, metrics,
checkpoint) is written when the step is reached, or on resume where it is missing, so that an interrupted run ends with
the same files as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from aigc_zoo import devices
from aigc_zoo.artefacts.cards import units_of
from aigc_zoo.artefacts.resume import RECORDS
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.data import writers
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import count_parameters
from aigc_zoo.metrics.known import installed
from aigc_zoo.run import previews
from aigc_zoo.run.agreement import agree
from aigc_zoo.run.begin import begin_run
from aigc_zoo.run.checkpoints import Checkpoints
from aigc_zoo.run.clock import Clock
from aigc_zoo.run.disk_full import TolerateFullDisk
from aigc_zoo.run.finished import finished
from aigc_zoo.run.generator import save_generator
from aigc_zoo.run.held_out import held_out_split, inputs_of
from aigc_zoo.run.memory import FreeMemory, explain_out_of_memory, require_memory
from aigc_zoo.run.monitor import Monitor, outcome
from aigc_zoo.run.prepare import Prepared
from aigc_zoo.run.progress import Progress, Result
from aigc_zoo.run.signals import Interrupted, Stop
from aigc_zoo.run.terms import LastTerms


def train(
    prepared: Prepared,
    directory: Path,
    *,
    fresh: bool = False,
    inexact: bool = False,
    extend: bool = False,
    allow_low_memory: bool = False,
    progress: Progress | None = None,
    stop: Stop | None = None,
    free: FreeMemory | None = None,
) -> Result:
    """Trains until the last step, the target or a stop, in a run directory; a run in it is resumed.

    `inexact` also resumes a run of another device, number of ranks or threads, or other versions, `extend` one to
    another length on which its steps depend; its card records it. `allow_low_memory` trains although the estimated
    memory exceeds what `free(device)` returns, by default `free_memory`.

    Raises LockedError, ConfigError for the directory of another configuration, DivergedError, StorageError.
    """
    progress = Progress() if progress is None else progress
    stop = Stop() if stop is None else stop
    run_directory = RunDirectory(directory)
    started: list[_Run] = []

    def begin() -> str:
        mine = prepared
        if run_directory.card_path.exists() and not fresh:
            mine = prepared.keeping(run_directory.read_card())
        starts = fresh or not run_directory.checkpoints()
        trains = fresh or run_directory.finished() is None
        check = partial(require_memory, allow_low=allow_low_memory, free=free, say=progress.say) if trains else None
        started.append(_Run(mine, run_directory, progress, stop, starts, check))  # refuses before a file is written
        return started[0].begin(fresh, inexact, extend)

    try:
        if agree(prepared.ranks, prepared.device, begin) == "finished":
            return finished(run_directory, installed(prepared.catalogue))
        return _train_and_tell(started[0]) if prepared.ranks.first else started[0].train()
    finally:
        run_directory.release()


def _train_and_tell(run: _Run) -> Result:
    """Trains on rank 0, whose listeners receive the end of the run."""
    listen, directory = run.prepared.catalogue.listen, run.directory.path
    try:
        result = run.train()
    except BaseException as error:
        listen("zoo_run_end", run=directory, error=error)
        raise
    finally:
        run.progress.close()
    listen("zoo_run_end", run=directory, error=None)
    return result


class _Run:
    """One run: a trainer, and the files that are due while it trains."""

    def __init__(
        self,
        prepared: Prepared,
        directory: RunDirectory,
        progress: Progress,
        stop: Stop,
        starts: bool,
        check_memory: Callable[..., object] | None,
    ) -> None:
        self.prepared, self.directory, self.progress, self.stop = prepared, directory, progress, stop
        self.ranks, self.first = prepared.ranks, prepared.ranks.first
        for note in prepared.train.notes if self.first else ():  # they may say why networks refuse the data
            progress.say(f"note: {note}")
        self.tolerate = TolerateFullDisk(progress.say)
        self.monitor = Monitor(prepared, directory, progress, stop, self.tolerate)
        if check_memory is not None:
            check_memory(prepared, self.monitor.network)
        self.trainer: Trainer = prepared.trainer()
        self.terms = LastTerms(prepared.recipe.players, self.ranks)
        self.checkpoints = Checkpoints(prepared, directory, self.trainer, self.terms)
        self.initialised = self.checkpoints.initialise() if starts else []
        self.card = self._card()
        self.clock = Clock()

    def begin(self, fresh: bool, inexact: bool, extend: bool) -> str:
        """Locks the directory and returns "new", "unfinished" or "finished"; on all ranks but the first, ""."""
        if not self.first:
            return ""
        how = {"fresh": fresh, "inexact": inexact, "extend": extend}
        return begin_run(self.directory, self.card, **how, say=self.progress.say)

    def _card(self) -> dict[str, Any]:
        place = {"directory": str(self.directory.path.resolve())}
        return self.prepared.card(self.trainer.engine.choice, self.trainer.frozen) | place

    # --- the loop ----------------------------------------------------------------------------------------------------

    def train(self) -> Result:
        """Trains until the target is met, the last step is done, or a stop is requested."""
        self._start()
        while True:
            if self._log_is_due():
                self._log()
            if self._anything_is_due():
                self._pause_clock()
                good_enough = self._evaluate_and_save()
                self.clock.start(self.trainer.images)
                if (good_enough or self._at_end()) and not self._stop_requested():
                    return self._finish("target" if good_enough else "done")
            if self._stop_requested():
                return self._stop()
            self._train_step()
            self.progress.step(self.trainer.step, self.trainer.images, self.clock.now())

    def _start(self) -> None:
        """Resumes from the newest intact checkpoint, or starts at step 0, and removes files of later steps."""
        resumed = self.checkpoints.resume()
        if resumed is not None:
            self.clock.seconds, damaged = resumed
            for problem in damaged:
                self.progress.say(f"skipped a damaged checkpoint: {problem}")
        elif self.initialised:
            self.progress.say(f"starts from {self.prepared.settings.init}: {', '.join(self.initialised)}")
        step = self.trainer.step
        agree(self.ranks, self.prepared.device, self._remove_later_files)
        if self.first:
            parameters = {name: count_parameters(net) for name, net in self.trainer.nets.items()}
            self.progress.start(self.directory.path, self.card, step, parameters)
            if note := devices.untested(self.prepared.device):
                self.progress.say(f"note: {note}")
            self.prepared.catalogue.listen("zoo_run_start", run=self.directory.path)
        self.clock.start(self.trainer.images)

    def _remove_later_files(self) -> str:
        if self.first:
            self.directory.cut_logs(self.trainer.step)
            self.directory.cut_samples(self.trainer.step)
            self.monitor.resume(self.trainer.step)
        return ""

    def _train_step(self) -> None:
        with explain_out_of_memory(self.prepared):
            terms = self.trainer.train_step()
        self.terms.record(self.trainer.step, terms)
        while self.trainer.notes:
            self.progress.say(self.trainer.notes.pop(0))
        choice = self.trainer.engine.choice
        if choice.name != self.card["engine"]:  # the first steps showed that they cannot be recorded as a graph
            kept = {key: value for key, value in self.card.items() if key in (*RECORDS, "files", "data")}
            self.card = {**self._card(), **kept}
            if self.first:
                self.progress.say(f"continues with engine {choice.name}: {choice.why}")
                self.directory.amend(self.card)

    def _at_end(self) -> bool:
        return self.trainer.step >= self.trainer.steps

    def _stop_requested(self) -> bool:
        # Several ranks agree by a collective operation, so they ask every few steps only.
        return self.ranks.any(bool(self.stop)) if self.ranks.world == 1 or self.trainer.step % 8 == 0 else False

    def _log_is_due(self) -> bool:
        step = self.trainer.step
        return self.terms.trained and (step % self.prepared.cadence.log == 0 or self._at_end())

    def _anything_is_due(self) -> bool:
        step, cadence = self.trainer.step, self.prepared.cadence
        return self._at_end() or any(step % every == 0 for every in (cadence.sample, cadence.eval, cadence.save))

    def _pause_clock(self) -> None:
        """Counts the training time so far, up to the last operation on the device."""
        self.checkpoints.check_finite()
        devices.synchronize(self.trainer.device)
        self.clock.lap(self.trainer.images)

    # --- files that are due ------------------------------------------------------------------------------------------

    def _log(self) -> None:
        self.checkpoints.check_finite()
        images, seconds = self.clock.lap(self.trainer.images)
        step, every = self.trainer.step, self.prepared.cadence.log
        since = (step - 1) // every * every  # the step of the line before
        found = self.terms.at(step, since)
        if not found:
            return
        terms = {name: value for name, (_, value) in found.items()}
        line = {
            "step": step,
            "images": self.trainer.images,
            "seconds": round(self.clock.seconds, 3),
            "images_per_second": round(images / max(seconds, 1e-9), 1),
            "terms": terms,
            "term_steps": {name: computed for name, (computed, _) in found.items()},
        }
        if self.first:
            with self.tolerate("log line"):
                self.directory.log(line)
            self.progress.log(line)
            new = {name: value for name, value in terms.items() if found[name][0] > since}
            self.monitor.warn_of_terms(step, new)
            self.prepared.catalogue.listen("zoo_log", run=self.directory.path, step=step, scalars=new)

    def _evaluate_and_save(self) -> bool:
        """Writes sample grid, metrics and checkpoint where they are due and missing. True where the target is met."""
        step, cadence = self.trainer.step, self.prepared.cadence
        if step % cadence.sample == 0 or self._at_end():
            self._save_sample_grid()
        target_met = best = False
        evaluation_is_due = step % cadence.eval == 0 or self._at_end()
        if self.monitor.evaluator is not None and evaluation_is_due and not self._stop_requested():
            try:
                self.monitor.evaluate(self.trainer, self.card)
            except Interrupted:  # what is due now is due again when the run is resumed
                return False
            target_met = self.ranks.any(self.monitor.target_met())
            best = self.ranks.any(self.monitor.best_step == step)
        last = self._at_end() or target_met
        if step and (step % cadence.save == 0 or best or last) and step != self.checkpoints.saved_step:
            self.save_checkpoint(last=last)
        return target_met

    def _save_sample_grid(self) -> None:
        path = self.directory.sample_path(self.trainer.step)
        if self.first and not path.exists():
            split = held_out_split(self.prepared.splits) or self.prepared.train
            inputs = inputs_of(self.prepared.recipe, split, self.prepared.device)
            sampler = self.prepared.sampler(self.trainer, self.prepared.settings.seed, inputs=inputs)
            with self.tolerate("sample grid"):
                previews.save(sampler, self.prepared.modality_of, path, self.directory.page_path)

    def save_checkpoint(self, *, last: bool = False) -> None:
        self.checkpoints.save(self.card, self.clock.seconds, self.monitor.best_step, self.tolerate, last=last)

    # --- the end -----------------------------------------------------------------------------------------------------

    def _stop(self) -> Result:
        """Saves the steps since the newest checkpoint after a request to stop."""
        self.checkpoints.check_finite()
        if self.trainer.step and self.trainer.step != self.checkpoints.saved_step:
            self.save_checkpoint(last=True)
        return self._result("stopped", signal=self.stop.signal)

    def _finish(self, reason: str) -> Result:
        """Writes the final generator, the held-out evaluation and the animation of the sample grids."""
        if self.first:
            save_generator(self.directory.generator_path, self.trainer, self.card)
            try:
                self.monitor.evaluate_held_out()
            except Interrupted:
                return self._stop()
            grids = self.directory.previews()
            if grids:
                writers.animate(grids, self.directory.animation_path)
            self.directory.finish(self.trainer.step, self.trainer.images, reason, seconds=self.clock.seconds)
        return self._result(reason)

    def _result(self, reason: str, signal: int = 0) -> Result:
        return Result(
            folder=self.directory.path,
            step=self.trainer.step,
            images=self.trainer.images,
            reason=reason,
            seconds=self.clock.seconds,
            signal=signal,
            units=units_of(self.card),
            **outcome(self.monitor.history, self.directory.read_held_out(), self.monitor.metrics),
        )
