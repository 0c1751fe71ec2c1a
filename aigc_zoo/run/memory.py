"""Turns an out-of-memory error of a training step into a message with the largest batch size that fits."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from aigc_zoo import devices
from aigc_zoo.engine import fast
from aigc_zoo.errors import ConfigError
from aigc_zoo.run.prepare import Prepared


@contextmanager
def explain_out_of_memory(prepared: Prepared) -> Iterator[None]:
    """Turns an out-of-memory error in the block into a ConfigError that suggests a batch size and --accumulate."""
    full = False
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not fast.out_of_memory(error):
            raise
        full = True
    if full:  # outside of the handler, whose traceback would hold the memory of the step
        raise _out_of_memory(prepared)


def _out_of_memory(prepared: Prepared) -> ConfigError:
    world, accumulate = prepared.ranks.world, prepared.settings.accumulate
    where = f"{devices.name(prepared.device)}{f' of {world} ranks' if world > 1 else ''}"
    per_rank = prepared.batch_size // world
    fitting = largest_batch(prepared, per_rank)
    problem = f"a batch of {prepared.batch_size} does not fit in the memory of {where}"
    if not fitting:
        return ConfigError(f"{problem}, nor does one of {world * accumulate}: choose smaller networks or images")
    more = next(
        n for n in range(accumulate + 1, per_rank + 1) if per_rank % n == 0 and per_rank // n <= fitting // accumulate
    )
    return ConfigError(
        f"{problem}; the largest batch that fits is {fitting * world}\n"
        f"use --batch-size {fitting * world}, or --accumulate {more} for the same batch in {more} micro-batches"
    )


def largest_batch(prepared: Prepared, failed: int) -> int:
    """The largest batch size per rank, below `failed`, whose training step fits in memory, to a sixteenth; 0 for none.

    Each trial builds networks of its own beside those of the run, so the result is rather too small than too large.
    """
    unit = prepared.settings.accumulate
    fits, fails = 0, failed
    while fails - fits > max(unit, fits // 16):
        middle = max(unit, (fits + fails) // 2 // unit * unit)
        if middle in (fits, fails):
            break
        if _fits(prepared, middle):
            fits = middle
        else:
            fails = middle
    return fits


def _fits(prepared: Prepared, batch_size: int) -> bool:
    gc.collect()
    devices.empty_cache(prepared.device)
    try:
        trainer = prepared.trial(batch_size)
        for _ in range(2):  # the first step allocates the optimizers' state
            trainer.train_step()
        trainer.diverged()  # waits for the device
    except (RuntimeError, MemoryError) as error:
        if not fast.out_of_memory(error):
            raise
        return False
    return True
