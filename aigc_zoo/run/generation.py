"""The samples of `zoo sample` and `Run.sample`, of noise alone or of inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from aigc_zoo.data.modalities import modality
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples, Spec
from aigc_zoo.modality import Modality
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run import previews
from aigc_zoo.run.arguments import argument, require_type
from aigc_zoo.run.free_memory import require_free
from aigc_zoo.run.generator import Generator
from aigc_zoo.run.inputs import Inputs, open_inputs
from aigc_zoo.run.sizes import generated

COUNT = 64
"""Number of samples by default, at most one for each input."""

COPIES = 2
"""Samples are held once in chunks and once as a whole."""

MOST_PIXELS = 100_000_000
"""Limit on the pixels of a preview."""

Note = Callable[[str], None]


@dataclass(frozen=True)
class Sampling:
    """A sampler, with the inputs that it generates samples from, if it reads some."""

    catalogue: Catalogue
    sampler: Sampler
    inputs: Inputs | None
    tile: int | None

    def count(self, requested: int | None, *, each: bool = False) -> int:
        """The number of samples: as requested, else 64, or one for each input if these are fewer.

        With `each`, one for each input that was given as a file.
        """
        if requested is not None:
            return requested
        if self.inputs is None:
            return COUNT
        return self.inputs.count if each and self.inputs.more is None else min(COUNT, self.inputs.count)

    def each(self, count: int) -> Iterator[tuple[Tensor, Spec]]:
        """Samples 0 to `count`, (1, ...) each, with their specs."""
        if self.inputs is None or not self.inputs.whole:
            for chunk in self.sampler.chunks(count):
                yield from ((chunk[n : n + 1], self.sampler.spec) for n in range(len(chunk)))
            return
        multiple = self.sampler.recipe.multiple
        for number in range(count):
            yield generated(self.sampler, multiple, number, self.inputs.of(number), self.tile)

    def all(self, count: int) -> tuple[Tensor, Spec]:
        """All samples (count, ...) and their spec. Raises DataError for samples of several sizes, and for too many."""
        require_free(count, COPIES * 4 * math.prod(self.sampler.spec.shape), f"-n {count:,}: these samples", "")
        if self.inputs is None or not self.inputs.whole or not count:
            return self.sampler.samples(count), self.sampler.spec
        samples: list[Tensor] = []
        spec = self.sampler.spec
        for sample, spec in self.each(count):  # noqa: B007  they are equal
            if samples and sample.shape != samples[0].shape:
                raise DataError(
                    "the inputs have several sizes, and so have the samples: they do not fit into one file or tensor\n"
                    "write them to a folder with --out FOLDER/, or generate them one by one"
                )
            samples.append(sample)
        return torch.cat(samples), spec

    def preview(self, count: int) -> Image.Image:
        """The preview of samples, beside their inputs where they have some."""

        def find(reference: str) -> Modality:
            return modality(self.catalogue, reference)

        if self.inputs is None:
            return find(self.sampler.spec.modality).preview(*self.all(count))
        recipe = self.sampler.recipe
        rows: list[Image.Image] = []
        for number, (sample, spec) in enumerate(self.each(count)):
            rows.append(previews.beside(recipe, find, self.inputs.row(number), sample, spec))
            if sum(row.width * row.height for row in rows) > MOST_PIXELS:
                raise DataError(f"{count:,} samples of this size do not fit on one sheet: use --out FOLDER/")
        return previews.sheet(rows)


def open_sampling(
    stack: ExitStack,
    catalogue: Catalogue,
    generator: Generator,
    *,
    seed: int = 0,
    label: int | str | None = None,
    inputs: Mapping[str, Any] | None = None,
    data: Any = None,
    dataset_options: Mapping[str, Any] | None = None,
    tile: int | None = None,
    own: Mapping[str, Samples] | None = None,
    note: Note = lambda text: None,
    **keywords: Any,
) -> Sampling:
    """The samples of a generator. `inputs`, `data` and `own` as of `open_inputs`; `keywords` are the recipe's options.

    Raises UsageError for inputs that the recipe does not read.
    """
    tile = argument("--tile", tile)
    require_type("inputs", inputs, "Mapping[str, Any] | None")
    how: dict[str, Any] = {"dataset_options": dataset_options, "tile": tile, "own": own}
    found = open_inputs(stack, catalogue, generator, dict(inputs or {}), data, **how)
    for text in () if found is None else found.notes:
        note(text)
    rows: Callable[[Tensor], Mapping[str, Tensor]] | None = None
    if found is not None:
        rows = _of_training(generator) if found.whole else found.rows
    sampler = generator.sampler(seed=argument("--seed", seed), label=label, inputs=rows, **keywords)
    return Sampling(catalogue, sampler, found, tile)


def _of_training(generator: Generator) -> Callable[[Tensor], Mapping[str, Tensor]]:
    """Inputs of the sizes of training without content, which show whether samples depend on the class."""
    specs = {name: spec for name, spec in generator.spec.entries.items() if name in generator.recipe.inputs}

    def rows(indices: Tensor) -> Mapping[str, Tensor]:
        dtypes = {name: getattr(torch, spec.dtype) for name, spec in specs.items()}
        return {name: torch.zeros(len(indices), *spec.shape, dtype=dtypes[name]) for name, spec in specs.items()}

    return rows
