"""Samples of the size of their inputs, whole or in overlapping tiles, from networks that take any size.

An input is padded by reflection to a multiple of the sides that the networks take, and the sample is cropped to the
size of the input times the ratio of the two in the training data, which is 1 unless the networks change the resolution.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.data.inputs import Input
from aigc_zoo.engine import fast
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.game import Spec

OVERLAP = 4
"""A tile overlaps the next one by at least its side divided by this number."""


@dataclass(frozen=True)
class Sizes:
    """The sides of the inputs and the sample, all but the first dimension of each, which is that of channels.

    own     of the first input that has a size
    unit    sides are padded to multiples of it
    ratios  of the sample (""), and of the other inputs that have a size, to those of the first input, by name
    """

    own: tuple[int, ...]
    unit: tuple[int, ...]
    ratios: Mapping[str, tuple[Fraction, ...]]

    @property
    def padded(self) -> tuple[int, ...]:
        return tuple(-(-side // unit) * unit for side, unit in zip(self.own, self.unit, strict=True))

    def scaled(self, sides: Sequence[int], name: str = "") -> tuple[int, ...]:
        """Sides of the first input as those of another one, or of the sample."""
        return tuple(math.ceil(side * ratio) for side, ratio in zip(sides, self.ratios[name], strict=True))


def sizes_of(spec: Spec, multiple: int, inputs: Mapping[str, Spec]) -> Sizes:
    """The sizes of these inputs and of the sample that is generated from them, where `spec` is that of training.

    Raises DataError for inputs whose sizes do not belong together.
    """
    sized = [name for name in inputs if name in spec.entries and len(spec.entries[name].shape) == len(spec.shape)]
    sides = {name: spec.entries[name].shape[1:] for name in sized}
    first, own = sized[0], inputs[sized[0]].shape[1:]
    ratios = {
        name: tuple(Fraction(side, mine) for side, mine in zip(other, sides[first], strict=True))
        for name, other in {"": spec.shape[1:], **sides}.items()
    }
    unit = tuple(
        math.lcm(multiple, *(ratio.denominator for ratio in each)) for each in zip(*ratios.values(), strict=True)
    )
    found = Sizes(own, unit, ratios)
    for name in sized[1:]:
        if inputs[name].shape[1:] != found.scaled(own, name):
            is_, needed, mine = (_shown(one) for one in (inputs[name].shape[1:], found.scaled(own, name), own))
            raise DataError(f"{name} is of {is_}, and with {first} of {mine} it must be of {needed}")
    return found


def generated(
    sampler: Sampler, multiple: int, number: int, inputs: Mapping[str, Input], tile: int | None = None
) -> tuple[Tensor, Spec]:
    """Sample `number` of these inputs, (1, ...) on the CPU, and its spec.

    tile  the largest side that the networks get at once, by default no limit

    Raises ConfigError where the networks take no such size, or memory does not suffice.
    """
    spec = sampler.spec
    sizes = sizes_of(spec, multiple, {name: one.spec for name, one in inputs.items()})
    entries = {name: one.load() for name, one in inputs.items()}
    entries = {
        name: reflected(value, sizes.scaled(sizes.padded, name)) if name in sizes.ratios else value
        for name, value in entries.items()
    }
    shape = (spec.shape[0], *sizes.scaled(sizes.padded))
    parts = [list(_tiles(*each, tile)) for each in zip(sizes.padded, sizes.unit, strict=True)]

    def generate(entries: Mapping[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        return _one(sampler, number, entries, shape, tile)

    if all(len(each) == 1 for each in parts):
        result = generate(entries, shape)
    else:
        result = _blended(generate, entries, shape, sizes, parts)
    target = sizes.scaled(sizes.own)
    result = result[_slices([(0, side) for side in target], [Fraction(1)] * len(target))].cpu()
    own = {name: one.spec for name, one in inputs.items()}
    return result, replace(spec, shape=(spec.shape[0], *target), entries={**spec.entries, **own})


def _one(
    sampler: Sampler, number: int, entries: Mapping[str, Tensor], shape: tuple[int, ...], tile: int | None
) -> Tensor:
    """One sample (1, *shape). Raises ConfigError for another size, or where memory does not suffice."""
    full = False
    try:
        found = sampler.one(number, entries, shape)["fake"]
    except (RuntimeError, MemoryError) as error:
        if not fast.out_of_memory(error):
            raise
        full = True
    if full:  # outside of the handler, whose traceback would hold the memory of the networks
        side = max(16, min(max(shape[1:]), tile or max(shape[1:])) // 2)
        raise ConfigError(f"a sample of {_shown(shape[1:])} does not fit in memory: use --tile {side}")
    if tuple(found.shape) != (1, *shape):
        raise ConfigError(
            f"the networks generate samples of {_shown(found.shape[1:])} where {_shown(shape)} is due, "
            "although the recipe states that they take any size: its `multiple` is wrong"
        )
    return found


# --- padding and tiles ------------------------------------------------------------------------------------------------


def reflected(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Pad the last dimensions at their end by reflection to these sides, also by more than the input has."""
    first = x.ndim - len(sides)
    for dim, side in enumerate(sides, first):
        length = x.shape[dim]
        if side > length:
            index = torch.arange(side) % max(1, 2 * length - 2)
            x = x.index_select(dim, torch.where(index < length, index, 2 * length - 2 - index))
    return x


def _tiles(side: int, unit: int, tile: int | None) -> Iterator[tuple[int, int]]:
    """Start and stop of overlapping tiles of equal length, multiples of the unit, that cover the side."""
    length = side if tile is None else min(side, -(-tile // unit) * unit)
    overlap = -(-(length // OVERLAP) // unit) * unit
    step = max(unit, length - overlap)
    for start in (*range(0, side - length, step), side - length):
        yield start, start + length


def _blended(
    generate: Callable[[Mapping[str, Tensor], tuple[int, ...]], Tensor],
    entries: Mapping[str, Tensor],
    shape: tuple[int, ...],
    sizes: Sizes,
    parts: Sequence[Sequence[tuple[int, int]]],
) -> Tensor:
    """The mean of the tiles, each with weights that fall linearly towards its edges inside of the sample.

    All tiles have the noise of the sample.
    """
    result = torch.zeros(1, *shape)
    scaled = [
        [(int(start * ratio), int(stop * ratio)) for start, stop in each]
        for each, ratio in zip(parts, sizes.ratios[""], strict=True)
    ]
    weights = [_weights(each, side) for each, side in zip(scaled, shape[1:], strict=True)]
    for place in itertools.product(*(range(len(each)) for each in parts)):
        ends = [each[n] for each, n in zip(parts, place, strict=True)]
        target = [each[n] for each, n in zip(scaled, place, strict=True)]
        factors = [each[n] for each, n in zip(weights, place, strict=True)]
        cut = {
            name: value[_slices(ends, sizes.ratios[name])] if name in sizes.ratios else value
            for name, value in entries.items()
        }
        found = generate(cut, (shape[0], *(stop - start for start, stop in target))).cpu()
        for dim, factor in enumerate(factors, 2):
            found *= factor.view(-1, *(1,) * (found.ndim - dim - 1))
        result[_slices(target, [Fraction(1)] * len(target))] += found
    return result


def _slices(ends: Sequence[tuple[int, int]], ratios: Sequence[Fraction]) -> tuple[Any, ...]:
    cuts = (slice(int(start * ratio), int(stop * ratio)) for (start, stop), ratio in zip(ends, ratios, strict=True))
    return (..., *cuts)


def _weights(tiles: Sequence[tuple[int, int]], side: int) -> list[Tensor]:
    """The weights of each tile along one dimension, which add up to 1 everywhere."""
    found = []
    for start, stop in tiles:
        place = torch.arange(start, stop, dtype=torch.float64)
        left = place - start + 0.5 if start else torch.full_like(place, math.inf)
        right = stop - place - 0.5 if stop < side else torch.full_like(place, math.inf)
        found.append(torch.minimum(left, right).clamp(max=(stop - start) / OVERLAP))
    total = torch.zeros(side, dtype=torch.float64)
    for (start, stop), weight in zip(tiles, found, strict=True):
        total[start:stop] += weight
    return [(weight / total[start:stop]).float() for (start, stop), weight in zip(tiles, found, strict=True)]


def _shown(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))
