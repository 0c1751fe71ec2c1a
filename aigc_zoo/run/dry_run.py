"""`zoo train --dry-run`: trains a few steps, writes nothing, and estimates time, memory and disk space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from safetensors.torch import load, save

from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.engine.stages import Losses, Stage, StageSteps, mean
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import count_parameters
from aigc_zoo.run.disk_full import TolerateFullDisk
from aigc_zoo.run.memory import FreeMemory, require_memory
from aigc_zoo.run.monitor import Monitor
from aigc_zoo.run.prepare import Prepared
from aigc_zoo.run.progress import Progress
from aigc_zoo.run.signals import Stop

STEPS = 2


def dry_run(
    prepared: Prepared, directory: Path, *, allow_low_memory: bool = False, free: FreeMemory | None = None
) -> Iterator[str]:
    """Trains a few steps of each stage, saves and reloads the state in memory, and yields the report line by line.

    Raises ConfigError where the estimated memory exceeds what is free, as training does.
    """
    notes: list[str] = []
    monitor = Monitor(prepared, RunDirectory(directory), Progress(), Stop(), TolerateFullDisk(notes.append))
    memory = require_memory(prepared, monitor.network, allow_low=allow_low_memory, free=free, say=notes.append)
    trainer = prepared.trainer()
    card = prepared.card(trainer.engine.choice, trainer.frozen)
    train = prepared.train
    yield f"{card['recipe']} on {train.name}: {len(train):,} samples of {train.spec.shape}"
    yield from (*(f"note: {note}" for note in train.notes), *notes)
    for slot, chosen in card["slots"].items():
        yield f"  {slot:<16} {(', '.join(chosen) if isinstance(chosen, list | tuple) else chosen) or 'none'}"
    for name, net in trainer.nets.items():
        yield f"  {name:<16} {count_parameters(net):,} parameters"
    yield from (f"  {name:<16} {text}" for name, text in memory.lines())
    steps = StageSteps(trainer)
    seconds = steps.seconds(STEPS)
    tensors, scalars = trainer.state()
    content = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
    _check_reload(prepared, content, tensors, scalars)
    yield f"  {'precision':<16} {card['precision']} ({card['why']['precision']})"
    yield f"  {'engine':<16} {card['engine']} ({card['why']['engine']})"
    yield f"  {'length':<16} {prepared.steps:,} steps of {prepared.batch_size}, on {card['device']}"
    yield from _speed(prepared, steps.stages, seconds)
    keep = prepared.settings.keep
    yield f"  {'checkpoints':<16} {len(content) / 2**20:.1f} MiB each; the newest {keep} and the best are kept"
    yield f"  {'run directory':<16} {directory} (nothing was written)"


def _speed(prepared: Prepared, stages: Sequence[Stage], seconds: Mapping[Losses, float]) -> Iterator[str]:
    """The speed of each stage if there are several, and of the whole run."""
    samples, units = prepared.batch_size * prepared.recipe.rounds, prepared.modality.units

    def line(name: str, steps: int, each: float, of: str) -> str:
        return f"  {name:<16} {samples / each:,.0f} {units}/s; about {timedelta(seconds=round(each * steps))} {of}"

    for stage in stages if len(stages) > 1 else ():
        yield line("stage", stage.steps, stage.mean(seconds), f"for {stage}")
    yield line("speed", prepared.steps, mean(stages, seconds), "in all")


def _check_reload(prepared: Prepared, content: bytes, tensors: dict[str, Any], scalars: dict[str, Any]) -> None:
    """ConfigError where a new trainer does not restore the saved state."""
    trainer = prepared.trainer()
    trainer.load(load(content), scalars)
    restored = trainer.state()[0]
    lost = [name for name, tensor in tensors.items() if not bool((tensor == restored[name].to(tensor.device)).all())]
    if lost:
        raise ConfigError(f"saving and reloading changes {lost[0]}: all state must be parameters and buffers")
