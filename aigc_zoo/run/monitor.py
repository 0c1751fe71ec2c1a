"""Evaluations during training: metrics, their history, the best step, the target that ends a run, and warnings."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError, DataError, UsageError
from aigc_zoo.metrics.evaluate import Evaluator
from aigc_zoo.metrics.features import Extractor, load_extractor
from aigc_zoo.metrics.fidelity import library
from aigc_zoo.metrics.kinds import GROUPS, groups_of, improves, short_name, warnings
from aigc_zoo.metrics.own_features import PIXELS, no_features, own_features
from aigc_zoo.run.default_metrics import default_metrics
from aigc_zoo.run.disk_full import TolerateFullDisk
from aigc_zoo.run.evaluation_samples import EVALUATION_SEED, distributed_features, evaluation_seed
from aigc_zoo.run.generator import save_generator
from aigc_zoo.run.held_out import evaluate_held_out, held_out_split
from aigc_zoo.run.prepare import Prepared
from aigc_zoo.run.progress import Progress
from aigc_zoo.run.signals import Interrupted, Stop

MORE_SAMPLES = "use a larger --eval-num"
REQUESTS = ("until", "eval_every", "eval_num")
"""Settings that request a measurement, beside `metrics`."""

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip
_TARGET = re.compile(r"\s*([a-z][a-z0-9-]*)\s*(<=|<|>=|>)\s*([0-9.eE+-]+)\s*")


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


def parse_target(text: str, names: tuple[str, ...], note: str = "") -> Target:
    """The target of `--until`, for one of the metrics `names` that this run measures; `note` says how to measure more.

    Raises UsageError.
    """
    found = _TARGET.fullmatch(text)
    known = sorted({*names, *map(short_name, names)})
    try:
        if found and found[1] in known:
            return Target(found[1], found[2], float(found[3]))
    except ValueError:
        found = None
    if not names:
        raise UsageError(f'--until "{text}": this run measures nothing; choose an extractor with --extractor')
    reason = f"{found[1]} is not measured" if found else "not a comparison of a metric with a number"
    own = short_name(names[0])
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
        self.warnings = TrainingWarnings()
        self.step = 0
        self.evaluator = self._evaluator()
        until = prepared.settings.until
        names = self.evaluator.names if self.evaluator is not None else ()
        self.target = parse_target(until, names, self._hint(until)) if until else None

    @property
    def network(self) -> nn.Module | None:
        """The network that computes features; None where nothing is measured."""
        return None if self.evaluator is None else self.evaluator.extractor.module

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
        features = distributed_features(sampler, self.evaluator, self.prepared.ranks)
        if not self.prepared.ranks.first:
            return
        weights = "averaged" if len(trainer.ema) else "raw"
        records = self.evaluator.score(features, weights=weights, seed=EVALUATION_SEED)
        lines = [{"step": self.step, "images": trainer.images, **record} for record in records]
        self.history += lines
        with self.tolerate("line of metrics"):
            self.directory.metric(*lines)
        self.progress.metric(lines[0])
        values = {line["name"]: line["value"] for line in lines}
        self.prepared.catalogue.listen("zoo_log", run=self.directory.path, step=self.step, scalars=values)
        if best_of(self.history, self.evaluator.names[0]) is lines[0]:
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
        best = best_of(self.history, self.history[0]["name"]) if self.history else None
        return None if best is None else int(best["step"])

    def evaluate_held_out(self) -> None:
        """Compares the final and the best generator with the held-out split, where the dataset has one."""
        split = held_out_split(self.prepared.splits)
        if self.evaluator is None or split is None or not self.history:
            return
        best = best_of(self.history, self.evaluator.names[0])
        problem = evaluate_held_out(
            self.prepared.catalogue,
            self.directory,
            self.evaluator,
            split,
            best=None if best is None else int(best["step"]),
            last=max(int(line["step"]) for line in self.history),
        )
        if problem:
            self.progress.say(problem)

    def _say(self, texts: Sequence[str]) -> None:
        for text in texts:
            self.progress.say(f"step {self.step:,}: {text}")

    def _evaluator(self) -> Evaluator | None:
        settings = self.prepared.settings
        extractor = self._extractor()
        if extractor is None:
            return None
        own = not self.prepared.extractor
        evaluator = Evaluator(
            extractor, self.prepared.train, metrics=(), num=settings.eval_num, allow_few=None, more=MORE_SAMPLES,
            progress=self._report_or_interrupt,
        )  # fmt: skip
        if extractor.note and not (own and settings.metrics):
            self.progress.say(f"note: {PIXELS if own else ''}{extractor.note}")
        evaluator.choose(groups_of(settings.metrics.split(",")) if settings.metrics else self._default(evaluator))
        return evaluator if evaluator.metrics else None

    def _hint(self, until: str) -> str:
        """How to measure the metric of `--until`, where the data have too few samples for it or no extractor."""
        if self.evaluator is None:
            return ""
        group = next((name for name in GROUPS if re.match(rf"\s*{name}\b", until)), "")
        shortage = self.evaluator.shortage(group) if group and not self.evaluator.unavailable_reason(group) else None
        return shortage[0] if shortage else self.evaluator.extractor.note if self.evaluator.extractor.groups else ""

    def _extractor(self) -> Extractor | None:
        """The extractor of the run, or own features, or None. Raises ConfigError if None and a metric is requested."""
        prepared, settings = self.prepared, self.prepared.settings
        own = None
        if not prepared.extractor:
            own = own_features(prepared.catalogue, prepared.train, settings.extractor_weights)
            if own is None and (flag := prepared.requested("metrics", *REQUESTS, "extractor_weights")):
                raise ConfigError(f"{flag}: {no_features(prepared.train, 'leave the option out')}")
            if own is None:
                return None
        try:
            library()
        except ConfigError as error:
            if settings.extractor or settings.eval_every or settings.until or settings.metrics:
                raise
            self.progress.say(f"nothing is measured: {error}")  # training needs no metric
            return None
        return own or load_extractor(
            prepared.catalogue, prepared.extractor, weights=settings.extractor_weights, device=prepared.device
        )

    def _default(self, evaluator: Evaluator) -> tuple[str, ...]:
        """The default metrics for which there are enough images. Raises DataError for none if some are requested."""
        groups = default_metrics("training", evaluator)
        short = {group: shortage for group in groups if (shortage := evaluator.shortage(group))}
        if groups and len(short) == len(groups) and (flag := self.prepared.requested(*REQUESTS)):
            reason, fix = short[groups[0]]
            raise DataError(f"{flag}: {reason}\n{fix}")
        for reason, _ in dict.fromkeys(short.values()):
            self.progress.say(f"note: {reason}")
        return tuple(group for group in groups if group not in short)

    def _report_or_interrupt(self, samples: str, done: int, total: int) -> None:
        """Called during an evaluation, which can take an hour. Several ranks finish it: they wait for one another."""
        if self.stop and self.prepared.ranks.world == 1:
            raise Interrupted
        self.progress.evaluating(self.step, samples, done, total)


def best_of(history: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """The record with the best finite value of a metric, the earliest among equal ones; None without a finite value."""
    best: dict[str, Any] | None = None
    for record in history:
        if record["name"] != name or record["value"] is None:
            continue
        if best is None or improves(name, float(record["value"]), float(best["value"])):
            best = record
    return best


def outcome(history: Sequence[dict[str, Any]], held_out: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For a Result: the last value of each metric, the best record of the first one, and warnings of the final samples.

    Only `held_out` has the training gap.
    """
    last = {record["name"]: record for record in history if record["value"] is not None}
    final = {name: float(record["value"]) for name, record in last.items()}
    gap = [record for record in held_out if record.get("which") == "final" and record["name"] not in last]
    return {
        "final": final,
        "best": best_of(history, next(iter(final))) if final else None,
        "warnings": tuple(warnings([*last.values(), *gap]).values()) if any(r["step"] for r in last.values()) else (),
        "held_out": held_out,
    }


SATURATED_LOSS, LOGIT_MARGIN, SATURATED_LOGS = 0.01, 0.9, 3


class TrainingWarnings:
    """Problems of a run in progress: each is reported once when it appears, and again when it comes back."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._saturated: dict[str, int] = {}

    def of_samples(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """New warnings of mode collapse and memorization from the records of one evaluation."""
        found = warnings(records)
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
