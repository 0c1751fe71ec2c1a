"""A batch that does not fit in memory ends in a sentence with the largest one that would."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from aigc_zoo.engine import fast
from aigc_zoo.errors import ConfigError
from aigc_zoo.run.prepare import Prepared, device_name


@contextmanager
def too_large(prepared: Prepared) -> Iterator[None]:
    """Turns "out of memory" in the block into a ConfigError that names a batch size and a number of parts."""
    full = False
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not fast.out_of_memory(error):
            raise
        full = True
    if full:  # outside of the handler, whose traceback would hold the memory of the step
        raise _refusal(prepared)


def _refusal(prepared: Prepared) -> ConfigError:
    world, parts = prepared.ranks.world, prepared.accumulate
    where = f"{device_name(prepared.device)}{f' of {world} ranks' if world > 1 else ''}"
    rows = largest(prepared, prepared.batch_size // world)
    said = f"a batch of {prepared.batch_size} does not fit in the memory of {where}"
    if not rows:
        return ConfigError(f"{said}, nor does one of {world * parts}: choose smaller networks or images")
    whole = prepared.batch_size // world
    more = next(n for n in range(parts + 1, whole + 1) if whole % n == 0 and whole // n <= rows // parts)
    return ConfigError(
        f"{said}; the largest that would is {rows * world}\n"
        f"say --batch-size {rows * world}, or --accumulate {more} for the same batch in {more} parts"
    )


def largest(prepared: Prepared, failed: int) -> int:
    """The most rows of one process that a step fits with, below `failed`, to a sixteenth; 0 for none.

    Each trial has networks of its own beside those of the run, so the answer errs on the safe side.
    """
    unit = prepared.accumulate
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


def _fits(prepared: Prepared, rows: int) -> bool:
    gc.collect()
    if prepared.device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        trainer = prepared.trial(rows)
        for _ in range(2):  # the optimisers' state comes with the first
            trainer.train_step()
        trainer.diverged()  # waits for the device
    except (RuntimeError, MemoryError) as error:
        if not fast.out_of_memory(error):
            raise
        return False
    return True
