"""The loop of the founding article: initialise, train D, train G, evaluate, repeat until good enough.

Whatever falls due at a step is done when the step is reached and is looked for again on resume, so a run that was cut
anywhere continues to the same files as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunFolder, read_lines
from aigc_zoo.data import writers
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.engine.trainer import Trainer, parameters_of
from aigc_zoo.errors import ConfigError, DivergedError
from aigc_zoo.metrics.evaluate import Judge
from aigc_zoo.metrics.features import load_extractor
from aigc_zoo.metrics.fidelity import library
from aigc_zoo.run.export import save_generator
from aigc_zoo.run.fitting import too_large
from aigc_zoo.run.monitor import EVALUATION_SEED, Target, best_of, evaluation_seed, judged, parse_target
from aigc_zoo.run.prepare import Prepared
from aigc_zoo.run.screen import Result, Screen
from aigc_zoo.run.signals import Stop


def train(
    prepared: Prepared,
    folder: Path,
    *,
    fresh: bool = False,
    screen: Screen | None = None,
    stop: Stop | None = None,
) -> Result:
    """Plays a prepared run to its end, its target or a stop, in `folder`; an unfinished run there is continued.

    Raises LockedError, ConfigError for another configuration's folder, DivergedError, StorageError.
    """
    screen = Screen() if screen is None else screen
    stop = Stop() if stop is None else stop
    home = RunFolder(folder)
    if home.card_path.exists() and not fresh:
        prepared = prepared.keeping(home.read_card())
    run = _Run(prepared, home, screen, stop)  # what does not fit is said before anything is written
    if not prepared.ranks.first:
        prepared.ranks.wait()
        return run.play()
    with home:
        if home.begin(run.card, fresh=fresh) == "finished":
            return _finished(home)
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


class _Run:
    """One run while it is played."""

    def __init__(self, prepared: Prepared, home: RunFolder, screen: Screen, stop: Stop) -> None:
        self.prepared, self.home, self.screen, self.stop = prepared, home, screen, stop
        self.ranks, self.first = prepared.ranks, prepared.ranks.first
        self.trainer: Trainer = prepared.trainer()
        self.card = prepared.card(self.trainer.engine.choice)
        self.seconds = 0.0
        self.saved = -1
        self.history: list[dict[str, Any]] = []
        self.terms: Mapping[str, Tensor] = {}
        self.judge = self._judge()
        until = prepared.configuration.run.get("until")
        self.target: Target | None = parse_target(str(until), self._metric_names()) if until else None

    # --- the loop ----------------------------------------------------------------------------------------------------

    def play(self) -> Result:
        trainer, cadence, catalogue = self.trainer, self.prepared.cadence, self.prepared.catalogue
        self._resume()
        if self.first:
            sizes = {name: parameters_of(net) for name, net in trainer.nets.items()}
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
            terms = self.trainer.play()
        while self.trainer.notes:
            self.screen.say(self.trainer.notes.pop(0))
        choice = self.trainer.engine.choice
        if choice.name != self.card["engine"]:  # a step proved that it cannot be recorded
            self.card = self.prepared.card(choice)
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
        reached = False
        if self.judge is not None and (step % c.eval == 0 or self._at_end()) and not self._stopped():
            self._evaluate()
            measured = {r["name"]: float(r["value"]) for r in self.history if r["step"] == step}
            reached = self.ranks.any(self.target is not None and self.target.met_by(measured))
        if step and (step % c.save == 0 or self._at_end() or reached) and step != self.saved:
            self._save()
        return reached

    # --- what falls due ----------------------------------------------------------------------------------------------

    def _log(self, images: int, seconds: float) -> None:
        names = sorted(self.terms)
        values = torch.stack([self.terms[name].double() for name in names])
        (mean,) = self.ranks.average([values])
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
            self.home.log(line)
            self.screen.log(line)
            self.prepared.catalogue.listen("zoo_log", run=self.home.path, step=self.trainer.step, scalars=terms)

    def _grid(self) -> None:
        path = self.home.sample_path(self.trainer.step, writers.suffix(self.trainer.spec))
        if self.first and not path.exists():
            made = self._sampler(self.prepared.seed).samples(writers.shown(self.trainer.spec))
            writers.save_grid(made, self.trainer.spec, path)

    def _sampler(self, seed: int, *, together: bool = False) -> Sampler:
        return self.trainer.sampler(
            together=together,
            seed=seed,
            frequencies=self.prepared.train.frequencies,
            inputs=self.prepared.rows if self.prepared.recipe.inputs else None,
        )

    def _evaluate(self) -> None:
        assert self.judge is not None
        step = self.trainer.step
        if any(record["step"] == step for record in self.history):
            return
        sampler = self._sampler(evaluation_seed(EVALUATION_SEED), together=True)
        chunks = judged(sampler, self.trainer.spec, self.judge.num, self.ranks)
        if not self.first:
            for _ in chunks:
                pass
            return
        weights = "averaged" if len(self.trainer.average) else "raw"
        for record in self.judge.measure(chunks, weights=weights, seed=EVALUATION_SEED):
            line = {"step": step, "images": self.trainer.images, **record}
            best = best_of(self.history, line["name"])
            self.history.append(line)
            self.home.metric(line)
            self.screen.metric(line)
            self.prepared.catalogue.listen(
                "zoo_log", run=self.home.path, step=step, scalars={line["name"]: line["value"]}
            )
            if best is None or line["value"] < best["value"]:
                self._export(self.home.best_path)

    def _save(self) -> None:
        step = self.trainer.step
        tensors, scalars = self.trainer.state()
        if self.first:
            bad = [name for name, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
            if bad:
                raise self._diverged(f"{bad[0]} is not finite at step {step}")
            path = self.home.save_checkpoint(step, tensors, {**scalars, "seconds": self.seconds, "run": self.card})
            self.prepared.catalogue.listen("zoo_checkpoint_saved", run=self.home.path, path=path)
        self.saved = step

    def _export(self, path: Path) -> None:
        save_generator(path, self.trainer, self.card)

    # --- beginnings and ends -----------------------------------------------------------------------------------------

    def _judge(self) -> Judge | None:
        name = self.prepared.extractor
        if not name:
            return None
        run = self.prepared.configuration.run
        weights = run.get("extractor_weights")
        asked = any(run.get(key) for key in ("extractor", "eval_every", "until"))
        try:
            library()
        except ConfigError as error:
            if asked:
                raise
            self.screen.say(f"nothing is measured: {error}")  # training needs no metric
            return None
        extractor = load_extractor(
            self.prepared.catalogue, name, weights=Path(str(weights)) if weights else None, device=self.prepared.device
        )
        num = run.get("eval_num")
        return Judge(extractor, self.prepared.train, num=int(num) if num else None)

    def _metric_names(self) -> tuple[str, ...]:
        return self.judge.names if self.judge is not None else ()

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
        elif (given := self.prepared.configuration.run.get("init")) is not None:
            self._initialise(Path(str(given)))
        if self.first:
            self.home.cut_logs(step)
            self.home.cut_samples(step)
            self.history = read_lines(self.home.metrics_path)
        self.ranks.wait()

    def _initialise(self, path: Path) -> None:
        if path.is_dir():
            found = RunFolder(path).newest_valid()
            if found is None:
                raise ConfigError(f"--init {path}: the folder has no checkpoint")
            tensors = found[0]
        else:
            tensors, card = checkpoint.load(path)
            if card.get("kind") == "generator":
                tensors = {f"nets/{name}": tensor for name, tensor in tensors.items()}
        taken = self.trainer.initialise(tensors)
        if not taken:
            raise ConfigError(f"--init {path}: none of its networks has the names and shapes of this recipe's")
        self.screen.say(f"starts from {path}: {', '.join(taken)}")

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
            self._save()
        return self._result("stopped", signal=self.stop.signal)

    def _finish(self, reason: str) -> Result:
        if self.first:
            self._export(self.home.generator_path)
            grids = [path for path in self.home.samples() if path.suffix == ".png"]
            if grids:
                writers.animate(grids, self.home.animation_path)
            self.home.finish(self.trainer.step, self.trainer.images, reason, seconds=self.seconds)
        return self._result(reason)

    def _result(self, reason: str, signal: int = 0) -> Result:
        return Result(
            folder=self.home.path,
            step=self.trainer.step,
            images=self.trainer.images,
            reason=reason,
            seconds=self.seconds,
            signal=signal,
            **_outcome(self.history),
        )


def _outcome(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The last value of each metric, and the best record of the first one."""
    final = {record["name"]: float(record["value"]) for record in history}
    return {"final": final, "best": best_of(history, next(iter(final))) if final else None}


def _finished(home: RunFolder) -> Result:
    state = home.finished() or {}
    return Result(
        folder=home.path,
        step=state["step"],
        images=state["images"],
        reason=state["reason"],
        seconds=float(state["seconds"]),
        notes=("this run is finished; nothing was done",),
        **_outcome(read_lines(home.metrics_path)),
    )
