"""What a person sees of a run: a bar on a terminal, now and then a line elsewhere, and a last screen."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from aigc_zoo.errors import printable
from aigc_zoo.metrics.kinds import warnings
from aigc_zoo.metrics.protocol import format_value
from aigc_zoo.run.progress import Result, Screen


class Reading:
    """Told how many of a dataset's files are read, as `reading(done, all)`: a bar, or one line without a terminal."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._said = False

    def __call__(self, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            if not self._said:
                click.echo(f"reading {total:,} files; the next time they come from the cache", err=True)
            self._said = True
            return
        if self._bar is None:
            tqdm.monitor_interval = 0
            self._bar = tqdm(total=total, unit="file", desc="reading", dynamic_ncols=True, leave=False)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._bar.close()
            self._bar = None


class Looking:
    """Told how many samples a metric has looked at, as `looking(what, done, all)`: a bar for each kind of sample.

    Without a terminal nothing is shown but what takes long: a line after ten seconds, and every ten seconds.
    """

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._what = ""
        self._spoke = time.monotonic()

    def __enter__(self) -> Looking:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, what: str, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            if time.monotonic() - self._spoke >= LINE_SECONDS:
                self._spoke = time.monotonic()
                click.echo(f"looked at {done:,} of {total:,} {what}", err=True)
            return
        if self._bar is None or what != self._what:
            self.__exit__()
            tqdm.monitor_interval = 0
            self._what = what
            self._bar = tqdm(total=total, unit="sample", desc=what, dynamic_ncols=True, leave=False)
        self._bar.update(done - self._bar.n)


LINE_SECONDS = 10.0
"""Without a terminal, a line of progress every so often."""


class Terminal(Screen):
    """Progress on stderr; the bar turns into lines where stderr is no terminal."""

    def __init__(self, *, tty: bool | None = None) -> None:
        self._tty = sys.stderr.isatty() if tty is None else tty
        self._bar: tqdm[Any] | None = None
        self._total = 0
        self._spoke = 0.0
        self._last: Mapping[str, Any] | None = None
        self._began = (0, 0.0)

    def start(self, folder: Path, card: Mapping[str, Any], step: int, parameters: Mapping[str, int]) -> None:
        data = card["data"]
        weights = ", ".join(f"{name} {count:,}" for name, count in parameters.items() if count)
        threads = f"{card['threads']} thread{'s' if card['threads'] > 1 else ''}"
        if card["world"] > 1:
            threads += f" on each of {card['world']} ranks"
        self.say(f"{card['recipe']} on {data['name']}: {data['samples']:,} samples of {_shape(data['spec']['shape'])}")
        self.say(f"weights: {weights}; {card['steps']:,} steps of {card['batch_size']}; {card['device']}, {threads}")
        why = card["why"]
        self.say(f"precision {card['precision']} ({why['precision']}); engine {card['engine']} ({why['engine']})")
        self.say(f"{'continues at step ' + format(step, ',') + ' in' if step else 'run:'} {folder}")
        self._total = int(card["steps"])
        self._began = (step, time.monotonic())
        if self._tty:
            tqdm.monitor_interval = 0  # no thread of tqdm's own
            self._bar = tqdm(
                total=self._total, initial=step, unit="step", dynamic_ncols=True, leave=True, smoothing=0.1
            )

    def step(self, step: int, images: int) -> None:
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def log(self, line: Mapping[str, Any]) -> None:
        self._last = line
        if self._bar is not None:
            self._bar.set_postfix_str(f"{line['images']:,} images, {_facts(line)}", refresh=False)
        elif time.monotonic() - self._spoke >= LINE_SECONDS or line["step"] >= self._total:
            self._spoke = time.monotonic()
            left = f", {self._left(line['step'])} left" if line["step"] < self._total else ""
            self.say(f"step {line['step']:,}/{self._total:,}, {line['images']:,} images, {_facts(line)}{left}")

    def metric(self, record: Mapping[str, Any]) -> None:
        self.say(f"step {record['step']:,}: {record['name']} {record['value']:.4g}")

    def say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(printable(text), file=sys.stderr)
        else:
            click.echo(printable(text), err=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _left(self, step: int) -> str:
        first, began = self._began
        rate = (time.monotonic() - began) / max(1, step - first)
        return str(timedelta(seconds=round(rate * (self._total - step))))


def last_screen(result: Result) -> str:
    """Where everything is, and what to type next."""
    home = result.folder
    lines = [*result.notes]
    if result.reason == "stopped":
        lines += [f"stopped at step {result.step:,}; saved. The same command continues.", f"run          {home}"]
        return printable("\n".join(lines))
    how = "the target was met" if result.reason == "target" else "done"
    took = timedelta(seconds=round(result.seconds))
    lines.append(f"{how}: {result.step:,} steps, {result.images:,} images, {took} of training")
    for name, value in [*result.final.items()][:1]:
        best = ""
        if result.best is not None and result.best["name"] == name:
            best = f" (best {result.best['value']:.4g} at step {result.best['step']:,})"
        lines.append(f"{name}  final {value:.4g}{best}")
    for record in result.held_out:
        if record["name"] in result.final:
            split = record["protocol"]["split"]
            lines.append(f"{record['name']}  {record['which']} against {split}, held out: {format_value(record)}")
    lines += warnings(result.final).values()
    for what, name in (
        ("nearest", "nearest.png"),
        ("generator", "generator.safetensors"),
        ("best", "generator-best.safetensors"),
        ("grids", "samples"),
        ("animation", "samples.gif"),
        ("log", "log.jsonl"),
    ):
        if (home / name).exists():
            lines.append(f"{what:<12} {home / name}")
    lines += ["", "next", f"  zoo sample {home} -n 64"]
    if result.final:
        lines.append(f"  zoo eval {home} --split test --metrics all")
    lines.append(f"  zoo report {home}")
    return printable("\n".join(lines))


def _facts(line: Mapping[str, Any]) -> str:
    losses = {name: value for name, value in line["terms"].items() if "/_" not in name}
    shown = ", ".join(f"{name.removesuffix('/loss')} {value:.3f}" for name, value in losses.items())
    return f"{line['images_per_second']:,.0f} images/s, {shown}"


def _shape(shape: list[int] | tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)
