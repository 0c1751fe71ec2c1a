"""The progress of commands and of the Python API, and the summary of a run.

A terminal and a notebook show bars; elsewhere there is a line now and then on stderr.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from aigc_zoo.artefacts.cards import units_of
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.errors import printable
from aigc_zoo.metrics.protocol import format_value
from aigc_zoo.options.values import flag_of
from aigc_zoo.run.bars import Bar, bars, tell
from aigc_zoo.run.progress import Progress, Result
from aigc_zoo.text import zoo_command

LINE_SECONDS = 10.0
"""Seconds between lines of progress without a terminal."""


class ReadingProgress:
    """`reading(done, total)` while a dataset is read: a bar, or one line without a terminal or a notebook."""

    def __init__(self, what: str = "files", again: str = "the next time they are read from the cache") -> None:
        self._what, self._again = what, again
        self._bar: Bar | None = None
        self._announced = False

    def __call__(self, done: int, total: int) -> None:
        bar = bars()
        if bar is None:
            if not self._announced:
                tell("; ".join(filter(None, (f"reading {total:,} {self._what}", self._again))))
            self._announced = True
            return
        if self._bar is None:
            self._bar = bar(f"reading {{done}}/{{total}} {self._what}", total, transient=True)
        self._bar.show(done)
        if done >= total:
            self._bar.stop()
            self._bar = None


class EvaluationProgress:
    """`evaluating(samples, done, total)` while an extractor reads samples: a bar for each kind of samples.

    Without a terminal: a line every ten seconds.
    """

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._samples = ""
        self._printed = time.monotonic()

    def __enter__(self) -> EvaluationProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, samples: str, done: int, total: int) -> None:
        bar = bars()
        if bar is None:
            if time.monotonic() - self._printed >= LINE_SECONDS:
                self._printed = time.monotonic()
                tell(f"evaluating {_count(samples, done, total)}")
            return
        if self._bar is None or samples != self._samples:
            self.__exit__()
            self._samples = samples
            self._bar = bar(f"evaluating {_count(samples, '{done}', '{total}')}", total, transient=True)
        self._bar.show(done)


class TerminalProgress(Progress):
    """Progress of a training run: a bar with the losses below it, or lines without a terminal or a notebook."""

    def __init__(self) -> None:
        self._kind = bars()
        self._bar: Bar | None = None
        self._step = self._total = 0
        self._printed, self._waited_from = 0.0, time.monotonic()
        self._losses = self._speed = ""
        self._units = "samples"
        self._eta = _Eta()

    def start(self, directory: Path, card: Mapping[str, Any], step: int, parameters: Mapping[str, int]) -> None:
        data = card["data"]
        sizes = ", ".join(f"{name} {count:,}" for name, count in parameters.items() if count)
        threads = f"{card['threads']} thread{'s' if card['threads'] > 1 else ''}"
        if card["world"] > 1:
            threads += f" on each of {card['world']} ranks"
        self.say(f"{card['recipe']} on {data['name']}: {data['samples']:,} samples of {_shape(data['spec']['shape'])}")
        self.say(f"parameters: {sizes}; {card['steps']:,} steps of {card['batch_size']}; {card['device']}, {threads}")
        why = card["why"]
        self.say(f"precision {card['precision']} ({why['precision']}); engine {card['engine']} ({why['engine']})")
        self.say(f"resuming at step {step:,} in {directory}" if step else f"run directory: {directory}")
        self._total, self._units = int(card["steps"]), units_of(card)
        if self._kind is not None:
            self._bar = self._kind("step {done}/{total}", self._total)
            self._show(step, "")

    def step(self, step: int, images: int, seconds: float) -> None:
        self._eta.update(step, seconds)
        self._waited_from = time.monotonic()
        if self._bar is not None:
            self._show(step, self._losses)

    def evaluating(self, step: int, samples: str, done: int, total: int) -> None:
        text = f"evaluating at step {step:,}: {_count(samples, done, total)}"
        if self._bar is not None:
            self._show(step, text)
        elif done < total and time.monotonic() - self._waited_from >= LINE_SECONDS:
            self._waited_from = time.monotonic()
            self.say(text)

    def log(self, line: Mapping[str, Any]) -> None:
        step = int(line["step"])
        losses = {name: value for name, value in line["terms"].items() if "/_" not in name}
        self._losses = ", ".join(f"{name.removesuffix('/loss')} {value:.3f}" for name, value in losses.items())
        self._speed = f"{line['images_per_second']:,.0f} {self._units}/s"
        if self._bar is not None:
            self._show(step, self._losses, now=True)
        elif time.monotonic() - self._printed >= LINE_SECONDS or step >= self._total:
            self._printed = time.monotonic()
            left = f", {self._left(step)}" if self._left(step) else ""
            count = f"{line['images']:,} {self._units}"
            self.say(f"step {step:,}/{self._total:,}, {count}, {self._speed}, {self._losses}{left}")

    def metric(self, record: Mapping[str, Any]) -> None:
        self.say(f"step {record['step']:,}: {record['name']} {record['value']:.4g}")

    def say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.say(printable(text))
        else:
            tell(text)

    def close(self) -> None:
        if self._bar is not None:
            self._show(self._step, self._losses, now=True)
            self._bar.stop()
            self._bar = None

    def _show(self, step: int, below: str, *, now: bool = False) -> None:
        assert self._bar is not None
        self._step = step
        facts = "  ".join(filter(None, (self._left(step), self._speed)))
        self._bar.show(step, facts, below, now=now)

    def _left(self, step: int) -> str:
        seconds = self._eta.seconds_left(step, self._total)
        return f"{timedelta(seconds=round(seconds))} left" if seconds else ""


class _Eta:
    """Estimates the remaining time from the training time of the last steps, about half a minute of them."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float]] = deque(maxlen=60)  # (step, training seconds), half a second apart
        self._newest = (0, 0.0)

    def update(self, step: int, seconds: float) -> None:
        self._newest = step, seconds
        if not self._marks or seconds - self._marks[-1][1] >= 0.5:
            self._marks.append(self._newest)

    def seconds_left(self, step: int, total: int) -> float:
        """0 at the end, and before there is a second step to measure."""
        if not self._marks or self._newest[0] <= self._marks[0][0]:
            return 0.0
        steps, seconds = (newest - oldest for newest, oldest in zip(self._newest, self._marks[0], strict=True))
        return max(0, total - step) * seconds / steps


def summary(result: Result) -> str:
    """The end of a run as text: reason, metrics, files, and the commands to continue with."""
    directory = result.folder
    lines = [*result.notes]
    if result.reason == "stopped":
        lines += [f"stopped at step {result.step:,}; saved. The same command resumes it."]
        return printable("\n".join([*lines, f"run directory  {directory}"]))
    ended = "the target was met" if result.reason == "target" else "done"
    took = timedelta(seconds=round(result.seconds))
    lines.append(f"{ended}: {result.step:,} steps, {result.images:,} {result.units}, {took} of training")
    for name, value in [*result.final.items()][:1]:
        best = ""
        if result.best is not None and result.best["name"] == name:
            best = f" (best {result.best['value']:.4g} at step {result.best['step']:,})"
        lines.append(f"{name}  final {value:.4g}{best}")
    for record in result.held_out:
        if record["name"] in result.final:
            split = record["protocol"]["split"]
            lines.append(f"{record['name']}  {record['which']}, held-out split {split}: {format_value(record)}")
    lines += result.warnings
    lines += [f"{what:<12} {directory / name}" for what, name in _FILES.items() if (directory / name).exists()]
    return printable("\n".join([*lines, "", "next", *(f"  {one}" for one in _next(result))]))


def _next(result: Result) -> Iterator[str]:
    """The commands that continue with a run: samples, an evaluation as in training, a report."""
    yield zoo_command("sample", result.folder, "-n", "64")
    if result.final:
        splits = (str(one["protocol"]["split"]) for one in result.held_out if one["protocol"]["split"] != "train")
        split = next(splits, "")
        words: list[str | Path] = ["--split", split] if split else []
        settings = RunDirectory(result.folder).read_card()["run"]
        for key in ("extractor", "extractor_weights"):
            words += [flag_of(key), str(settings[key])] if settings.get(key) else []
        yield zoo_command("eval", result.folder, *words, "--metrics", "all")
    yield zoo_command("report", result.folder)


_FILES = {
    "nearest": "nearest.png",
    "generator": "generator.safetensors",
    "best": "generator-best.safetensors",
    "grids": "samples",
    "animation": "samples.gif",
    "log": "log.jsonl",
}


def _count(samples: str, done: int | str, total: int | str) -> str:
    """`1,024/2,048 samples`, or `1,024/60,000 of mnist train` for the data that samples are compared with."""
    numbers = f"{done:,}/{total:,}" if isinstance(done, int) else f"{done}/{total}"
    return f"{numbers} samples" if samples == "samples" else f"{numbers} of {samples}"


def _shape(shape: list[int] | tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)
