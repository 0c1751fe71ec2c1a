"""Speed of a train step: of every installed recipe, and of `dcgan` against the plain loop. See README.md."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import measure
import pytest
import torch
from bare import Bare
from reference_dcgan import Reference
from roofline import report

from aigc_zoo import options, plugins
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.game import Samples, count_parameters
from aigc_zoo.run.prepare import Prepared, prepare

WARM_UP = 3
"""Steps before timing: allocations, threads, choice of kernels."""

SECONDS = 20.0
"""Time for the rounds of a recipe, if it allows at least MINIMUM rounds."""

MINIMUM, MAXIMUM = 20, 200
"""Minimum and maximum number of rounds."""

RECIPES = [entry.id for entry in plugins.catalogue().items("recipe")]


PRECISIONS = ("fp32", "auto")
ENGINES = ("eager", "graph") if torch.cuda.is_available() else ("eager",)


def prepared(recipe: str, precision: str = "auto", engine: str = "auto", **more: Any) -> Prepared:
    """The recipe as `zoo train RECIPE` would run it; skipped if its data or a component is missing."""
    catalogue = plugins.catalogue()
    given = {"precision": precision, "engine": engine, **more}
    try:
        return prepare(catalogue, options.resolve(catalogue, recipe, given=given, origin="python"))
    except (ConfigError, DataError) as error:
        pytest.skip(f"{recipe}: {error}")


def stepping(trainer: Trainer) -> Callable[[], object]:
    """The train step, followed by a synchronization on a GPU."""
    return synchronized(trainer.train_step, trainer.device)


def synchronized(step: Callable[[], object], device: torch.device) -> Callable[[], object]:
    if device.type != "cuda":
        return step

    def run() -> None:
        step()
        torch.cuda.synchronize()

    return run


def rounds_of(step: Callable[[], object]) -> int:
    """Warm up, and return how many rounds fit in SECONDS."""
    for _ in range(WARM_UP):
        step()
    start = time.perf_counter()
    step()
    return max(MINIMUM, min(MAXIMUM, int(SECONDS / (time.perf_counter() - start))))


def about(trainer: Trainer, run: Prepared, environment: dict[str, Any]) -> dict[str, Any]:
    return {
        "data": run.train.name,
        "shape": list(trainer.spec.shape),
        "batch_size": trainer.batch_size,
        "device": str(trainer.device),
        "precision": run.precision.name,
        "engine": trainer.engine.choice.name,
        "peak_memory": measure.peak_memory(trainer.device),
        "parameters": {name: count_parameters(net) for name, net in trainer.nets.items()},
        "environment": environment,
    }


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("recipe", RECIPES)
def bench_train_step(benchmark: Any, recipe: str, precision: str, engine: str) -> None:
    """A train step of a recipe with its default data, networks and batch size, against the bare loop."""
    environment = measure.environment()
    run = prepared(recipe, precision, engine, **({"batch_size": 8} if benchmark.disabled else {}))
    trainer = run.trainer()
    step = stepping(trainer)
    benchmark.group = f"train-step/{trainer.device.type}"
    if benchmark.disabled:
        benchmark.pedantic(step)
        return
    chosen, device = run.precision.name, run.device
    bare = Bare(run.recipe, run.train, steps=run.steps, batch_size=run.batch_size, device=device, precision=chosen)
    rounds = rounds_of(step)
    for _ in range(WARM_UP):
        bare.step()
    pair = measure.Paired(synchronized(bare.step, device))
    benchmark.pedantic(step, setup=pair.setup, teardown=pair.teardown, rounds=rounds)
    seconds = benchmark.stats.stats.median
    terms = {name: value.item() for name, value in trainer.train_step().items()}
    benchmark.extra_info |= about(trainer, run, environment) | {
        "images_per_second": trainer.batch_size * trainer.recipe.rounds / seconds,
        "milliseconds": 1000 * seconds,
        "paired": paired(pair, benchmark, "seconds of the bare loop / seconds of the zoo's step"),
        "roofline": report(bare.step, seconds, device, chosen),
        # The losses reveal a step that became faster by computing something else.
        "terms": {"step": trainer.step, **terms},
    }


def paired(pair: measure.Paired, benchmark: Any, ratio: str) -> dict[str, Any]:
    ratios = pair.ratios(benchmark.stats.stats.data)
    low, high = measure.interval(ratios)
    return {
        "ratio": ratio,
        "median": statistics.median(ratios),
        "interval_95": [low, high],
        "pairs": len(ratios),
        "other_seconds": statistics.median(pair.seconds),
    }


def bench_dcgan_beside_the_plain_loop(benchmark: Any) -> None:
    """`zoo/dcgan` and the tutorial's loop in alternation, with equal networks, settings, batch size and data."""
    environment = measure.environment()
    run = prepared("zoo/dcgan")
    trainer = run.trainer()
    reference = Reference(decoded(run.train, trainer.batch_size * 32), device=str(trainer.device))
    assert reference.batch_size == trainer.batch_size
    for net, other in ((trainer.nets.G, reference.netG), (trainer.nets.D, reference.netD)):
        assert count_parameters(net) == count_parameters(other)
    step = stepping(trainer)
    benchmark.group = f"train-step/{trainer.device.type}/paired"
    if benchmark.disabled:
        reference.step()
        benchmark.pedantic(step)
        return
    rounds = rounds_of(step)
    for _ in range(WARM_UP):
        reference.step()
    pair = measure.Paired(reference.step)
    benchmark.pedantic(step, setup=pair.setup, teardown=pair.teardown, rounds=rounds)
    benchmark.extra_info |= about(trainer, run, environment) | {
        "images_per_second": trainer.batch_size / benchmark.stats.stats.median,
        "paired": paired(pair, benchmark, "seconds of the plain loop / seconds of the zoo's step"),
    }


def decoded(samples: Samples, count: int) -> torch.Tensor:
    """The first images in [-1, 1], float32 (N, C, H, W), as a tutorial's loader holds them."""
    rows = {name: samples.fields[name][:count] for name in samples.groups[0]}
    images = samples.decode(rows, lambda *shape: torch.zeros(len(rows["real"]), *shape))["real"]
    return images.float()
