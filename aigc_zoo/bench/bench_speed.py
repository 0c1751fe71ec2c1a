"""Speed benchmarks: train step, sampling, batches of data, checkpoint and start-up of the command line.

Each round alternates with a baseline, a fixed computation. Runs are compared by the ratios to it, since machines drift
by more than the differences of interest.
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

from aigc_zoo import devices, options
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.bench.pairing import Paired, interval
from aigc_zoo.bench.suite import Suite
from aigc_zoo.engine.sampler import CHUNK
from aigc_zoo.engine.stages import Losses, StageSteps, mean
from aigc_zoo.errors import ZooError
from aigc_zoo.game import count_parameters
from aigc_zoo.run.device import choose_device
from aigc_zoo.run.prepare import Prepared, prepare

WARM_UP, LEAST, MOST = 6, 20, 200
BASELINE = "convolutions 1"
"""Name and version of the computation in `baseline`: ratios to different baselines are not compared."""


def prepared(suite: Suite, recipe: str, group: str) -> Prepared:
    """The recipe as `zoo train RECIPE` would run it; if its data or a component is missing, the entry says so."""
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


def baseline(device: torch.device) -> Callable[[], object]:
    """A forward and backward pass through two convolutions on fixed inputs, synchronized."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1)).to(device)
        images = torch.randn(32, 8, 28, 28).to(device)

    def run() -> None:
        torch.autograd.grad(network(images).square().mean(), list(network.parameters()))
        devices.synchronize(device)

    return run


def measure(
    suite: Suite,
    benchmark: Any,
    group: str,
    name: str,
    function: Callable[[], object],
    device: torch.device,
    **more: Any,
) -> None:
    """Time rounds of `function`, each beside a round of the baseline, and add them as an entry."""
    seconds, base = time_rounds(suite, benchmark, group, function, device)
    add(suite, group, name, seconds, base, **more)


def time_rounds(
    suite: Suite, benchmark: Any, group: str, function: Callable[[], object], device: torch.device
) -> tuple[list[float], list[float]]:
    """Time rounds of `function`, and of the baseline beside each."""
    other = baseline(device)

    def synchronized() -> None:
        function()
        devices.synchronize(device)

    for _ in range(WARM_UP):
        synchronized()
        other()
    start = time.perf_counter()
    synchronized()
    rounds = max(LEAST, min(MOST, int(suite.seconds / max(1e-9, time.perf_counter() - start))))
    pair = Paired(other)
    benchmark.group = group
    benchmark.pedantic(synchronized, setup=pair.setup, teardown=pair.teardown, rounds=rounds)
    return list(benchmark.stats.stats.data), pair.seconds


def add(suite: Suite, group: str, name: str, seconds: list[float], base: list[float], **more: Any) -> None:
    """Add the times of rounds, and of the baseline beside each, as an entry."""
    ratios = [one / other for one, other in zip(seconds, base, strict=True)]
    median = statistics.median(seconds)
    count = more.pop("count", None)
    entry = {"name": name, "group": group, "median": median, "interval": list(interval(seconds)), "seconds": seconds}
    entry |= {"baseline": BASELINE, "relative": ratios}
    suite.add(entry | ({"images_per_second": count / median} if count else {}) | more)


def bench_train_step(suite: Suite, benchmark: Any, recipe: str) -> None:
    """The mean train step of a recipe with its default data, networks and batch size: all turns and the EMA.

    A round is one step with each combination of losses that `Every` and `Until` select during the run, weighted by how
    often they do. A recipe with several stages has an entry for each as well.
    """
    group = f"train-step/{choose_device(suite.device).type}"
    run = prepared(suite, recipe, group)
    trainer = run.trainer()
    steps = StageSteps(trainer)
    times: list[dict[Losses, float]] = []

    def step_of_each() -> None:
        times.append({})
        for losses in steps.parts:
            start = time.perf_counter()
            steps.run(losses)
            devices.synchronize(trainer.device)
            times[-1][losses] = time.perf_counter() - start

    seconds, base = time_rounds(suite, benchmark, group, step_of_each, trainer.device)
    rounds = times[-len(seconds) :]
    about = {"data": run.train.name, "batch_size": trainer.batch_size, "parameters": count_parameters(trainer.nets)}
    about |= {"count": trainer.batch_size * trainer.recipe.rounds, "units": run.modality.units}
    add(suite, group, recipe, [mean(steps.stages, each) for each in rounds], base, **about)
    # The losses reveal a step that became faster by computing something else.
    terms = {name: value.item() for name, value in trainer.train_step().items()}
    suite.entries[-1]["terms"] = {"step": trainer.step, **terms}
    for stage in steps.stages if len(steps.stages) > 1 else ():
        name = f"{recipe}, {stage}"
        add(suite, group, name, [stage.mean(each) for each in rounds], base, recipe=recipe, **about)


def bench_sampling(suite: Suite, benchmark: Any, recipe: str) -> None:
    """Generate a chunk of 64 samples."""
    group = f"sampling/{choose_device(suite.device).type}"
    run = prepared(suite, recipe, group)
    inputs = run.rows if run.recipe.inputs else None
    sampler = run.trainer().sampler(seed=0, frequencies=run.train.frequencies, inputs=inputs)
    numbers = itertools.count()
    about = {"count": CHUNK, "units": run.modality.units}
    measure(suite, benchmark, group, recipe, lambda: sampler.chunk(next(numbers)), run.device, **about)


def bench_data(suite: Suite, benchmark: Any, recipe: str) -> None:
    """Draw and decode a batch of the recipe's data."""
    group = f"data/{choose_device(suite.device).type}"
    run = prepared(suite, recipe, group)
    numbers = itertools.count()

    def batch() -> object:
        return run.pool.batch(0, next(numbers), run.batch_size)

    about = {"count": run.batch_size, "units": run.modality.units, "data": run.train.name}
    measure(suite, benchmark, group, recipe, batch, run.device, **about)


def bench_checkpoint(suite: Suite, benchmark: Any, recipe: str) -> None:
    """Write a checkpoint durably and read it back."""
    group = "checkpoint"
    run = prepared(suite, recipe, group)
    trainer = run.trainer()
    trainer.train_step()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "0.safetensors"

        def save_and_load() -> None:
            tensors, scalars = trainer.state()
            checkpoint.save(path, tensors, scalars)
            checkpoint.load(path)

        measure(suite, benchmark, group, recipe, save_and_load, run.device)
        suite.entries[-1]["bytes"] = path.stat().st_size


@pytest.mark.parametrize("words", [("--help",), ("list",)], ids=" ".join)
def bench_start_up(suite: Suite, benchmark: Any, words: tuple[str, ...]) -> None:
    """Run a command that does not import torch."""

    def start() -> None:
        subprocess.run([sys.executable, "-m", "aigc_zoo", *words], check=True, capture_output=True)

    measure(suite, benchmark, "start-up", f"zoo {' '.join(words)}", start, torch.device("cpu"))
