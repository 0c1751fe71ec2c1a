"""The progress of commands on stderr: bars on a terminal, a line now and then elsewhere; and the summary of a run."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from aigc_zoo.errors import printable
from aigc_zoo.metrics.protocol import format_value
from aigc_zoo.run.progress import Progress, Result

LINE_SECONDS = 10.0
"""Seconds between lines of progress without a terminal."""

REFRESH_SECONDS = 0.1
"""Seconds between updates of a bar. Bars are refreshed by the program itself, without a thread of their own."""


class ReadingProgress:
    """`reading(done, total)` while a dataset's files are read: a bar, or one line without a terminal."""

    def __init__(self) -> None:
        self._bar: _Bar | None = None
        self._announced = False

    def __call__(self, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            if not self._announced:
                click.echo(f"reading {total:,} files; the next time they are read from the cache", err=True)
            self._announced = True
            return
        if self._bar is None:
            self._bar = _Bar("reading {done}/{total} files", total, transient=True)
        self._bar.show(done)
        if done >= total:
            self._bar.stop()
            self._bar = None


class EvaluationProgress:
    """`evaluating(samples, done, total)` while an extractor reads samples: a bar for each kind of samples.

    Without a terminal: a line every ten seconds.
    """

    def __init__(self) -> None:
        self._bar: _Bar | None = None
        self._samples = ""
        self._printed = time.monotonic()

    def __enter__(self) -> EvaluationProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, samples: str, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            if time.monotonic() - self._printed >= LINE_SECONDS:
                self._printed = time.monotonic()
                click.echo(f"evaluating {_count(samples, done, total)}", err=True)
            return
        if self._bar is None or samples != self._samples:
            self.__exit__()
            self._samples = samples
            self._bar = _Bar(f"evaluating {_count(samples, '{done}', '{total}')}", total, transient=True)
        self._bar.show(done)


class TerminalProgress(Progress):
    """Progress of a training run on stderr: a bar with the losses below it, or lines without a terminal."""

    def __init__(self, *, tty: bool | None = None) -> None:
        self._tty = sys.stderr.isatty() if tty is None else tty
        self._bar: _Bar | None = None
        self._step = self._total = 0
        self._printed, self._waited_from = 0.0, time.monotonic()
        self._losses = ""
        self._speed = ""
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
        self._total = int(card["steps"])
        if self._tty:
            self._bar = _Bar("step {done}/{total}", self._total)
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
        self._speed = f"{line['images_per_second']:,.0f} images/s"
        if self._bar is not None:
            self._show(step, self._losses, now=True)
        elif time.monotonic() - self._printed >= LINE_SECONDS or step >= self._total:
            self._printed = time.monotonic()
            left = f", {self._left(step)}" if self._left(step) else ""
            images = f"{line['images']:,} images"
            self.say(f"step {step:,}/{self._total:,}, {images}, {self._speed}, {self._losses}{left}")

    def metric(self, record: Mapping[str, Any]) -> None:
        self.say(f"step {record['step']:,}: {record['name']} {record['value']:.4g}")

    def say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.say(printable(text))
        else:
            click.echo(printable(text), err=True)

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


class _Bar(RichProgress):
    """A bar with a count, facts beside it and a text below it, on the terminal that stderr is."""

    def __init__(self, count: str, total: int, *, transient: bool = False) -> None:
        self._count, self._total = count, total
        self._below, self._shown = "", 0.0
        super().__init__(
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[facts]}", markup=False),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=transient,
            redirect_stdout=False,
            expand=True,
        )
        self._task: TaskID = self.add_task("", total=total, count="", facts="")
        self.start()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self._below:
            yield Text(self._below)

    def show(self, done: int, facts: str = "", below: str = "", *, now: bool = False) -> None:
        """Updates the bar, at most every REFRESH_SECONDS unless `now`."""
        self._below = below
        count = self._count.format(done=f"{done:,}", total=f"{self._total:,}")
        self.update(self._task, completed=done, count=count, facts=facts)
        if now or time.monotonic() - self._shown >= REFRESH_SECONDS or done >= self._total:
            self._shown = time.monotonic()
            self.refresh()

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def summary(result: Result) -> str:
    """The end of a run as text: reason, metrics, files, and the commands to continue with."""
    directory = result.folder
    lines = [*result.notes]
    if result.reason == "stopped":
        lines += [f"stopped at step {result.step:,}; saved. The same command resumes it."]
        return printable("\n".join([*lines, f"run directory  {directory}"]))
    ended = "the target was met" if result.reason == "target" else "done"
    took = timedelta(seconds=round(result.seconds))
    lines.append(f"{ended}: {result.step:,} steps, {result.images:,} images, {took} of training")
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
    lines += ["", "next", f"  zoo sample {directory} -n 64"]
    if result.final:
        splits = [record["protocol"]["split"] for record in result.held_out if record["protocol"]["split"] != "train"]
        split = f" --split {splits[0]}" if splits else ""
        lines.append(f"  zoo eval {directory}{split} --metrics all")
    lines.append(f"  zoo report {directory}")
    return printable("\n".join(lines))


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
