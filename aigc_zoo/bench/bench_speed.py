"""Speed of what a user waits for: a train step, samples, batches of data, a checkpoint, the command line.

Each round alternates with a yardstick, a fixed piece of arithmetic: the ratio of the two is what is compared between
runs, since machines drift by more than what is to be seen.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from aigc_zoo import options
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.bench.pairing import Paired, interval
from aigc_zoo.bench.suite import Suite
from aigc_zoo.engine.sampler import CHUNK
from aigc_zoo.errors import ZooError
from aigc_zoo.game import count_parameters
from aigc_zoo.run.prepare import Prepared, choose_device, prepare

WARM_UP, LEAST, MOST = 6, 20, 200
YARDSTICK = "convolutions 1"
"""Changed when what it computes changes: ratios to another yardstick are not compared."""


def prepared(suite: Suite, recipe: str, group: str) -> Prepared:
    """The recipe as `zoo train RECIPE` would run it; where its data or a part is not to be had, that is the entry."""
    try:
        if recipe not in suite.prepared:
            given = {"device": suite.device}
            configuration = options.resolve(suite.catalogue, recipe, data=suite.data, given=given, origin="python")
            suite.prepared[recipe] = prepare(suite.catalogue, configuration)
        return suite.prepared[recipe]
    except ZooError as error:
        reason = str(error).splitlines()[0]
        suite.add({"name": recipe, "group": group, "skipped": reason})
        pytest.skip(reason)


def yardstick(device: torch.device) -> Callable[[], object]:
    """Two convolutions forwards and backwards on fixed numbers, waited for."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1)).to(device)
        images = torch.randn(32, 8, 28, 28).to(device)

    def play() -> None:
        torch.autograd.grad(network(images).square().mean(), list(network.parameters()))
        wait(device)

    return play


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(
    suite: Suite, benchmark: Any, group: str, name: str, what: Callable[[], object], device: torch.device, **more: Any
) -> None:
    """Rounds of `what`, each beside a round of the yardstick, as an entry."""
    other = yardstick(device)

    def waited() -> None:
        what()
        wait(device)

    for _ in range(WARM_UP):
        waited()
        other()
    start = time.perf_counter()
    waited()
    rounds = max(LEAST, min(MOST, int(suite.seconds / max(1e-9, time.perf_counter() - start))))
    pair = Paired(other)
    benchmark.group = group
    benchmark.pedantic(waited, setup=pair.setup, teardown=pair.teardown, rounds=rounds)
    seconds = list(benchmark.stats.stats.data)
    ratios = [one / yard for one, yard in zip(seconds, pair.seconds, strict=True)]
    median = statistics.median(seconds)
    images = more.pop("images", None)
    suite.add(
        {
            "name": name,
            "group": group,
            "median": median,
            "interval": list(interval(seconds)),
            "seconds": seconds,
            "yardstick": YARDSTICK,
            "relative": ratios,
            **({"images_per_second": images / median} if images else {}),
            **more,
        }
    )


def bench_train_step(suite: Suite, benchmark: Any, recipe: str) -> None:
    """One step of a recipe with its own data, networks and batch size: every player's turns and the averages."""
    group = f"train-step/{choose_device(suite.device).type}"
    run = prepared(suite, recipe, group)
    trainer = run.trainer()
    images = trainer.batch_size * trainer.recipe.rounds
    about = {"data": run.train.name, "batch_size": trainer.batch_size, "parameters": count_parameters(trainer.nets)}
    measure(suite, benchmark, group, recipe, trainer.train_step, trainer.device, images=images, **about)
    # A step that became faster by computing something else shows here.
    terms = {name: value.item() for name, value in trainer.train_step().items()}
    suite.entries[-1]["terms"] = {"step": trainer.step, **terms}


def bench_sampling(suite: Suite, benchmark: Any, recipe: str) -> None:
    """A chunk of 64 samples."""
    group = f"sampling/{choose_device(suite.device).type}"
    run = prepared(suite, recipe, group)
    inputs = run.rows if run.recipe.inputs else None
    sampler = run.trainer().sampler(seed=0, frequencies=run.train.frequencies, inputs=inputs)
    numbers = itertools.count()
    measure(suite, benchmark, group, recipe, lambda: sampler.chunk(next(numbers)), run.device, images=CHUNK)


def bench_data(suite: Suite, benchmark: Any, recipe: str) -> None:
    """A batch of the recipe's data, chosen and decoded."""
    group = f"data/{choose_device(suite.device).type}"
    run = prepared(suite, recipe, group)
    numbers = itertools.count()

    def batch() -> object:
        return run.pool.batch(0, next(numbers), run.batch_size)

    measure(suite, benchmark, group, recipe, batch, run.device, images=run.batch_size, data=run.train.name)


def bench_checkpoint(suite: Suite, benchmark: Any, recipe: str) -> None:
    """A checkpoint written, durably, and read back."""
    group = "checkpoint"
    run = prepared(suite, recipe, group)
    trainer = run.trainer()
    trainer.train_step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.safetensors"

        def save_and_load() -> None:
            tensors, scalars = trainer.state()
            checkpoint.save(path, tensors, scalars)
            checkpoint.load(path)

        measure(suite, benchmark, group, recipe, save_and_load, run.device)
        suite.entries[-1]["bytes"] = path.stat().st_size


@pytest.mark.parametrize("words", [("--help",), ("list",)], ids=" ".join)
def bench_start_up(suite: Suite, benchmark: Any, words: tuple[str, ...]) -> None:
    """A command that imports no torch, from its start to its end."""

    def start() -> None:
        subprocess.run([sys.executable, "-m", "aigc_zoo", *words], check=True, capture_output=True)

    measure(suite, benchmark, "start-up", f"zoo {' '.join(words)}", start, torch.device("cpu"))
