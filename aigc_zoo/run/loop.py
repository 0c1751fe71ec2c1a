"""The loop of the founding article: initialise, train D, train G, evaluate, repeat until good enough.

Whatever falls due at a step is done when the step is reached and is looked for again on resume, so a run that was cut
anywhere continues to the same files as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.data import writers
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError, DivergedError
from aigc_zoo.game import count_parameters
from aigc_zoo.metrics.evaluate import Evaluator
from aigc_zoo.metrics.features import coordinates, load_extractor
from aigc_zoo.metrics.fidelity import library
from aigc_zoo.metrics.kinds import groups_of, modes_of
from aigc_zoo.run.disk_full import Patience
from aigc_zoo.run.evaluate import HELD_OUT
from aigc_zoo.run.generator import save_generator
from aigc_zoo.run.held_out import judge_ends, read_held_out
from aigc_zoo.run.memory import too_large
from aigc_zoo.run.monitor import EVALUATION_SEED, Target, Watch, best_of, evaluation_seed, looked, parse_target
from aigc_zoo.run.prepare import Prepared
from aigc_zoo.run.progress import Result, Screen
from aigc_zoo.run.signals import Interrupted, Stop


def train(
    prepared: Prepared,
    folder: Path,
    *,
    fresh: bool = False,
    inexact: bool = False,
    screen: Screen | None = None,
    stop: Stop | None = None,
) -> Result:
    """Plays a prepared run to its end, its target or a stop, in `folder`; an unfinished run there is continued.

    With `inexact` also one of another device, number of ranks or threads, or of other versions: its card says so.

    Raises LockedError, ConfigError for another configuration's folder, DivergedError, StorageError.
    """
    screen = Screen() if screen is None else screen
    stop = Stop() if stop is None else stop
    home = RunDirectory(folder)
    if home.card_path.exists() and not fresh:
        prepared = prepared.keeping(home.read_card())
    begins = fresh or not home.checkpoints()
    run = _Run(prepared, home, screen, stop, begins)  # what does not fit is said before anything is written
    if not prepared.ranks.first:
        prepared.ranks.wait()
        return run.play()
    with home:
        if home.begin(run.card, fresh=fresh, inexact=inexact) == "finished":
            return _finished(home)
        run.inexact(home.read_card().get("inexact", []))
        prepared.ranks.wait()
        try:
            result = run.play()
        except BaseException as error:
            prepared.catalogue.listen("zoo_run_end", run=folder, error=error)
            raise
        finally:
            screen.close()
        prepared.catalogue.listen("zoo_run_end", run=folder, error=None)
        return result


METRICS = ("fid", "variance-ratio", "duplicates", "modes")
"""Measured while training unless said: the first chooses the best, the others cost little and tell collapse."""

POINTS_METRICS = ("modes", "variance-ratio", "duplicates")


class _Run:
    """One run while it is played."""

    def __init__(self, prepared: Prepared, home: RunDirectory, screen: Screen, stop: Stop, begins: bool) -> None:
        self.prepared, self.home, self.screen, self.stop = prepared, home, screen, stop
        self.ranks, self.first = prepared.ranks, prepared.ranks.first
        self.trainer: Trainer = prepared.trainer()
        beginning = self._beginning() if begins else None
        self.taken = self._initialise(beginning) if beginning is not None else []
        self.card = prepared.card(self.trainer.engine.choice)
        self.seconds = 0.0
        self.saved = -1
        self.history: list[dict[str, Any]] = []
        self.terms: Mapping[str, Tensor] = {}
        self.patience = Patience(screen.say)
        self.evaluator = self._judge()
        self.watch = Watch()
        until = prepared.configuration.run.get("until")
        self.target: Target | None = parse_target(str(until), self._metric_names()) if until else None

    def inexact(self, since: list[dict[str, Any]]) -> None:
        """Where the run went on on another machine: in its card from now on."""
        if since:
            self.card["inexact"] = since
            self.screen.say(f"inexact since step {since[-1]['after_step']:,}: {since[-1]['changed']}")

    # --- the loop ----------------------------------------------------------------------------------------------------

    def play(self) -> Result:
        trainer, cadence, catalogue = self.trainer, self.prepared.cadence, self.prepared.catalogue
        self._resume()
        if self.first:
            sizes = {name: count_parameters(net) for name, net in trainer.nets.items()}
            self.screen.start(self.home.path, self.card, trainer.step, sizes)
            catalogue.listen("zoo_run_start", run=self.home.path)
        since, mark = trainer.images, time.perf_counter()
        while True:
            if trainer.step and (trainer.step % cadence.log == 0 or self._at_end()) and self.terms:
                self._check()
                now = time.perf_counter()
                self.seconds += now - mark
                self._log(trainer.images - since, now - mark)
                since, mark = trainer.images, now
            if self._due():
                self._check()
                self._wait_for_device()
                self.seconds += time.perf_counter() - mark  # training time leaves out what follows
                reached = self._look()
                mark, since = time.perf_counter(), trainer.images
                if (reached or self._at_end()) and not self._stopped():
                    return self._finish("target" if reached else "done")
            if self._stopped():
                return self._leave()
            self.terms = self._step()
            self.screen.step(trainer.step, trainer.images)

    def _step(self) -> Mapping[str, Tensor]:
        with too_large(self.prepared):
            terms = self.trainer.train_step()
        while self.trainer.notes:
            self.screen.say(self.trainer.notes.pop(0))
        choice = self.trainer.engine.choice
        if choice.name != self.card["engine"]:  # a step proved that it cannot be recorded
            self.card = {**self.prepared.card(choice), **{k: v for k, v in self.card.items() if k == "inexact"}}
            if self.first:
                self.screen.say(f"goes on with engine {choice.name}: {choice.why}")
                self.home.amend(self.card)
        return terms

    def _at_end(self) -> bool:
        return self.trainer.step >= self.trainer.steps

    def _stopped(self) -> bool:
        # With ranks, asking costs a collective, so they ask now and then.
        return self.ranks.any(bool(self.stop)) if self.ranks.world == 1 or self.trainer.step % 8 == 0 else False

    def _due(self) -> bool:
        step, c = self.trainer.step, self.prepared.cadence
        return self._at_end() or any(step % every == 0 for every in (c.sample, c.eval, c.save))

    def _look(self) -> bool:
        """Grid, metrics, checkpoint, each where it falls due and is not there. Returns whether the target is met."""
        step, c = self.trainer.step, self.prepared.cadence
        if step % c.sample == 0 or self._at_end():
            self._grid()
        reached = best = False
        if self.evaluator is not None and (step % c.eval == 0 or self._at_end()) and not self._stopped():
            try:
                self._evaluate()
            except Interrupted:  # what is due now is due again when the run continues
                return False
            measured = {r["name"]: float(r["value"]) for r in self.history if r["step"] == step}
            reached = self.ranks.any(self.target is not None and self.target.met_by(measured))
            best = self.ranks.any(self._best_step() == step)
        last = self._at_end() or reached
        if step and (step % c.save == 0 or best or last) and step != self.saved:
            self._save(last=last)
        return reached

    # --- what falls due ----------------------------------------------------------------------------------------------

    def _log(self, images: int, seconds: float) -> None:
        names = sorted(self.terms)
        values = torch.stack([self.terms[name].double() for name in names])
        (mean,) = self.ranks.all_reduce_mean([values])
        assert mean is not None
        terms = dict(zip(names, mean.tolist(), strict=True))
        line = {
            "step": self.trainer.step,
            "images": self.trainer.images,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(images / max(seconds, 1e-9), 1),
            "terms": terms,
        }
        if self.first:
            with self.patience("line of the log"):
                self.home.log(line)
            self.screen.log(line)
            for text in self.watch.terms(terms):
                self.screen.say(f"step {self.trainer.step:,}: {text}")
            self.prepared.catalogue.listen("zoo_log", run=self.home.path, step=self.trainer.step, scalars=terms)

    def _grid(self) -> None:
        path = self.home.sample_path(self.trainer.step, writers.suffix(self.trainer.spec))
        if self.first and not path.exists():
            made = self._sampler(self.prepared.seed).samples(writers.shown(self.trainer.spec))
            with self.patience("grid"):
                writers.save_grid(made, self.trainer.spec, path)

    def _sampler(self, seed: int, *, together: bool = False) -> Sampler:
        return self.trainer.sampler(
            together=together,
            seed=seed,
            frequencies=self.prepared.train.frequencies,
            inputs=self.prepared.rows if self.prepared.recipe.inputs else None,
        )

    def _evaluate(self) -> None:
        assert self.evaluator is not None
        step = self.trainer.step
        if any(record["step"] == step for record in self.history):
            return
        sampler = self._sampler(evaluation_seed(EVALUATION_SEED), together=True)
        seen = looked(sampler, self.evaluator, self.ranks)
        if not self.first:
            return
        weights = "averaged" if len(self.trainer.ema) else "raw"
        records = self.evaluator.score(seen, weights=weights, seed=EVALUATION_SEED)
        lines = [{"step": step, "images": self.trainer.images, **record} for record in records]
        self.history += lines
        with self.patience("line of the metrics"):
            self.home.metric(*lines)
        self.screen.metric(lines[0])
        values = {line["name"]: line["value"] for line in lines}
        self.prepared.catalogue.listen("zoo_log", run=self.home.path, step=step, scalars=values)
        if best_of(self.history, self.evaluator.names[0]) is lines[0]:
            with self.patience("best generator"):
                self._export(self.home.best_path)
        if step:  # what an untrained generator makes is no news
            for text in self.watch.samples(values, modes_of(lines)):
                self.screen.say(f"step {step:,}: {text}")

    def _best_step(self) -> int | None:
        """Where the first metric was best so far."""
        best = best_of(self.history, self.history[0]["name"]) if self.history else None
        return None if best is None else int(best["step"])

    def _save(self, *, last: bool = False) -> None:
        """A checkpoint. One that cannot be saved is told, and the next is waited for, but not at the `last` chance."""
        step = self.trainer.step
        tensors, scalars = self.trainer.state()
        saved = False
        if self.first:
            bad = [name for name, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
            if bad:
                raise self._diverged(f"{bad[0]} is not finite at step {step}")
            card = {**scalars, "seconds": self.seconds, "run": self.card}
            keep = int(self.prepared.configuration.run.get("keep") or 2)
            with nullcontext() if last else self.patience("checkpoint", essential=True):
                path = self.home.save_checkpoint(step, tensors, card, keep, self._best_step())
                saved = True
                self.prepared.catalogue.listen("zoo_checkpoint_saved", run=self.home.path, path=path)
        if self.ranks.any(saved):
            self.saved = step

    def _export(self, path: Path) -> None:
        save_generator(path, self.trainer, self.card)

    # --- beginnings and ends -----------------------------------------------------------------------------------------

    def _judge(self) -> Evaluator | None:
        name, run = self.prepared.extractor, self.prepared.configuration.run
        points = self.prepared.train.spec.modality == "points"
        if not (name or points):
            return None
        asked = any(run.get(key) for key in ("extractor", "eval_every", "until", "metrics"))
        try:
            library()
        except ConfigError as error:
            if asked:
                raise
            self.screen.say(f"nothing is measured: {error}")  # training needs no metric
            return None
        if points and not name:
            extractor = coordinates()
        else:
            weights = run.get("extractor_weights")
            file = Path(str(weights)) if weights else None
            extractor = load_extractor(self.prepared.catalogue, name, weights=file, device=self.prepared.device)
            if extractor.note:
                self.screen.say(f"note: {extractor.note}")
        num = run.get("eval_num")
        many = int(num) if num else None
        evaluator = Evaluator(extractor, self.prepared.train, metrics=(), num=many, progress=self._poll)
        if run.get("metrics"):
            evaluator.choose(groups_of(str(run["metrics"]).split(",")))
        else:
            groups = POINTS_METRICS if points else METRICS
            evaluator.choose([group for group in groups if not evaluator.unavailable_reason(group)])
        return evaluator if evaluator.metrics else None

    def _poll(self, what: str, done: int, total: int) -> None:
        """Measuring can take an hour. Ranks that measure together finish it, or some would wait for the others."""
        if self.stop and self.ranks.world == 1:
            raise Interrupted

    def _metric_names(self) -> tuple[str, ...]:
        return self.evaluator.names if self.evaluator is not None else ()

    def _resume(self) -> None:
        """Continues from the newest checkpoint that is whole; a run without one starts anew."""
        found = self.home.newest_valid()
        step = 0
        if found is not None:
            tensors, scalars, skipped = found
            for name in skipped:
                self.screen.say(f"skipped {name}: it is damaged")
            self.trainer.load(tensors, scalars)
            self.seconds = float(scalars["seconds"])
            self.saved = step = self.trainer.step
        elif self.taken:
            self.screen.say(f"starts from {self.prepared.configuration.run.get('init')}: {', '.join(self.taken)}")
        if self.first:
            self.home.cut_logs(step)
            self.home.cut_samples(step)
            self.history = read_lines(self.home.metrics_path)
        self.ranks.wait()

    def _beginning(self) -> Mapping[str, Tensor] | None:
        """The tensors of `--init`, read before anything is written."""
        given = self.prepared.configuration.run.get("init")
        if given is None:
            return None
        path = Path(str(given))
        if path.is_dir():
            found = RunDirectory(path).newest_valid()
            if found is None:
                raise ConfigError(f"--init {path}: the folder has no checkpoint")
            return found.tensors
        tensors, card = checkpoint.load(path)
        return {f"nets/{name}": t for name, t in tensors.items()} if card.get("kind") == "generator" else tensors

    def _initialise(self, tensors: Mapping[str, Tensor]) -> list[str]:
        taken = self.trainer.initialise(tensors)
        if not taken:
            path = self.prepared.configuration.run.get("init")
            raise ConfigError(f"--init {path}: none of its networks has the names and shapes of this recipe's")
        return taken

    def _check(self) -> None:
        what = self.trainer.diverged()
        if what is not None:
            raise self._diverged(what)

    def _diverged(self, what: str) -> DivergedError:
        kept = (
            f"the checkpoint of step {self.saved} is whole" if self.saved > 0 else "no checkpoint was saved before it"
        )
        return DivergedError(
            f"training diverged: {what}; {kept}\n"
            "try a lower learning rate, a penalty (--penalty) or another --seed, in a new folder (--out)"
        )

    def _wait_for_device(self) -> None:
        if self.trainer.device.type == "cuda":
            torch.cuda.synchronize()

    def _leave(self) -> Result:
        """Somebody asked to stop: what was played is saved first."""
        self._check()
        if self.trainer.step and self.trainer.step != self.saved:
            self._save(last=True)
        return self._result("stopped", signal=self.stop.signal)

    def _finish(self, reason: str) -> Result:
        if self.first:
            self._export(self.home.generator_path)
            try:
                self._judge_ends()
            except Interrupted:
                return self._leave()
            grids = [path for path in self.home.samples() if path.suffix == ".png"]
            if grids:
                writers.animate(grids, self.home.animation_path)
            self.home.finish(self.trainer.step, self.trainer.images, reason, seconds=self.seconds)
        return self._result(reason)

    def _judge_ends(self) -> None:
        """The final and the best generator against what was not trained on, where there is such a split."""
        split = next((self.prepared.splits[name] for name in HELD_OUT if name in self.prepared.splits), None)
        if self.evaluator is None or split is None or not self.history:
            return
        inputs = self.prepared.rows if self.prepared.recipe.inputs else None
        text = judge_ends(self.prepared.catalogue, self.home, self.evaluator, split, self.history, inputs)
        if text:
            self.screen.say(text)

    def _result(self, reason: str, signal: int = 0) -> Result:
        return Result(
            folder=self.home.path,
            step=self.trainer.step,
            images=self.trainer.images,
            reason=reason,
            seconds=self.seconds,
            signal=signal,
            held_out=read_held_out(self.home),
            **_outcome(self.history),
        )


def _outcome(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The last value of each metric, and the best record of the first one."""
    final = {record["name"]: float(record["value"]) for record in history if record["value"] is not None}
    return {"final": final, "best": best_of(history, next(iter(final))) if final else None}


def _finished(home: RunDirectory) -> Result:
    state = home.finished() or {}
    return Result(
        folder=home.path,
        step=state["step"],
        images=state["images"],
        reason=state["reason"],
        seconds=float(state["seconds"]),
        notes=("this run is finished; nothing was done",),
        held_out=read_held_out(home),
        **_outcome(read_lines(home.metrics_path)),
    )
