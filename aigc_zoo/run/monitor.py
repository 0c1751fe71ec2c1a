"""Evaluations during training: metrics, their history, the best step, the target that ends a run, and warnings."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError, DataError, UsageError
from aigc_zoo.metrics.choice import choose_extractor, coarse_note, nothing_measured
from aigc_zoo.metrics.evaluate import Evaluator
from aigc_zoo.metrics.known import Known, Metrics, installed
from aigc_zoo.run.default_metrics import training_metrics
from aigc_zoo.run.disk_full import TolerateFullDisk
from aigc_zoo.run.evaluation_samples import EVALUATION_SEED, distributed_samples, entries_of, evaluation_seed
from aigc_zoo.run.generator import save_generator
from aigc_zoo.run.held_out import evaluate_held_out, held_out_split
from aigc_zoo.run.prepare import Prepared
from aigc_zoo.run.progress import Progress
from aigc_zoo.run.shared_extractor import marked, warning
from aigc_zoo.run.signals import Interrupted, Stop

MORE_SAMPLES = "use a larger --eval-num"
REQUESTS = ("until", "eval_every", "eval_num")
"""Settings that request a measurement, beside `metrics`."""

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip
_TARGET = re.compile(r"\s*([a-z][a-z0-9/_-]*)\s*(<=|<|>=|>)\s*([0-9.eE+-]+)\s*")


@dataclass(frozen=True)
class Target:
    """`--until "fid<=X"`: the value that ends training. A metric without an extractor's name is the run's own."""

    metric: str
    comparison: str
    value: float

    def met_by(self, metrics: Mapping[str, float]) -> bool:
        return any(
            _COMPARE[self.comparison](value, self.value)
            for name, value in metrics.items()
            if name == self.metric or name.startswith(f"{self.metric}-")
        )

    def __str__(self) -> str:
        return f"{self.metric}{self.comparison}{self.value:g}"


def parse_target(text: str, names: tuple[str, ...], metrics: Metrics, note: str = "") -> Target:
    """The target of `--until`, for one of the metrics `names` that this run measures; `note` says how to measure more.

    Raises UsageError.
    """
    found = _TARGET.fullmatch(text)
    known = sorted({*names, *map(metrics.short_name, names)})
    try:
        if found and found[1] in known:
            return Target(found[1], found[2], float(found[3]))
    except ValueError:
        found = None
    if not names:
        raise UsageError(f'--until "{text}": this run measures nothing; choose an extractor with --extractor')
    reason = f"{found[1]} is not measured" if found else "not a comparison of a metric with a number"
    own = metrics.short_name(names[0])
    hint = f"\n{note}" if note else ""
    raise UsageError(f'--until "{text}": {reason}; for example --until "{own}<=5" (measured: {", ".join(names)}){hint}')


class Monitor:
    """Evaluates the generator of a run, and says when the run is good enough.

    evaluator: None where nothing can be measured
    history: the records of metrics.jsonl, on rank 0; empty on the other ranks
    """

    def __init__(
        self, prepared: Prepared, directory: RunDirectory, progress: Progress, stop: Stop, tolerate: TolerateFullDisk
    ) -> None:
        self.prepared, self.directory, self.progress = prepared, directory, progress
        self.stop, self.tolerate = stop, tolerate
        self.history: list[dict[str, Any]] = []
        self.metrics = installed(prepared.catalogue)
        self.warnings = TrainingWarnings(self.metrics)
        self.step = 0
        self._told = False
        self.evaluator = self._evaluator()
        until = prepared.settings.until
        names = self.evaluator.names if self.evaluator is not None else ()
        self.target = parse_target(until, names, self.metrics, self._hint(until)) if until else None

    @property
    def network(self) -> nn.Module | None:
        """The network that computes features; None where nothing is measured."""
        extractor = None if self.evaluator is None else self.evaluator.extractor
        return None if extractor is None else extractor.module

    def resume(self, step: int) -> None:
        """Reads the history of a run that resumes at `step`."""
        self.step, self.history = step, read_lines(self.directory.metrics_path)

    def evaluate(self, trainer: Trainer, card: Mapping[str, Any]) -> None:
        """Measures the generator, keeps the best one, and warns of collapse. Every rank must call it.

        An evaluation that the history already has is not repeated. Raises Interrupted after a request to stop.
        """
        self.step = trainer.step
        if self.evaluator is None or any(record["step"] == self.step for record in self.history):
            return
        sampler = self.prepared.sampler(trainer, evaluation_seed(EVALUATION_SEED), synchronize=True)
        generated = distributed_samples(sampler, self.evaluator, self.prepared.ranks)
        if not self.prepared.ranks.first:
            return
        weights = "averaged" if len(trainer.ema) else "raw"
        records = marked(self.evaluator.score(generated, weights=weights, seed=EVALUATION_SEED), card)
        if not self._told and (text := warning((one.id for one in self.evaluator.extractors), card)):
            self._told = True
            self.progress.say(f"note: {text}")
        lines = [{"step": self.step, "images": trainer.images, **record} for record in records]
        self.history += lines
        with self.tolerate("line of metrics"):
            self.directory.metric(*lines)
        self.progress.metric(lines[0])
        values = {line["name"]: line["value"] for line in lines}
        self.prepared.catalogue.listen("zoo_log", run=self.directory.path, step=self.step, scalars=values)
        if self._best(self.evaluator.names[0]) is lines[0]:
            with self.tolerate("best generator"):
                save_generator(self.directory.best_path, trainer, card)
        if self.step:  # an untrained generator always looks collapsed
            self._say(self.warnings.of_samples(lines))

    def warn_of_terms(self, step: int, terms: Mapping[str, float]) -> None:
        """Warns where the logged losses show that a player has stopped learning."""
        self.step = step
        self._say(self.warnings.of_terms(terms))

    def target_met(self) -> bool:
        """True where the evaluation of the current step meets the target of `--until`."""
        records = [record for record in self.history if record["step"] == self.step and record["value"] is not None]
        values = {record["name"]: float(record["value"]) for record in records}
        return self.target is not None and self.target.met_by(values)

    @property
    def best_step(self) -> int | None:
        """The step with the best value of the first metric so far."""
        best = self._best(self.history[0]["name"]) if self.history else None
        return None if best is None else int(best["step"])

    def evaluate_held_out(self) -> None:
        """Compares the final and the best generator with the held-out split, where the dataset has one."""
        split = held_out_split(self.prepared.splits)
        if self.evaluator is None or split is None or not self.history:
            return
        best = self._best(self.evaluator.names[0])
        problem = evaluate_held_out(
            self.prepared.catalogue,
            self.directory,
            self.evaluator,
            split,
            self.prepared.device,
            best=None if best is None else int(best["step"]),
            last=max(int(line["step"]) for line in self.history),
        )
        if problem:
            self.progress.say(problem)

    def _best(self, name: str) -> dict[str, Any] | None:
        return best_of(self.history, name, self.metrics)

    def _say(self, texts: Sequence[str]) -> None:
        for text in texts:
            self.progress.say(f"step {self.step:,}: {text}")

    def _evaluator(self) -> Evaluator | None:
        prepared, settings = self.prepared, self.prepared.settings
        weights, device = settings.extractor_weights, prepared.device
        extractor = choose_extractor(
            prepared.catalogue, prepared.train, prepared.extractor, weights=weights, device=device
        )
        evaluator = Evaluator(
            extractor, prepared.train, metrics=(), num=settings.eval_num, allow_few=None, more=MORE_SAMPLES,
            has_entry=entries_of(prepared.recipe, prepared.train, self._untrained), installed=self.metrics,
            progress=self._report_or_interrupt,
        )  # fmt: skip
        requested = settings.metrics
        chosen = (
            self.metrics.named(requested.split(","), prepared.train.spec) if requested else self._default(evaluator)
        )
        if extractor is not None and (note := coarse_note(extractor, bool(requested))):
            self.progress.say(f"note: {note}")
        evaluator.choose(chosen)
        return evaluator if evaluator.metrics else None

    def _untrained(self) -> Sampler:
        """A sampler of untrained networks, which shows what comes with samples."""
        return self.prepared.sampler(self.prepared.trial(self.prepared.batch_size), EVALUATION_SEED)

    def _hint(self, until: str) -> str:
        """How to measure the metric of `--until`, where the data have too few samples for it or no extractor."""
        if self.evaluator is None:
            return ""
        name = re.match(r"\s*([a-z0-9/_-]*)", until)
        metric = next((one.name for one in self._measuring(name[1] if name else "")), "")
        shortage = self.evaluator.shortage(metric) if metric and not self.evaluator.unavailable_reason(metric) else None
        extractor = self.evaluator.extractor
        return shortage[0] if shortage else extractor.note if extractor is not None and extractor.coarse else ""

    def _measuring(self, value: str) -> list[Known]:
        """The metrics that compute a value."""
        found = self.metrics.of_samples(self.prepared.train.spec)
        return [one for one in found if value in (one.name, *(one.full(info.name) for info in one.metric.values))]

    def _default(self, evaluator: Evaluator) -> tuple[str, ...]:
        """The default metrics for which there are enough samples, none where the first cannot be measured for want of a
        library. Raises ConfigError where there is none and one is requested, DataError for too few samples.
        """
        metrics = training_metrics(evaluator)
        requested = self.prepared.requested(*REQUESTS)
        if not metrics:
            if requested:
                raise ConfigError(f"{requested}: {nothing_measured(self.prepared.train)}: leave the option out")
            return ()
        short = {name: shortage for name in metrics if (shortage := evaluator.shortage(name))}
        if len(short) == len(metrics) and requested:
            reason, fix = short[metrics[0]]
            raise DataError(f"{requested}: {reason}\n{fix}")
        for reason, _ in dict.fromkeys(short.values()):
            self.progress.say(f"note: {reason}")
        return tuple(name for name in metrics if name not in short)

    def _report_or_interrupt(self, samples: str, done: int, total: int) -> None:
        """Called during an evaluation, which can take an hour. Several ranks finish it: they wait for one another."""
        if self.stop and self.prepared.ranks.world == 1:
            raise Interrupted
        self.progress.evaluating(self.step, samples, done, total)


def best_of(history: Sequence[dict[str, Any]], name: str, metrics: Metrics) -> dict[str, Any] | None:
    """The record with the best finite value of a metric, the earliest among equal ones; None without a finite value."""
    best: dict[str, Any] | None = None
    for record in history:
        if record["name"] != name or record["value"] is None:
            continue
        if best is None or metrics.improves(name, float(record["value"]), float(best["value"])):
            best = record
    return best


def outcome(
    history: Sequence[dict[str, Any]], held_out: Sequence[Mapping[str, Any]], metrics: Metrics
) -> dict[str, Any]:
    """For a Result: the last value of each metric, the best record of the first one, and warnings of the final samples.

    Only `held_out` has metrics that compare with held-out samples.
    """
    last = {record["name"]: record for record in history if record["value"] is not None}
    final = {name: float(record["value"]) for name, record in last.items()}
    more = [record for record in held_out if record.get("which") == "final" and record["name"] not in last]
    warned = metrics.warnings([*last.values(), *more]) if any(one["step"] for one in last.values()) else {}
    return {
        "final": final,
        "best": best_of(history, next(iter(final)), metrics) if final else None,
        "warnings": tuple(warned.values()),
        "held_out": held_out,
    }


SATURATED_LOSS, LOGIT_MARGIN, SATURATED_LOGS = 0.01, 0.9, 3


class TrainingWarnings:
    """Problems of a run in progress: each is reported once when it appears, and again when it comes back."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._known: set[str] = set()
        self._saturated: dict[str, int] = {}

    def of_samples(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """New warnings of mode collapse and memorization from the records of one evaluation."""
        found = self._metrics.warnings(records)
        new = [text for kind, text in found.items() if kind not in self._known]
        self._known = set(found)
        return new

    def of_terms(self, terms: Mapping[str, float]) -> list[str]:
        """New warnings of saturated discriminators.

        A discriminator is saturated where its loss is nearly 0 and its mean logits of real and fake samples are apart,
        at three logged steps in a row. An unbounded discriminator's loss is minus that distance, so it never is.
        """
        found = []
        for key, loss in terms.items():
            player, _, term = key.rpartition("/")
            margin = terms.get(f"{player}/_real", 0.0) - terms.get(f"{player}/_fake", 0.0)
            if term != "loss":
                continue
            saturated = 0 <= loss < SATURATED_LOSS and margin >= LOGIT_MARGIN
            self._saturated[player] = self._saturated.get(player, 0) + 1 if saturated else 0
            if self._saturated[player] == SATURATED_LOGS:
                found.append(
                    f"saturated: {player} separates real from fake samples almost without error (loss {loss:.2g}), "
                    "so the generator receives hardly any gradient"
                )
        return found
