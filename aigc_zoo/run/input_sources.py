"""Where the inputs of a generator come from: values by name, a dataset, or the data that it was trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aigc_zoo.data import files, idx, input_files, memory, resolve
from aigc_zoo.data.entries import Wanted, side_of, view_of, wanted_entries
from aigc_zoo.data.inputs import Entry, Input, from_samples
from aigc_zoo.data.kinds import Kinds
from aigc_zoo.data.layout import EVERYTHING
from aigc_zoo.data.modalities import modality
from aigc_zoo.data.pool import Pool, example
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.game import Samples
from aigc_zoo.options import references
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.generator import Generator
from aigc_zoo.run.held_out import held_out_split
from aigc_zoo.run.own_data import own_splits

Row = Callable[[int], Mapping[str, Tensor]]


class Found(NamedTuple):
    """Inputs by entry; other entries of row n, where they are rows of a dataset; notes for the user."""

    inputs: Mapping[str, Sequence[Input]]
    more: Row | None
    notes: Sequence[str]


class Source:
    """Finds inputs of a generator. Files stay open with `stack`."""

    def __init__(self, stack: ExitStack, catalogue: Catalogue, generator: Generator) -> None:
        self.stack, self.catalogue, self.generator = stack, catalogue, generator
        self.recipe = str(generator.card["recipe"]).removeprefix("zoo/")
        self.folders = generator.card["data"].get("entry") or ()
        specs = {generator.recipe.imitates: generator.spec, **generator.spec.entries}
        self.entries = {
            name: Entry(name, specs[name], modality(catalogue, specs[name].modality), self._whole(specs[name].shape))
            for name in generator.recipe.inputs
            if name in specs
        }

    def _whole(self, shape: tuple[int, ...]) -> bool:
        """Whether inputs of this shape keep their own size, which the size of the sample follows."""
        return self.generator.recipe.multiple > 0 and len(shape) == len(self.generator.spec.shape) > 1

    def given(self, given: Mapping[str, Any]) -> Found:
        """The inputs that were given by name."""
        found: dict[str, list[Input]] = {}
        notes: list[str] = []
        for name, values in given.items():
            entry, found[name] = self._described(name), []
            for value in values if isinstance(values, list | tuple) else [values]:
                inputs, said = input_files.from_value(self.stack, entry, value)
                found[name] += inputs
                notes += said
        return Found(found, None, notes)

    def _described(self, name: str) -> Entry:
        if name not in self.entries:
            raise ConfigError(
                f"--input {name}: the data that {self.recipe} was trained on derive this entry from others and do not "
                "describe it\ngive data of the same kind with --data"
            )
        return self.entries[name]

    def of_data(self, names: Sequence[str], data: Any, options: Mapping[str, Any] | None) -> Found:
        """The inputs that a dataset has: of files, each at its own size where the networks take any."""
        if not options and (path := self._files(names, data)) is not None:
            found = {name: self._of_files(name, path) for name in names}
            notes = [note for _, notes in found.values() for note in notes]
            return Found({name: inputs for name, (inputs, _) in found.items()}, None, notes)
        splits = resolve.load(self.catalogue, data, options=options)
        return self._of_split(names, held_out_split(splits) or splits["train"])

    def own(self, own: Mapping[str, Samples] | None) -> Found:
        """Those of the held-out split of the data that the run was trained on."""
        if own is None:
            wanted = wanted_entries(self.generator.recipe, self.folders)
            data, command = self.generator.card["data"], ("sample", "data")
            own = own_splits(self.catalogue, self.generator.path, data, wanted, command)[1]
        split = held_out_split(own)
        found = self._of_split(self.generator.recipe.inputs, split or own["train"])
        said = f"{own['train'].name} has no held-out split, so inputs are those of training"
        if split is not None:
            said = f"inputs are the split {split.split} of {split.name}"
        return found._replace(notes=[*found.notes, said])

    def _files(self, names: Sequence[str], data: Any) -> Path | None:
        """The path of files that are read one by one; None for a dataset that is read as a whole."""
        if not memory.is_reference(data) or any(name not in self.entries for name in names):
            return None
        path = references.find_data(self.catalogue, os.fspath(data)).path
        suffixes = {suffix for name in names for suffix in self.entries[name].modality.suffixes}
        if path is None or (path.is_dir() and idx.standard_files(path)):
            return None
        return path if path.is_dir() or path.suffix.lower() in {".zip", *suffixes} else None

    def _of_files(self, name: str, path: Path) -> tuple[list[Input], list[str]]:
        """The files of an entry: those in the folder of its name, one side of files with both, or all."""
        recipe, entry = self.generator.recipe, self.entries[name]
        wanted = wanted_entries(recipe, self.folders) or Wanted(recipe.inputs)
        with input_files.readable(path), files.opened(path, Kinds({entry.spec.modality: entry.modality})) as found:
            every = found.names
        view = view_of(every, name, wanted)
        if view is None and (side := side_of(every, name)) is not None:
            with suppress(ValueError):  # samples of most modalities do not lie side by side
                entry, view = replace(entry, modality=entry.modality.part(side[1], 2)), side[0]
        if view is None and len(recipe.inputs) > 1:
            fix = " ".join(f"--input {one}=PATH" for one in recipe.inputs)
            raise DataError(f"{path} has no folder {wanted.folder(name)}/, which {self.recipe} reads\nuse {fix}")
        return input_files.from_path(self.stack, entry, path, view or EVERYTHING, splits=True)

    def _of_split(self, names: Iterable[str], samples: Samples) -> Found:
        """Rows of a dataset; of one without the entry, the samples themselves are the only input of a recipe."""
        known, recipe, spec = example(samples), self.generator.recipe, self.generator.spec
        found: dict[str, list[Input]] = {}
        for name in names:
            has = name if name in known or len(recipe.inputs) > 1 else "real"
            if has not in known:
                raise DataError(f"{samples.name} has {', '.join(sorted(known))}, and {self.recipe} reads {name}")
            derived = Entry(name, replace(spec, shape=tuple(known[has].shape[1:])), self.generator.modality)
            found[name] = from_samples(self.entries.get(name, derived), samples, has)
        pool, kept = Pool(samples, "cpu"), set()
        if "label" in known and tuple(known["label"].shape[1:]) == (spec.classes,):
            kept.add("label")
        if known.keys() >= set(recipe.inputs) and tuple(known[recipe.imitates].shape[1:]) == spec.shape:
            kept.add(recipe.imitates)

        def more(number: int) -> Mapping[str, Tensor]:
            row = pool.rows(torch.tensor([number]))
            return {name: row[name] for name in kept}

        return Found(found, more, samples.notes)
