"""`--dry-run`: a run of two steps that writes nothing, and what it says of the whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from safetensors.torch import load, save

from aigc_zoo.errors import ConfigError
from aigc_zoo.game import count_parameters
from aigc_zoo.run.prepare import Prepared

STEPS = 2


def rehearse(prepared: Prepared, folder: Path) -> Iterator[str]:
    """Plays two steps, saves and reloads in memory, and estimates time and disk, line by line."""
    trainer = prepared.trainer()
    card = prepared.card(trainer.engine.choice)
    train = prepared.train
    yield f"{card['recipe']} on {train.name}: {len(train):,} samples of {train.spec.shape}"
    for slot, chosen in card["slots"].items():
        yield f"  {slot:<16} {(', '.join(chosen) if isinstance(chosen, list | tuple) else chosen) or 'none'}"
    for name, net in trainer.nets.items():
        yield f"  {name:<16} {count_parameters(net):,} weights"
    seconds = []
    for _ in range(1 + STEPS):  # the first one warms up
        began = time.perf_counter()
        trainer.train_step()
        trainer.diverged()  # waits for the device
        seconds.append(time.perf_counter() - began)
    step = sum(seconds[1:]) / STEPS
    tensors, scalars = trainer.state()
    content = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
    again = prepared.trainer()
    again.load(load(content), scalars)
    back = again.state()[0]
    lost = [name for name, tensor in tensors.items() if not bool((tensor == back[name].to(tensor.device)).all())]
    if lost:
        raise ConfigError(f"saving and reloading changes {lost[0]}: all state must live in parameters and buffers")
    yield f"  {'precision':<16} {card['precision']} ({card['why']['precision']})"
    yield f"  {'engine':<16} {card['engine']} ({card['why']['engine']})"
    images = prepared.batch_size * prepared.recipe.rounds
    yield f"  {'length':<16} {prepared.steps:,} steps of {prepared.batch_size}, on {card['device']}"
    whole, kept = timedelta(seconds=round(step * prepared.steps)), prepared.configuration.run["keep"]
    yield f"  {'speed':<16} {images / step:,.0f} images/s; about {whole} in all"
    yield f"  {'checkpoints':<16} {len(content) / 2**20:.1f} MiB each; {kept} and the best stay"
    yield f"  {'run folder':<16} {folder} (nothing was written)"
