"""The rows of the speed table: each a command, which writes benchmarks/results/speed/ROW.json.

    python benchmarks/rows.py                       # names the rows
    python benchmarks/rows.py dcgan64-auto

A row is a ratio of pairs, A and B in turn, added until the 95 % interval of the median ratio is within 2 % of it (in
one process: no wider than 2 %), or 400 are there. Nothing else may run meanwhile: the load before is part of the
result. `tools/speed_table.py` makes the README's table of the results.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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
from aigc_zoo.bench.pairing import LEAST, WIDTH
from aigc_zoo.engine.guard import Guard, HostGuard
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.run.prepare import Prepared, prepare

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "speed"
ZOO = [sys.executable, "-m", "aigc_zoo"]
BLOCK = 3
"""Steps that one of two living processes is let go for, while the other one stands still."""

BLOCKS = 2
"""For each of the two, in a pair."""

WARM_UP = 3
"""Steps of each before."""


# --- dcgan at 64x64x3: `zoo train` by its own log, against the tutorial's loop ----------------------------------------


def dcgan64(precision: str, most: int) -> dict[str, Any]:
    """`zoo train`, read from its log.jsonl, against the loop of reference_dcgan.py, in new processes for every pair."""
    with tempfile.TemporaryDirectory() as folder:
        data = images(Path(folder), 2_000)
        found = until_narrow(lambda: _side_by_side(Path(folder), data, precision), most=most)
        return {"ratio": "images/s of zoo train (log.jsonl) over those of the reference loop", **found}


def images(folder: Path, count: int) -> Path:
    """Random pictures of 64x64x3: the time of a step does not depend on what they show."""
    path = folder / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (count, 3, 64, 64), np.uint8))
    return path


def _side_by_side(folder: Path, data: Path, precision: str) -> tuple[float, float]:
    """Images/s of both. They live side by side and are let go in turn, a few steps each, AB BA AB BA, while the other
    is stopped: a machine that is shared drifts by a tenth within the time that a whole process takes."""
    never, out, other = str(10**6), folder / "run", folder / "reference.jsonl"
    other.unlink(missing_ok=True)
    words = ["--steps", never, "--batch-size", "64", "--log-every", "1", "--save-every", never, "--eval-every", never]
    words += ["--sample-every", never, "--precision", precision, "--out", str(out), "--fresh"]
    zoo = [*ZOO, "train", "dcgan", "--data", str(data), *words]
    loop = [sys.executable, str(HERE / "reference_dcgan.py"), "--data", str(data), "--batch-size", "64"]
    loop += ["--steps", never, "--log", str(other)]
    with Stopped(zoo, out / "log.jsonl") as a, Stopped(loop, other) as b:
        for number in range(BLOCKS):
            for one in (a, b) if number % 2 == 0 else (b, a):
                one.go()
    return a.steps * 64 / a.seconds, b.steps * 64 / b.seconds


class Stopped:
    """A process that stands still but while `go` lets it play; it adds a line with its `seconds` to `log` each step."""

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

    def go(self) -> None:
        """Lets it play a step that does not count, as it was interrupted, and BLOCK steps that do."""
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


def until_narrow(
    pair: Callable[[], tuple[float, float]], *, most: int, least: int = LEAST, width: float = WIDTH
) -> dict[str, Any]:
    """Ratios of pairs, until the interval of their median reaches no further than `width` from it."""
    found: list[tuple[float, float]] = []
    while True:
        found.append(pair())
        ratios = [one / other for one, other in found]
        median, (low, high) = statistics.median(ratios), measure.interval(ratios)
        narrow = len(found) >= least and max(high - median, median - low) <= width * median
        if narrow or len(found) >= most:
            break
    return {
        "median": median,
        "interval_95": [low, high],
        "pairs": len(found),
        "a": statistics.median(one for one, _ in found),
        "b": statistics.median(other for _, other in found),
    }


# --- every recipe against the bare loop -------------------------------------------------------------------------------


def prepared(recipe: str, **given: Any) -> Prepared:
    """The recipe as `zoo train RECIPE` would play it."""
    catalogue = plugins.catalogue()
    return prepare(catalogue, options.resolve(catalogue, recipe, given=given, origin="python"))


def recipes() -> list[str]:
    return [entry.name for entry in plugins.catalogue().items("recipe", "zoo/*")]


def bare(precision: str, most: int, only: str | None = None) -> dict[str, Any]:
    """The engine's step and the bare loop's in one process, for every recipe, with its own data and batch size."""
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
    loop = Bare(run.recipe, run.train, batch_size=run.batch_size, device=device, precision=chosen)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    found = measure.pairs(trainer.train_step, loop.step, most=most, wait=wait)
    images = run.batch_size * run.recipe.rounds
    # The bare step is counted: it is the same work, and the engine's may lie in a graph.
    return found | {
        "precision": chosen,
        "engine": trainer.engine.choice.name,
        "images_per_second": images / found["seconds_a"],
        "milliseconds": 1000 * found["seconds_a"],
        "peak_memory": measure.peak_memory(device),
        "roofline": report(loop.step, found["seconds_a"], device, chosen),
    }


def guard(most: int) -> dict[str, Any]:
    """What looking for values that are not finite adds to a step: with the guard, and without any look."""
    found = {}
    for name in recipes():
        trainer = prepared(name).trainer()
        guard = trainer.guard
        assert isinstance(guard, HostGuard)
        blind = _Blind(tuple(trainer.recipe.players), trainer.nets, trainer.device)

        # One trainer: where in memory two of them happen to lie makes as much of a difference. A is without, so that
        # the ratio says how much longer a step with the guard takes, which is also charged for listening anew.
        without, with_it = (
            partial(_play_under, trainer, which, change)
            for which, change in ((blind, guard.remove_hooks), (guard, guard.add_hooks))
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


def _play_under(trainer: Trainer, guard: Guard, change: Callable[[], None]) -> None:
    trainer.guard = guard
    change()
    trainer.train_step()


class _Blind(Guard):
    def check(self, loss: torch.Tensor) -> None:
        return None

    def allows_step(self, found: Any) -> bool:
        return True

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Nothing is found, so there is nothing to know."""


# --- beginnings -------------------------------------------------------------------------------------------------------


def _took(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def _first_step(*command: str) -> float:
    """Seconds from the start of the process until it says that its first step is played."""
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

    What lies between: the data from its cache, networks, the first grid, all metrics of the untrained generator.
    `whole` is the process to its end, so with the metrics of the last step and on held-out data, in the same terms.
    """
    with tempfile.TemporaryDirectory() as folder:
        train = [*ZOO, "train", "dcgan", "--steps", "1", "--fresh", "--out", f"{folder}/run"]
        imports = [sys.executable, "-c", "import torch, torchvision"]
        _took(*train)
        first = differences(lambda: _first_step(*train), lambda: _took(*imports), most)
        return first | {"whole": differences(lambda: _took(*train), lambda: _took(*imports), min(most, 6))}


def second_start(most: int) -> dict[str, Any]:
    """Seconds to the first step on the CIFAR zip, read before, beyond those with the same pixels in memory."""
    archive = Path(os.environ["ZOO_DATA"]) / "cifar10-jpeg.zip"
    run = prepared("dcgan", data=str(archive))  # reads it, if nobody did

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
    found: list[tuple[float, float]] = []
    while len(found) < min(most, 20):
        if len(found) % 2 == 0:
            one, other = a(), b()
        else:
            other, one = b(), a()
        found.append((one, other))
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
    "guard": ("a step with its look for values that are not finite, against one without", "1.01 x at most", guard),
    "startup": ("first step of `zoo train dcgan --steps 1` beyond importing torch and torchvision", "+1.5 s", startup),
    "second-start": ("first step on the CIFAR zip, read before, beyond the same from memory", "+0.3 s", second_start),
}


def calm(least: float = 0.25, minutes: int = 5) -> None:
    """Waits until what ran before, another row perhaps, has left the load of the last minute."""
    end = time.monotonic() + 60 * minutes
    while os.getloadavg()[0] > least * (os.cpu_count() or 1) and time.monotonic() < end:
        time.sleep(5)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures one row of the speed table.")
    parser.add_argument("row", nargs="?", choices=ROWS)
    parser.add_argument("--most", type=int, default=400, help="pairs at most")
    parser.add_argument("--out", type=Path, help="the file to write, instead of results/speed/ROW.json")
    given = parser.parse_args()
    if given.row is None:
        print("\n".join(f"{name:<14} {what} (at least {least})" for name, (what, least, _) in ROWS.items()))
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
