"""Measures a row of the speed table and writes benchmarks/results/speed/ROW.json.

    python benchmarks/rows.py                       # lists the rows
    python benchmarks/rows.py dcgan64-auto

A row is the median ratio of pairs, A and B in alternation. Pairs are added until the 95 % interval of the median is
within 2 % of it (in one process: no wider than 2 %), 400 at most. Nothing else may run meanwhile: the load before is
part of the result. `tools/speed_table.py` writes docs/speed.md from the results.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import measure
import numpy as np
import torch
from bare import Bare
from roofline import report

from aigc_zoo import options, plugins
from aigc_zoo.artefacts.runs import read_lines
from aigc_zoo.bench.pairing import alternate, until_narrow
from aigc_zoo.engine.guard import Guard, HostGuard
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.run.prepare import Prepared, prepare

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "speed"
ZOO = [sys.executable, "-m", "aigc_zoo"]
BLOCK = 3
"""Steps that one of two processes runs while the other one is stopped."""

BLOCKS = 2
"""Blocks of each process in a pair."""

WARM_UP = 3
"""Warm-up steps of each process."""


# --- dcgan at 64x64x3: `zoo train` by its own log, against the tutorial's loop ----------------------------------------


def dcgan64(precision: str, most: int) -> dict[str, Any]:
    """`zoo train`, read from its log.jsonl, against the loop of reference_dcgan.py, in new processes for every pair."""
    with tempfile.TemporaryDirectory() as folder:
        data = images(Path(folder), 2_000)
        found = until_narrow(_speeds(Path(folder), data, precision), most=most)
    loop, zoo = measure.medians(found)
    ratio = "images/s of zoo train (log.jsonl) over those of the reference loop"
    return {"ratio": ratio, **measure.summary(found), "a": zoo, "b": loop}


def images(folder: Path, count: int) -> Path:
    """Write random 64x64x3 images: the time of a step does not depend on their content."""
    path = folder / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (count, 3, 64, 64), np.uint8))
    return path


def _speeds(directory: Path, data: Path, precision: str) -> Iterator[tuple[float, float]]:
    """Yield images/s of the reference loop and of `zoo train`, in new processes for every pair.

    Both processes exist at once and run in alternation, a few steps each, AB BA AB BA, while the other is stopped: a
    shared machine drifts by a tenth within the time that a whole process takes.
    """
    never, out, log = str(10**6), directory / "run", directory / "reference.jsonl"
    words = ["--steps", never, "--batch-size", "64", "--log-every", "1", "--save-every", never, "--eval-every", never]
    words += ["--sample-every", never, "--precision", precision, "--out", str(out), "--fresh"]
    zoo = [*ZOO, "train", "dcgan", "--data", str(data), *words]
    loop = [sys.executable, str(HERE / "reference_dcgan.py"), "--data", str(data), "--batch-size", "64"]
    loop += ["--steps", never, "--log", str(log)]
    while True:
        log.unlink(missing_ok=True)
        with Stopped(zoo, out / "log.jsonl") as a, Stopped(loop, log) as b:
            for number in range(BLOCKS):
                for process in (a, b) if number % 2 == 0 else (b, a):
                    process.resume()
        yield b.steps * 64 / b.seconds, a.steps * 64 / a.seconds


class Stopped:
    """A process that is stopped except during `resume`, and appends a line with its `seconds` to `log` at each step."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command, self._log = command, log
        self.steps, self.seconds = 0, 0.0

    def __enter__(self) -> Self:
        self._log.unlink(missing_ok=True)
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._await(WARM_UP)
        self._process.send_signal(signal.SIGSTOP)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def resume(self) -> None:
        """Run one step that is not counted, since it was interrupted, and BLOCK steps that are."""
        before = len(self._seconds())
        self._process.send_signal(signal.SIGCONT)
        seconds = self._await(before + 1 + BLOCK)
        self._process.send_signal(signal.SIGSTOP)
        self.steps += len(seconds) - before - 1
        self.seconds += seconds[-1] - seconds[before]

    def _await(self, lines: int) -> list[float]:
        while len(seconds := self._seconds()) < lines:
            if self._process.poll() is not None:
                raise RuntimeError(f"{' '.join(self._command)} ended with {self._process.returncode}")
            time.sleep(0.01)
        return seconds

    def _seconds(self) -> list[float]:
        return [float(line["seconds"]) for line in read_lines(self._log)]


# --- every recipe against the bare loop -------------------------------------------------------------------------------


def prepared(recipe: str, **given: Any) -> Prepared:
    """The recipe as `zoo train RECIPE` would train it."""
    catalogue = plugins.catalogue()
    return prepare(catalogue, options.resolve(catalogue, recipe, given=given, origin="python"))


def recipes() -> list[str]:
    return [entry.name for entry in plugins.catalogue().items("recipe", "zoo/*")]


def bare(precision: str, most: int, only: str | None = None) -> dict[str, Any]:
    """The engine's step against the bare loop's, in one process, for every recipe with its data and batch size.

    `only` is the name of a single recipe.
    """
    found = {name: _against_bare(name, precision, most) for name in recipes() if only in (None, name)}
    worst = min(found, key=lambda name: found[name]["median"])
    return {
        "ratio": "seconds of the bare loop over seconds of the engine, the slowest recipe",
        **{key: found[worst][key] for key in ("median", "interval_95", "pairs")},
        "slowest": worst,
        "recipes": found,
    }


def _against_bare(recipe: str, precision: str, most: int) -> dict[str, Any]:
    run = prepared(recipe, precision=precision)
    trainer = run.trainer()
    device, chosen = run.device, run.precision.name
    loop = Bare(run.recipe, run.train, steps=run.steps, batch_size=run.batch_size, device=device, precision=chosen)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    found = measure.pairs(trainer.train_step, loop.step, most=most, wait=wait)
    images = run.batch_size * run.recipe.rounds
    # Operations of the bare step are counted: it is the same work, and the engine's step may be a graph.
    return found | {
        "precision": chosen,
        "engine": trainer.engine.choice.name,
        "images_per_second": images / found["seconds_a"],
        "milliseconds": 1000 * found["seconds_a"],
        "peak_memory": measure.peak_memory(device),
        "roofline": report(loop.step, found["seconds_a"], device, chosen),
    }


def guard(most: int) -> dict[str, Any]:
    """The cost of the check for non-finite values: a step with the guard against one without any check."""
    found = {}
    for name in recipes():
        trainer = prepared(name).trainer()
        guard = trainer.guard
        assert isinstance(guard, HostGuard)
        unchecked = _NoGuard(tuple(trainer.recipe.players), trainer.nets, trainer.device)

        # One trainer, since the addresses in memory of two of them make as much of a difference. A is the step without
        # the guard, so that the ratio says how much longer a step with it takes, including the call of `listen`.
        without, with_it = (
            partial(_step_with, trainer, which, change)
            for which, change in ((unchecked, guard.remove_hooks), (guard, guard.add_hooks))
        )
        guard.remove_hooks()
        found[name] = measure.pairs(without, with_it, most=most, width=0.004)
    worst = max(found, key=lambda name: found[name]["median"])
    return {
        "ratio": "seconds of a step with the guard over those without, the recipe where it costs most",
        **{key: found[worst][key] for key in ("median", "interval_95", "pairs")},
        "slowest": worst,
        "recipes": found,
    }


def _step_with(trainer: Trainer, guard: Guard, change: Callable[[], None]) -> None:
    trainer.guard = guard
    change()
    trainer.train_step()


class _NoGuard(Guard):
    def check(self, loss: torch.Tensor) -> None:
        return None

    def allows_step(self, found: Any) -> bool:
        return True

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Nothing is checked, so nothing is attached."""


# --- start-up ---------------------------------------------------------------------------------------------------------


def _took(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def _first_step(*command: str) -> float:
    """Seconds from the start of the process until it reports its first step."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        took = next(time.perf_counter() - start for line in process.stderr if line.startswith("step 1/1"))
        process.stderr.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return took


def startup(most: int) -> dict[str, Any]:
    """Seconds to the first step of `zoo train dcgan --steps 1` beyond those of importing torch and torchvision.

    They include reading the data from the cache, networks, the first sample grid and all metrics of the untrained
    generator. `whole` is the time to the end of the process, with the metrics of the last step and on held-out data.
    """
    with tempfile.TemporaryDirectory() as folder:
        train = [*ZOO, "train", "dcgan", "--steps", "1", "--fresh", "--out", f"{folder}/run"]
        imports = [sys.executable, "-c", "import torch, torchvision"]
        _took(*train)
        first = differences(lambda: _first_step(*train), lambda: _took(*imports), most)
        return first | {"whole": differences(lambda: _took(*train), lambda: _took(*imports), min(most, 6))}


def second_start(most: int) -> dict[str, Any]:
    """Seconds to the first step on the CIFAR zip, in the cache already, beyond those with the same pixels in memory."""
    archive = Path(os.environ["ZOO_DATA"]) / "cifar10-jpeg.zip"
    run = prepared("dcgan", data=str(archive))  # fills the cache

    memory = {name: field.clone() for name, field in run.train.fields.items()}

    def from_archive() -> float:
        start = time.perf_counter()
        prepared("dcgan", data=str(archive)).trainer().train_step()
        return time.perf_counter() - start

    def from_memory() -> float:
        start = time.perf_counter()
        replace(run, splits={"train": replace(run.train, fields=memory)}).trainer().train_step()
        return time.perf_counter() - start

    return differences(from_archive, from_memory, most)


def differences(a: Callable[[], float], b: Callable[[], float], most: int) -> dict[str, Any]:
    """Median difference of the seconds that A and B measure, in alternation."""
    found = list(itertools.islice(alternate(a, b), min(most, 20)))
    extra = [one - other for one, other in found]
    return {
        "difference": "seconds",
        "median": statistics.median(extra),
        "interval_95": list(measure.interval(extra)),
        "pairs": len(extra),
        "a": statistics.median(one for one, _ in found),
        "b": statistics.median(other for _, other in found),
    }


# --- rows -------------------------------------------------------------------------------------------------------------

ROWS: dict[str, tuple[str, str, Callable[[int], dict[str, Any]]]] = {
    "dcgan64-auto": (
        "`dcgan` 64x64x3, batch 64, `--precision auto`, against the tutorial's loop",
        "1.8 x",
        lambda most: dcgan64("auto", most),
    ),
    "dcgan64-fp32": ("the same in float32", "1.1 x", lambda most: dcgan64("fp32", most)),
    "bare-fp32": (
        "the engine against a bare loop of the same mathematics, the slowest recipe, float32",
        "0.98 x",
        lambda most: bare("fp32", most),
    ),
    "bare-auto": ("the same with `--precision auto`", "0.98 x", lambda most: bare("auto", most)),
    "bare-pix2pix-fp32": (
        "`pix2pix`, whose samples have inputs, against its bare loop, float32",
        "0.98 x",
        lambda most: bare("fp32", most, "pix2pix"),
    ),
    "bare-pix2pix-auto": ("the same with `--precision auto`", "0.98 x", lambda most: bare("auto", most, "pix2pix")),
    "guard": ("a step with its look for values that are not finite, against one without", "1.01 x at most", guard),
    "startup": ("first step of `zoo train dcgan --steps 1` beyond importing torch and torchvision", "+1.5 s", startup),
    "second-start": ("first step on the CIFAR zip, read before, beyond the same from memory", "+0.3 s", second_start),
}


def calm(least: float = 0.25, minutes: int = 5) -> None:
    """Wait until earlier work, such as another row, no longer counts in the load of the last minute."""
    end = time.monotonic() + 60 * minutes
    while os.getloadavg()[0] > least * (os.cpu_count() or 1) and time.monotonic() < end:
        time.sleep(5)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure one row of the speed table.")
    parser.add_argument("row", nargs="?", choices=ROWS)
    parser.add_argument("--most", type=int, default=400, help="maximum number of pairs")
    parser.add_argument("--out", type=Path, help="the file to write, instead of results/speed/ROW.json")
    given = parser.parse_args()
    if given.row is None:
        print("\n".join(f"{name:<18} {what} (at least {least})" for name, (what, least, _) in ROWS.items()))
        return
    what, least, run = ROWS[given.row]
    calm()
    environment = measure.environment()
    result = {"row": given.row, "what": what, "target": least, **run(given.most)}
    result |= {"environment": environment, "command": f"python benchmarks/rows.py {given.row}"}
    path = given.out or RESULTS / f"{given.row}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{what}: {result['median']:.3f} {result['interval_95']} of {result['pairs']} pairs -> {path}")


if __name__ == "__main__":
    main()
