"""The estimated bytes of a run against those of real steps, of recipes and families of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sketch.components import Family
from sketch.families import FAMILIES
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from aigc_zoo import options, plugins
from aigc_zoo.engine.stages import StageSteps
from aigc_zoo.game import Batch, Draw, Every, Nets, Player, Recipe, Samples, Terms, Until, adam
from aigc_zoo.run.footprint import Footprint, NotEstimated, footprint
from aigc_zoo.run.memory import MARGIN
from aigc_zoo.run.prepare import Prepared, prepare

from .conftest import TINY

SMALL = 1 << 16
"""Scratch memory of the operations of a tiny network, in bytes."""

ROW = torch.zeros(1, dtype=torch.int64)


def ready(blobs: Path, recipe: str = "dcgan", **given: Any) -> Prepared:
    catalogue = plugins.catalogue()
    values = {**TINY, "precision": "fp32", "extractor": None, **given}
    known = {option.key for option in options.options_of(catalogue, recipe, values, data=str(blobs))}
    chosen = {key: value for key, value in values.items() if key in known or key in options.RUN_SETTINGS}
    return prepare(catalogue, options.resolve(catalogue, recipe, data=str(blobs), given=chosen, origin="python"))


def with_family(prepared: Prepared, family: Family) -> Prepared:
    """The run with a family's recipe and data."""
    fields = {name: value for name, value in family.source(0).items() if value.ndim}

    def decode(rows: Mapping[str, Tensor], draw: Draw) -> Batch:
        return rows

    samples = Samples(
        name="own", split="train", spec=family.spec, fields=fields, decode=decode, digest="", groups=(tuple(fields),)
    )
    return replace(prepared, recipe=family.recipe, splits={"train": samples}, steps=100)


def estimated(prepared: Prepared, batch_size: int | None = None) -> Footprint:
    return footprint(prepared, batch_size or prepared.batch_size, prepared.rows(ROW))


def peak_of_real_steps(prepared: Prepared) -> int:
    """The bytes that the steps of a real trainer add at their peak, scratch memory of operations included."""
    steps = StageSteps(prepared.trainer())
    for losses in steps.parts:
        steps.run(losses)
    live = peak = 0
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        for losses in steps.parts:
            steps.run(losses)
    assert profile.profiler is not None
    events = profile.profiler.kineto_results.events()
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def assert_as_real(prepared: Prepared) -> None:
    """The estimate is at most a fifth above what real steps take, and its margin covers their scratch memory."""
    step, real = estimated(prepared).step, peak_of_real_steps(prepared)
    assert step <= 1.2 * real
    assert real <= MARGIN * step + SMALL


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["dcgan", "wgan-gp", "sngan", "vanilla"])
def test_what_stays_is_what_a_trainer_holds(blobs: Path, recipe: str) -> None:
    prepared = ready(blobs, recipe)
    found = estimated(prepared)
    trainer = prepared.trainer()
    trainer.train_step()

    def size(values: Any) -> int:
        return sum(value.nbytes for value in values if isinstance(value, Tensor))

    assert found.weights == size([*trainer.nets.parameters(), *trainer.nets.buffers()])
    assert found.ema == size([*trainer.ema.parameters(), *trainer.ema.buffers()])
    state = [optimizer.state_dict() for optimizer in trainer.optimizers.values()]
    assert found.optimizer == size(pytree.tree_leaves(state))
    assert found.gradients == size(parameter.grad for parameter in trainer.nets.parameters())


@pytest.mark.parametrize(
    ("recipe", "given"),
    [
        ("dcgan", {}),
        ("dcgan", {"batch_size": 48, "precision": "bf16"}),
        ("wgan-gp", {"discriminator_turns": 3}),
        ("dcgan-r1", {"penalty.r1.every": 4}),
        ("sngan", {"accumulate": 4, "batch_size": 16}),
        ("vanilla", {}),
    ],
)
def test_a_step_needs_what_a_real_one_does(blobs: Path, recipe: str, given: dict[str, Any]) -> None:
    assert_as_real(ready(blobs, recipe, **given))


@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_every_kind_are_estimated(blobs: Path, name: str) -> None:
    prepared = with_family(ready(blobs), FAMILIES[name]())
    assert_as_real(replace(prepared, batch_size=16))
    assert estimated(prepared).sampling > 0


# --- the batch size ---------------------------------------------------------------------------------------------------


def test_a_step_grows_with_the_batch_and_nothing_is_allocated_for_it(blobs: Path) -> None:
    prepared = ready(blobs)
    sizes = [estimated(prepared, batch_size).step for batch_size in (64, 128, 1 << 40)]
    assert sizes[1] / sizes[0] == pytest.approx(2, rel=0.1)
    assert sizes[2] / sizes[1] == pytest.approx(2**33, rel=0.2)
    whole = estimated(prepared, 64)
    micro = estimated(ready(blobs, batch_size=64, accumulate=16))
    assert micro.step < whole.step / 4
    assert (micro.weights, micro.sampling) == (whole.weights, whole.sampling)


def test_networks_that_fit_nowhere_are_not_built(blobs: Path) -> None:
    huge = simple(light, networks=lambda spec: {"G": nn.Linear(4, 784), "D": Huge()})
    assert estimated(replace(ready(blobs), recipe=huge)).weights >= 1 << 42


# --- losses that come later -------------------------------------------------------------------------------------------


class Wide(nn.Module):
    """A discriminator whose method `heavy` takes a hundred times the memory of its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(784, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))

    def heavy(self, x: Tensor) -> Tensor:
        parts = [self.head(x.flatten(1) * factor) for factor in range(100)]
        return torch.stack(parts).mean(0)


class Huge(nn.Module):
    """A discriminator with 4 TiB of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(784, 1 << 20), nn.Linear(1 << 20, 1 << 20), nn.Linear(1 << 20, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1))


def simple(loss: Any, **more: Any) -> Recipe:
    """A recipe with one discriminator, which has this loss."""
    parts: dict[str, Any] = {
        "networks": lambda spec: {"G": nn.Linear(4, 784), "D": Wide()},
        "players": {"discriminator": Player(controls=("D",), loss=loss, optimizer=adam(1e-3))},
        "draw": lambda batch: {"z": torch.randn(len(batch["real"]), 4)},
        "generate": lambda nets, batch: {"fake": nets.G(batch["z"]).reshape(-1, 1, 28, 28)},
    }
    return Recipe(**{**parts, **more})


def light(nets: Nets, batch: Batch) -> Terms:
    return {"loss": nets.D(batch["real"]).mean() - nets.D(batch["fake"]).mean()}


def heavy(nets: Nets, batch: Batch) -> Terms:
    return {"loss": nets.D.heavy(batch["real"]).mean()}


@pytest.mark.parametrize(
    "play",
    [Until(500, light, heavy), Every(16, heavy, light), Until(3, None, Every(5, light, Until(900, light, heavy)))],
)
def test_the_heaviest_stage_counts(blobs: Path, play: Any) -> None:
    prepared = replace(ready(blobs, batch_size=32), steps=1000)
    assert estimated(replace(prepared, recipe=simple(play))).step > 80 * 32 * 784 * 4
    assert estimated(replace(prepared, recipe=simple(light))).step < 20 * 32 * 784 * 4
    short = replace(prepared, recipe=simple(Until(500, light, heavy)), steps=400)
    assert estimated(short).step < 20 * 32 * 784 * 4, "the run ends before the heavy stage"


# --- code that fake tensors do not run as it is -----------------------------------------------------------------------


def viewing(nets: Nets, batch: Batch) -> Terms:
    x = F.conv2d(batch["real"].expand(-1, 2, -1, -1), batch["real"].new_ones(3, 2, 1, 1))
    return {"loss": nets.D(x.view(len(x), -1)[:, :784]).mean()}


def reading(nets: Nets, batch: Batch) -> Terms:
    loss = nets.D(batch["real"]).mean()
    return {"loss": loss * 2 if loss.item() > 0 else loss}


def on_host(nets: Nets, batch: Batch) -> Terms:
    factor = float(batch["t"]) + int(batch["images"])
    return {"loss": nets.D(batch["real"]).mean() * factor}


@pytest.mark.parametrize("loss", [viewing, reading, on_host])
def test_losses_that_view_or_read_a_value_are_estimated(blobs: Path, loss: Any) -> None:
    assert estimated(replace(ready(blobs), recipe=simple(loss))).step > 0


def selecting(nets: Nets, batch: Batch) -> Terms:
    return {"loss": nets.D(batch["real"][batch["real"].flatten(1).mean(1) > 0]).mean()}


def in_numpy(nets: Nets, batch: Batch) -> Terms:
    return {"loss": nets.D(batch["real"]).mean() * float(batch["real"].numpy().mean())}


def waiting(nets: Nets, batch: Batch) -> Terms:
    x = batch["real"].abs().mean()
    while x.item() > 0.5:
        x = x / 2
    return {"loss": nets.D(batch["real"]).mean() * x}


@pytest.mark.parametrize("loss", [selecting, in_numpy, waiting])
def test_what_cannot_be_estimated_is_said_with_the_reason(blobs: Path, loss: Any) -> None:
    with pytest.raises(NotEstimated) as caught:
        estimated(replace(ready(blobs), recipe=simple(loss)))
    assert 10 < len(str(caught.value)) <= 200
    assert "\n" not in str(caught.value)


def test_frozen_helpers_count_as_weights_and_not_as_state(blobs: Path) -> None:
    def with_helper(nets: Nets, batch: Batch) -> Terms:
        return {"loss": nets.D(batch["real"]).mean() + nets.helper(batch["real"].flatten(1)).mean()}

    prepared = ready(blobs)
    bare = estimated(replace(prepared, recipe=simple(light)))
    found = estimated(replace(prepared, recipe=simple(with_helper, frozen={"helper": lambda: nn.Linear(784, 1000)})))
    assert found.weights - bare.weights == 4 * (785 * 1000)
    assert found.checkpoint == bare.checkpoint
