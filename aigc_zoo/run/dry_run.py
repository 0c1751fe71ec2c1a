"""`zoo train --dry-run`: trains two steps, writes nothing, and estimates the time and disk space of the whole run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from safetensors.torch import load, save

from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import count_parameters
from aigc_zoo.run.prepare import Prepared

STEPS = 2


def dry_run(prepared: Prepared, directory: Path) -> Iterator[str]:
    """Trains two steps, saves and reloads the state in memory, and yields the report line by line."""
    trainer = prepared.trainer()
    card = prepared.card(trainer.engine.choice)
    train = prepared.train
    yield f"{card['recipe']} on {train.name}: {len(train):,} samples of {train.spec.shape}"
    yield from (f"note: {note}" for note in train.notes)
    for slot, chosen in card["slots"].items():
        yield f"  {slot:<16} {(', '.join(chosen) if isinstance(chosen, list | tuple) else chosen) or 'none'}"
    for name, net in trainer.nets.items():
        yield f"  {name:<16} {count_parameters(net):,} parameters"
    seconds = _seconds_per_step(trainer)
    tensors, scalars = trainer.state()
    content = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
    _check_reload(prepared, content, tensors, scalars)
    yield f"  {'precision':<16} {card['precision']} ({card['why']['precision']})"
    yield f"  {'engine':<16} {card['engine']} ({card['why']['engine']})"
    images = prepared.batch_size * prepared.recipe.rounds
    yield f"  {'length':<16} {prepared.steps:,} steps of {prepared.batch_size}, on {card['device']}"
    whole, keep = timedelta(seconds=round(seconds * prepared.steps)), prepared.settings.keep
    yield f"  {'speed':<16} {images / seconds:,.0f} images/s; about {whole} in all"
    yield f"  {'checkpoints':<16} {len(content) / 2**20:.1f} MiB each; the newest {keep} and the best are kept"
    yield f"  {'run directory':<16} {directory} (nothing was written)"


def _seconds_per_step(trainer: Trainer) -> float:
    seconds = []
    for _ in range(1 + STEPS):  # the first one warms up
        began = time.perf_counter()
        trainer.train_step()
        trainer.diverged()  # waits for the device
        seconds.append(time.perf_counter() - began)
    return sum(seconds[1:]) / STEPS


def _check_reload(prepared: Prepared, content: bytes, tensors: dict[str, Any], scalars: dict[str, Any]) -> None:
    """ConfigError where a new trainer does not restore the saved state."""
    trainer = prepared.trainer()
    trainer.load(load(content), scalars)
    restored = trainer.state()[0]
    lost = [name for name, tensor in tensors.items() if not bool((tensor == restored[name].to(tensor.device)).all())]
    if lost:
        raise ConfigError(f"saving and reloading changes {lost[0]}: all state must be parameters and buffers")
