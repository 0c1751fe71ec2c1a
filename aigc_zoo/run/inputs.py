"""The inputs of `zoo sample`: those given by name, else a dataset's, else the held-out split of the run's own data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.data.inputs import Input
from aigc_zoo.data.layout import plain
from aigc_zoo.errors import DataError, UsageError, did_you_mean
from aigc_zoo.game import Samples
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.generator import Generator
from aigc_zoo.run.input_sources import Found, Row, Source


@dataclass(frozen=True)
class Inputs:
    """What samples are generated from: sample n from input n of each entry, from the first again after the last.

    entries  the inputs by name of the entry
    whole    samples are generated one by one, each at the size of its inputs
    more     the label and the real counterpart of row n, of a dataset; None for inputs from files
    notes    sentences on how inputs are read
    """

    entries: Mapping[str, Sequence[Input]]
    whole: bool
    more: Row | None = None
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of inputs."""
        return max(map(len, self.entries.values()))

    def of(self, number: int) -> dict[str, Input]:
        """The inputs of a sample."""
        return {name: inputs[number % len(inputs)] for name, inputs in self.entries.items()}

    def row(self, number: int) -> dict[str, Tensor]:
        """The entries of a sample, (1, ...) each."""
        more = self.more(number) if self.more is not None else {}
        return {**more, **{name: one.load() for name, one in self.of(number).items()}}

    def rows(self, indices: Tensor) -> dict[str, Tensor]:
        """The entries of several samples of one size."""
        last = self.count
        found: dict[int, dict[str, Tensor]] = {}
        for number in indices.tolist():
            if number % last not in found:
                found[number % last] = self.row(number % last)
        every = [found[number % last] for number in indices.tolist()]
        return {name: torch.cat([row[name] for row in every]) for name in every[0]}

    def name(self, number: int) -> str:
        """The file that a sample is generated from, "" where there is none: the first of an entry with several."""
        inputs = sorted(self.entries.values(), key=len, reverse=True)
        return next((one[number % len(one)].name for one in inputs if one[number % len(one)].name), "")


def open_inputs(
    stack: ExitStack,
    catalogue: Catalogue,
    generator: Generator,
    given: Mapping[str, Any],
    data: Any = None,
    *,
    dataset_options: Mapping[str, Any] | None = None,
    tile: int | None = None,
    own: Mapping[str, Samples] | None = None,
) -> Inputs | None:
    """The inputs of a generator; None for one that generates samples from noise alone.

    given  by entry: a path, a text, a tensor, or a list of these
    data   the dataset of the entries that are not given: a name, a path, or in memory
    own    the splits of the run's own data, where they are in memory

    Files stay open with `stack`. Raises UsageError for inputs that the recipe does not read or that are missing, and
    DataError for what cannot be read.
    """
    recipe = generator.recipe
    _require_known(generator, given, data, tile)
    if not recipe.inputs:
        return None
    catalogue = catalogue.remembering(generator.card)  # what its card names means what it meant in training
    source = Source(stack, catalogue, generator)
    found = source.given(given)
    missing = [name for name in recipe.inputs if name not in found.inputs]
    if missing and data is None and given:
        said = " ".join(f"--input {name}=PATH" for name in missing)
        raise UsageError(f"{source.recipe} reads {', '.join(recipe.inputs)}: {said} is missing, or --data PATH")
    if missing:
        rest = source.own(own) if data is None else source.of_data(missing, data, dataset_options)
        more = None if given else rest.more
        found = Found({**found.inputs, **rest.inputs}, more, [*found.notes, *rest.notes])
    elif data is not None:
        notes = [*found.notes, "--data is not read, since --input gives all that the generator reads"]
        found = found._replace(notes=notes)
    ordered = {name: found.inputs[name] for name in recipe.inputs}
    if found.more is None:
        _require_equal_numbers(ordered)
    sized = any(entry.whole for entry in source.entries.values())
    if tile is not None and not sized:
        raise UsageError(f"--tile {tile}: the networks of {source.recipe} take one size only; leave it out")
    whole = sized and (tile is not None or found.more is None or _other_sizes(generator, ordered))
    return Inputs(ordered, whole, found.more, tuple(found.notes))


def _require_known(generator: Generator, given: Mapping[str, Any], data: Any, tile: int | None) -> None:
    """Raises UsageError for inputs that the recipe does not read."""
    recipe, known = generator.card["recipe"], generator.recipe.inputs
    flags = {**{f"--input {name}": 1 for name in given}, "--data": data, "--tile": tile}
    if not known:
        for flag in (flag for flag, value in flags.items() if value is not None):
            raise UsageError(f"{flag}: {recipe} generates samples from noise alone; leave it out")
    for name in given:
        if name not in known:
            raise UsageError(
                f"--input {plain(name)}: {recipe} has no such input{did_you_mean(name, known)}\n"
                f"it reads {', '.join(known)}: for example --input {known[0]}=PATH"
            )


def _require_equal_numbers(found: Mapping[str, Sequence[Input]]) -> None:
    """Raises DataError unless all entries have as many inputs, of files with equal names, apart from single ones."""
    several = {name: inputs for name, inputs in found.items() if len(inputs) > 1}
    (first, mine), *others = several.items() or [("", ())]
    for name, inputs in others:
        if len(inputs) != len(mine):
            raise DataError(
                f"{first} has {len(mine):,} inputs and {name} has {len(inputs):,}\ngive as many of each, or one for all"
            )
        for one, other in zip(mine, inputs, strict=True):
            if one.name and other.name and _stem(one.name) != _stem(other.name):
                raise DataError(
                    f"{first} has {plain(one.name)} where {name} has {plain(other.name)}\n"
                    "inputs belong together by their names: give files of equal names, apart from the suffix"
                )


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _other_sizes(generator: Generator, found: Mapping[str, Sequence[Input]]) -> bool:
    specs = generator.spec.entries
    return any(name in specs and inputs[0].spec.shape != specs[name].shape for name, inputs in found.items())
