"""Estimates the memory of a run before it starts: weights, optimizer state, EMA, activations, sampling, checkpoints.

Nothing is computed and nothing is allocated: the networks are built on the `meta` device, and one training step of each
combination of losses runs on fake tensors (engine/live_bytes.py), whose bytes are counted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from aigc_zoo.engine.guard import HostGuard
from aigc_zoo.engine.live_bytes import LiveBytes, fake_copy, without_values
from aigc_zoo.engine.networks import build_networks
from aigc_zoo.engine.progress_watch import ProgressWatch
from aigc_zoo.engine.sampler import CHUNK
from aigc_zoo.engine.stages import StageSteps
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import DataError, StorageError, ZooError, in_a_line
from aigc_zoo.game import Batch, Nets, Recipe, Spec
from aigc_zoo.random import seeded
from aigc_zoo.run.evaluation_samples import quantized
from aigc_zoo.run.prepare import Prepared

MICRO_BATCHES = 2
"""Micro-batches that are run, of one turn of each player. Of further micro-batches and turns only the batches and their
fakes count, which stay until the step ends."""

CHECKPOINT_COPIES = 3
"""Copies of the state while a checkpoint is encoded (artefacts/checkpoint.py): tensors, body, file."""


RESIDENT = ("weights", "ema", "optimizer", "gradients")
"""The fields of `Footprint` that stay in memory during the run."""


class NotEstimated(Exception):
    """The memory of this recipe cannot be estimated; the message says why."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of the tensors of a run: those that stay, and what each phase adds to them at its peak.

    step        activations and batches of a training step
    sampling    copies of the generators, activations of 64 samples
    evaluation  activations of the extractor on 64 samples, 0 where nothing is measured
    checkpoint  copies of the state in host memory
    """

    weights: int
    ema: int
    optimizer: int
    gradients: int
    step: int
    sampling: int
    evaluation: int
    checkpoint: int

    def peak(self, device: torch.device) -> int:
        """The bytes of the phase that needs most."""
        return self._peak(self.step, device)

    def without_step(self, device: torch.device) -> int:
        """The peak of the phases that no batch size changes."""
        return self._peak(0, device)

    def _peak(self, step: int, device: torch.device) -> int:
        checkpoint = self.checkpoint if device.type == "cpu" else 0
        resident: int = sum(getattr(self, name) for name in RESIDENT)
        return resident + max(step, self.sampling, self.evaluation, checkpoint)


class _Unguarded(HostGuard):
    """A guard that finds nothing, as there are no values to check."""

    def check(self, loss: Tensor) -> None:
        return None

    def allows_step(self, found: Tensor | None) -> bool:
        return True


class _Unwatched(ProgressWatch):
    """A watch that notes nothing, as fake tensors cannot be those of another class."""

    def watched(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(batch)


def footprint(
    prepared: Prepared, batch_size: int, row: Mapping[str, Tensor], extractor: nn.Module | None = None
) -> Footprint:
    """The footprint of a run with so many samples per batch on this rank, measured with this extractor.

    `row` is one row of the data as a batch; only its entries, their shapes and dtypes matter.

    Raises NotEstimated, and ConfigError where the networks refuse the data.
    """
    problem = ""
    frozen = {name: _built(build) for name, build in prepared.recipe.frozen.items()}
    for contiguous in (False, True):  # a network that calls `view` needs contiguous tensors
        try:
            return _footprint(prepared, frozen, batch_size, row, extractor, contiguous)
        except ZooError:
            raise
        except Exception as error:  # the code of a plugin, or an operation that needs values
            problem = in_a_line(error)[:160]
    raise NotEstimated(problem)


def _footprint(
    prepared: Prepared,
    frozen: Mapping[str, nn.Module],
    batch_size: int,
    row: Mapping[str, Tensor],
    extractor: nn.Module | None,
    contiguous: bool,
) -> Footprint:
    accumulate = min(MICRO_BATCHES, prepared.settings.accumulate)
    rows = batch_size // prepared.settings.accumulate * accumulate
    with without_values() as live:
        recipe, fakes = _without_weights(prepared.recipe, frozen)

        def entries(count: int) -> dict[str, Tensor]:
            return {name: value.new_empty((count, *value.shape[1:]), device="cpu") for name, value in row.items()}

        trainer = Trainer(
            recipe,
            prepared.train.spec,
            lambda _: entries(rows),
            batch_size=rows,
            steps=prepared.steps,
            accumulate=accumulate,
            precision=prepared.precision.name,
        )
        trainer.guard = _Unguarded(tuple(recipe.players), trainer.nets, trainer.device)
        trainer.watch, trainer.format_is_checked = _Unwatched(), True
        if contiguous:
            trainer.use_contiguous()
        step = _steps(trainer, live)
        left_out = prepared.recipe.rounds * prepared.settings.accumulate - accumulate
        micro_batch = _bytes(trainer.batch(0).values()) // accumulate + max(fakes, default=0)
        sampling, evaluation = _sampling(prepared, trainer, entries, extractor, live)
        unsaved = _bytes(tensor for helper in trainer.frozen.values() for tensor in _tensors(helper))
        weights, ema = _bytes(_tensors(trainer.nets)), _bytes(_tensors(trainer.ema))
        optimizer = _bytes(pytree.tree_leaves([one.state_dict() for one in trainer.optimizers.values()]))
        return Footprint(
            weights=weights,
            ema=ema,
            optimizer=optimizer,
            gradients=_bytes(parameter.grad for parameter in trainer.nets.parameters()),
            step=step + left_out * micro_batch,
            sampling=sampling,
            evaluation=evaluation,
            checkpoint=CHECKPOINT_COPIES * (weights - unsaved + ema + optimizer),
        )


def _built(build: Callable[[], nn.Module]) -> nn.Module:
    """A frozen network, on the `meta` device where it can be built there; what it reads from a file has values."""
    with seeded(torch.device("cpu"), "frozen"):
        try:
            with warnings.catch_warnings(), torch.device("meta"):
                warnings.simplefilter("ignore")  # torch warns of weights that are copied to this device
                return build()
        except (DataError, StorageError):
            raise
        except Exception:  # its code needs values
            return build()


def _without_weights(recipe: Recipe, helpers: Mapping[str, nn.Module]) -> tuple[Recipe, list[int]]:
    """The recipe with fake parameters and single turns, and a list that receives the bytes of its fakes.

    The networks are built on the `meta` device, without memory and without computing their initial weights.
    """
    sizes: list[int] = []

    def generate(nets: Nets, batch: Batch, **options: Any) -> Mapping[str, Tensor]:
        generated = recipe.generate(nets, batch, **options)
        sizes.append(_bytes(generated.values()))
        return generated

    def networks(spec: Spec) -> Mapping[str, nn.Module]:
        with torch.device("meta"):
            built = build_networks(recipe, spec, 0)
        return {name: fake_copy(net) for name, net in built.items()}

    players = {name: replace(one, turns=1) for name, one in recipe.players.items()}
    frozen = {name: partial(fake_copy, helper) for name, helper in helpers.items()}
    return replace(recipe, networks=networks, players=players, generate=generate, frozen=frozen), sizes


def _steps(trainer: Trainer, live: LiveBytes) -> int:
    """The bytes that a training step adds at its peak, the largest of all combinations of losses.

    Before it, the optimizers get their state and the parameters their gradients, as after a first step.
    """
    for optimizer in trainer.optimizers.values():
        for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
            parameter.grad = torch.empty_like(parameter)
        optimizer.step()
    before = live.live
    live.reset()
    steps = StageSteps(trainer)
    for losses in steps.parts:
        steps.run(losses)
    return live.peak - before


def _sampling(
    prepared: Prepared,
    trainer: Trainer,
    entries: Callable[[int], dict[str, Tensor]],
    extractor: nn.Module | None,
    live: LiveBytes,
) -> tuple[int, int]:
    """The bytes that drawing a chunk of samples adds at its peak, and those of measuring it."""
    before, train = live.live, prepared.train
    inputs = (lambda _: entries(CHUNK)) if prepared.recipe.inputs else None
    live.reset()
    sampler = trainer.sampler(frequencies=train.frequencies, inputs=inputs)
    generated = sampler.chunk(0)
    sampling = live.peak - before
    if extractor is None:
        return sampling, 0
    live.reset()
    with torch.no_grad():
        fake_copy(extractor)(quantized(generated["fake"], train))
    return sampling, live.peak - before


def _tensors(net: nn.Module) -> Iterator[Tensor]:
    yield from net.parameters()
    yield from net.buffers()


def _bytes(values: Iterable[Any]) -> int:
    return sum(value.nbytes for value in values if isinstance(value, Tensor))
