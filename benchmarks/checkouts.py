"""Compares training step and sampling of two checkouts of this repository in pairs, each with its own environment.

    python benchmarks/checkouts.py ../old/.venv/bin/python        # this checkout against an older one

Each of several rounds starts a process of both and prepares the recipe in it, since the addresses in the memory of a
process alone change its times by a percent. Then blocks of steps alternate, AB BA, and the other process waits for its
turn at a pipe. The ratio of a pair is the time of the old checkout over that of this one; its median and 95 % interval
are over all pairs of all rounds. Writes results/checkouts/COMMIT.json, where COMMIT is the old one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import measure
import numpy as np

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "checkouts"

WORKER = """
import sys, time
from aigc_zoo import options, plugins
from aigc_zoo.run.prepare import prepare
recipe, data, kind, block, warm_up = *sys.argv[1:4], *map(int, sys.argv[4:])
catalogue = plugins.catalogue()
given = {"steps": 10**6} if data else {}
if data.endswith(".npy"):
    given["batch_size"] = 64
run = prepare(catalogue, options.resolve(catalogue, recipe, data=data or None, given=given, origin="python"))
trainer = run.trainer()
work = trainer.train_step
if kind == "sample":
    sampler, numbers = run.sampler(trainer, 0), iter(range(10**9))
    work = lambda: sampler.chunk(next(numbers))
for _ in range(warm_up):
    work()
print("ready", flush=True)
for _ in sys.stdin:
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(block):
        work()
    print((time.perf_counter() - start) / block, (time.process_time() - cpu) / block, flush=True)
"""


class Case(NamedTuple):
    """A recipe with data, and the number of steps or chunks of 64 samples in a block."""

    name: str
    recipe: str
    data: str
    kind: str
    block: int


CASES = (
    Case("dcgan digits, training step", "dcgan", "", "step", 20),
    Case("dcgan 64x64x3, training step", "dcgan", "images.npy", "step", 2),
    Case("wgan-gp digits, training step", "wgan-gp", "", "step", 8),
    Case("rpgan-r1r2 digits, training step", "rpgan-r1r2", "", "step", 8),
    Case("dcgan digits, sampling", "dcgan", "", "sample", 60),
    Case("dcgan 64x64x3, sampling", "dcgan", "images.npy", "sample", 8),
)


class Worker:
    """A process with the environment of one checkout that times blocks on request."""

    def __init__(self, python: str, case: Case, data: str) -> None:
        self._command = [python, "-c", WORKER, case.recipe, data, case.kind, str(case.block), "5"]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
        )
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def block(self) -> tuple[float, float]:
        """Seconds and processor seconds of a step, the mean over a block."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        seconds, processor = map(float, self._answer().split())
        return seconds, processor

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._command[0]} ended with {self._process.wait()}")
        return line


def compared(case: Case, old: str, data: str, rounds: int, pairs: int) -> dict[str, Any]:
    """The ratios of a case: above 1 where this checkout is faster than the old one."""
    found = [pair for number in range(rounds) for pair in _round(case, old, data, pairs, number % 2 == 0)]
    result: dict[str, Any] = {"pairs": len(found), "rounds": rounds, "block": case.block}
    for index, name in enumerate(("seconds", "processor_seconds")):
        ratios = [before[index] / now[index] for now, before in found]
        by_round = [statistics.median(ratios[first : first + pairs]) for first in range(0, len(ratios), pairs)]
        result[name] = {
            "median": statistics.median(ratios),
            "interval_95": list(measure.interval(ratios)),
            "medians_of_rounds": by_round,
            "now": statistics.median(now[index] for now, _ in found),
            "old": statistics.median(before[index] for _, before in found),
        }
    return result


def _round(
    case: Case, old: str, data: str, pairs: int, new_first: bool
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Pairs of (this checkout, the old one) of one process each, the first of which is started first."""
    now, before = Worker(sys.executable, case, data), Worker(old, case, data)
    first, second = (now, before) if new_first else (before, now)
    with first, second:
        return list(itertools.islice(_alternate(now, before), pairs))


def _alternate(now: Worker, before: Worker) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    while True:
        yield now.block(), before.block()
        other = before.block()
        yield now.block(), other


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare two checkouts in pairs.")
    parser.add_argument("old", help="the python of the environment in which the old checkout is installed")
    parser.add_argument("--cases", nargs="+", default=[case.name for case in CASES], help="beginnings of their names")
    parser.add_argument("--rounds", type=int, default=4, help="pairs of processes of each case")
    parser.add_argument("--pairs", type=int, default=40, help="pairs of blocks in a round")
    parser.add_argument("--out", type=Path, help="the file to write, instead of results/checkouts/COMMIT.json")
    given = parser.parse_args()
    environment = measure.environment()
    code = "import json; from aigc_zoo.bench.environment import commit; print(json.dumps(commit()))"
    old = json.loads(subprocess.run([given.old, "-c", code], capture_output=True, text=True, check=True).stdout)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npy"
        np.save(images, np.random.default_rng(0).integers(0, 256, (2_000, 3, 64, 64), np.uint8))
        for case in CASES:
            if not case.name.startswith(tuple(given.cases)):
                continue
            data = str(images) if case.data else ""
            found = results[case.name] = compared(case, given.old, data, given.rounds, given.pairs)
            for clock in ("seconds", "processor_seconds"):
                low, high = found[clock]["interval_95"]
                by_round = ", ".join(f"{one:.3f}" for one in found[clock]["medians_of_rounds"])
                print(f"{case.name}, {clock}: {found[clock]['median']:.4f} ({low:.4f} to {high:.4f}) "
                      f"of {found['pairs']} pairs; rounds {by_round}", flush=True)  # fmt: skip
    result = {"what": "time of the old checkout over that of this one", "old": old, "cases": results}
    result |= {"environment": environment, "command": "python benchmarks/checkouts.py OLD/.venv/bin/python"}
    path = given.out or RESULTS / f"{old['commit'][:12]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
