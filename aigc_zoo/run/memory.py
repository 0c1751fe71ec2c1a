"""Refuses a run that does not fit in memory, when it starts or when a step fails, with the largest batch that fits."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from aigc_zoo import devices, options
from aigc_zoo.engine import fast
from aigc_zoo.engine.stages import StageSteps
from aigc_zoo.errors import ConfigError, ZooError
from aigc_zoo.run.footprint import RESIDENT, Footprint, NotEstimated, footprint
from aigc_zoo.run.free_memory import free_memory, size_text
from aigc_zoo.run.prepare import Prepared

FreeMemory = Callable[[torch.device], int | None]

MARGIN, BESIDE = 1.25, 100 << 20
"""On a CPU a run needs the bytes of its tensors times MARGIN, for the scratch memory of operations and what the
allocator cannot reuse, and BESIDE for libraries. docs/scale.md has the measurements."""

PLENTY = 2.0
"""Freed memory is kept for the next step (`fast.keep_memory`) where this many times the needed bytes are free."""


@dataclass(frozen=True)
class Memory:
    """The estimated memory of a run on this rank, `problem` where there is no estimate, and the bytes that are free.

    row  one row of the data as a batch, which shows the entries and their shapes
    """

    prepared: Prepared
    row: Mapping[str, Tensor]
    extractor: nn.Module | None
    footprint: Footprint | None
    problem: str
    free: int | None

    def needed(self, found: Footprint) -> int:
        """The bytes that the ranks of this machine need: on a GPU those of tensors, less than which cannot work."""
        return self._with_margin(found.peak(self.prepared.device))

    def __str__(self) -> str:
        free = "an unknown amount is" if self.free is None else f"{size_text(self.free)} are"
        need = "an unknown amount" if self.footprint is None else f"about {size_text(self.needed(self.footprint))}"
        return f"this run needs {need} of memory, and {free} free on {_where(self.prepared)}"

    def lines(self) -> Iterator[tuple[str, str]]:
        """Rows of a report: what the run needs, and of what that consists."""
        pool = sum(field.nbytes for field in self.prepared.train.fields.values())
        where = f"on {self.prepared.device.type}" if self.prepared.pool.resident else "in host memory or on the disk"
        yield "data", f"{size_text(pool)} {where}"
        if self.footprint is None:
            yield "memory", f"not estimated: {self.problem}"
            return
        yield "memory", str(self)
        parts = {name: size for name, size in vars(self.footprint).items() if size}
        stay = [f"{name} {size_text(parts.pop(name))}" for name in RESIDENT if name in parts]
        yield "", f"{', '.join(stay)}, and at its peak"
        yield "", ", ".join(f"{name} {size_text(size)}" for name, size in parts.items())

    @property
    def fits(self) -> bool:
        return self.footprint is None or self.free is None or self.needed(self.footprint) <= self.free

    @property
    def is_plenty(self) -> bool:
        """Whether freed memory may be kept."""
        if self.footprint is None or self.free is None:
            return True
        return PLENTY * self.needed(self.footprint) <= self.free

    def refusal(self) -> ConfigError:
        """The error for a run that does not fit, with the largest batch size, or the widths, that do."""
        assert self.footprint is not None
        assert self.free is not None
        prepared, per_rank = self.prepared, self.prepared.batch_size // self.prepared.ranks.world
        has = f"{size_text(self.free)} are free on {_where(prepared)}"
        fitting = 0
        if self._with_margin(self.footprint.without_step(prepared.device)) <= self.free:
            fitting = _largest(per_rank, prepared.settings.accumulate, self._batch_fits)
        problem = f"a batch of {prepared.batch_size} needs about {size_text(self.needed(self.footprint))}, and {has}"
        otherwise = "--allow-low-memory trains nevertheless"
        if fitting:
            return ConfigError(f"{problem}; {_advice(prepared, fitting)}\n{otherwise}")
        least = prepared.ranks.world * prepared.settings.accumulate
        return ConfigError(f"{problem}; nor does a batch of {least} fit: {self._narrower()}\n{otherwise}")

    def _with_margin(self, tensors: int) -> int:
        if self.prepared.device.type == "cuda":
            return tensors
        return int(MARGIN * tensors + BESIDE) * int(os.environ.get("LOCAL_WORLD_SIZE", "1"))

    def _batch_fits(self, batch_size: int, prepared: Prepared | None = None) -> bool:
        assert self.free is not None
        try:
            found = footprint(prepared or self.prepared, batch_size, self.row, self.extractor)
        except (NotEstimated, ZooError):
            return False
        return self.needed(found) <= self.free

    def _narrower(self) -> str:
        """The networks' widths that fit with this batch size, halved until they do; they are the options `width`."""
        prepared = self.prepared
        widths = {
            key: value
            for key, value in prepared.configuration.options.items()
            if key.rpartition(".")[2] == "width" and isinstance(value, int)
        }
        while any(width > 1 for width in widths.values()):
            widths = {key: max(1, width // 2) for key, width in widths.items()}
            try:
                card = prepared.configuration.card()
                other = options.resolve(prepared.catalogue, None, file=card, given=widths, origin="python")
                narrower = replace(prepared, configuration=other, recipe=options.build(prepared.catalogue, other))
            except ZooError:
                break
            if self._batch_fits(prepared.batch_size // prepared.ranks.world, narrower):
                given = " ".join(f"--{key} {width}" for key, width in widths.items())
                return f"choose smaller samples, or networks such as\n{given}, which fit"
        return "choose smaller networks or samples"


def estimate(prepared: Prepared, extractor: nn.Module | None = None, free: FreeMemory | None = None) -> Memory:
    """Estimates the memory of a run that samples and, with `extractor`, measures. It allocates nothing.

    `free(device)` returns the bytes that are free, as `free_memory` does.
    """
    row = prepared.rows(torch.zeros(1, dtype=torch.int64))  # the pool takes its part of the device before free is read
    found, problem = None, ""
    try:
        found = footprint(prepared, prepared.batch_size // prepared.ranks.world, row, extractor)
    except NotEstimated as error:
        problem = str(error)
    return Memory(prepared, row, extractor, found, problem, (free or free_memory)(prepared.device))


def require_memory(
    prepared: Prepared,
    extractor: nn.Module | None = None,
    *,
    allow_low: bool = False,
    free: FreeMemory | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Memory:
    """Estimates the memory of a run. Raises ConfigError for a run that does not fit; `allow_low` makes it a warning.

    On a CPU, memory that a step frees is kept for the next one only where there is plenty.
    """
    memory = estimate(prepared, extractor, free)
    if not memory.is_plenty:
        fast.return_memory(prepared.device)
    if memory.problem:
        say(f"note: the memory is not estimated, as a part of the step needs values: {memory.problem}")
    if not memory.fits:
        if not allow_low:
            raise memory.refusal()
        say(f"warning: {memory}")
    return memory


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
    fitting = largest_batch(prepared, prepared.batch_size // world)
    problem = f"a batch of {prepared.batch_size} does not fit in the memory of {_where(prepared)}"
    if not fitting:
        return ConfigError(f"{problem}, nor does one of {world * accumulate}: choose smaller networks or samples")
    return ConfigError(f"{problem}; {_advice(prepared, fitting)}")


def _advice(prepared: Prepared, fitting: int) -> str:
    """The largest batch that fits, per rank, and the options that choose it, or the same batch in micro-batches."""
    world, accumulate = prepared.ranks.world, prepared.settings.accumulate
    per_rank = prepared.batch_size // world
    more = next(
        n for n in range(accumulate + 1, per_rank + 1) if per_rank % n == 0 and per_rank // n <= fitting // accumulate
    )
    return (
        f"the largest batch that fits is {fitting * world}\n"
        f"use --batch-size {fitting * world}, or --accumulate {more} for the same batch in {more} micro-batches"
    )


def _where(prepared: Prepared) -> str:
    world = prepared.ranks.world
    return f"{devices.name(prepared.device)}{f' of {world} ranks' if world > 1 else ''}"


def largest_batch(prepared: Prepared, failed: int) -> int:
    """The largest batch size per rank, below `failed`, whose training step fits in memory, to a sixteenth; 0 for none.

    Each trial builds networks of its own beside those of the run, so the result is rather too small than too large.
    """
    return _largest(failed, prepared.settings.accumulate, lambda size: _fits(prepared, size))


def _largest(failed: int, unit: int, fits: Callable[[int], bool]) -> int:
    """The largest multiple of `unit` below `failed` for which `fits` is true, to a sixteenth; 0 for none."""
    good, bad = 0, failed
    while bad - good > max(unit, good // 16):
        middle = max(unit, (good + bad) // 2 // unit * unit)
        if middle in (good, bad):
            break
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good


def _fits(prepared: Prepared, batch_size: int) -> bool:
    gc.collect()
    devices.empty_cache(prepared.device)
    try:
        trainer = prepared.trial(batch_size)
        steps = StageSteps(trainer)
        for losses in (*steps.parts, *steps.parts):  # the first steps allocate the optimizers' state
            steps.run(losses)
        trainer.diverged()  # waits for the device
    except (RuntimeError, MemoryError) as error:
        if not fast.out_of_memory(error):
            raise
        return False
    return True
