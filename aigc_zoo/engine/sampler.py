"""Samples in fixed chunks of 64, each a function of (seed, chunk): neither their number nor the rank matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.engine import fast
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.errors import UsageError
from aigc_zoo.game import Nets, Recipe, Spec
from aigc_zoo.random import generator, reseed, seeded

CHUNK = 64
"""Samples a chunk. A part of this library's meaning: to change it changes every picture."""


class Sampler:
    """Makes samples with a recipe's generators in evaluation mode.

    `frequencies` are the shares of the classes that labels are drawn from; `label` fixes the class. `inputs(rows)`
    gives the real entries that `make` reads, for recipes that have any. `options` are keyword-only parameters of it.
    """

    def __init__(
        self,
        recipe: Recipe,
        spec: Spec,
        nets: Nets,
        *,
        seed: int = 0,
        t: float = 1.0,
        images: int = 0,
        frequencies: Sequence[float] = (),
        label: int | None = None,
        inputs: Callable[[Tensor], Mapping[str, Tensor]] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if recipe.inputs and inputs is None:
            raise UsageError(f"this recipe makes samples from {', '.join(recipe.inputs)}: say --data PATH")
        self.recipe, self.spec, self.nets, self.seed = recipe, spec, nets.eval(), seed
        self.t, self.images, self.label = t, images, label
        self.frequencies, self.inputs, self.options = tuple(frequencies), inputs, dict(options or {})
        weights = next(nets.parameters(), torch.zeros(()))
        self.device, self.dtype = weights.device, weights.dtype
        if self.dtype == torch.float32:
            fast.convert_memory_format(self.nets)

    @torch.no_grad()
    def chunk(self, number: int) -> dict[str, Tensor]:
        """All that `make` provides for chunk `number`, 64 samples, on the CPU's random streams whatever the device."""
        shown: dict[str, Tensor] = {
            self.recipe.imitates: torch.zeros(1, *self.spec.shape).expand(CHUNK, *self.spec.shape)
        }
        if self.spec.classes:
            shown["label"] = torch.nn.functional.one_hot(self.labels(number), self.spec.classes).float()
        if self.inputs is not None:
            shown |= self.inputs(torch.arange(number * CHUNK, (number + 1) * CHUNK))
        with seeded(self.device, self.seed, "sample", number):
            batch = shown | dict(self.recipe.draw(shown))
            batch |= {"t": torch.tensor(self.t), "images": torch.tensor(float(self.images))}
            batch = {key: self._move(value) for key, value in batch.items()}
            made = self._make(number, batch)
        return {key: value.float() if value.is_floating_point() else value for key, value in made.items()}

    def labels(self, number: int) -> Tensor:
        """The classes of a chunk's samples, int64."""
        if self.label is not None:
            return torch.full((CHUNK,), self.label)
        shares = torch.tensor(self.frequencies or (1.0,) * self.spec.classes, dtype=torch.float64)
        return torch.multinomial(shares, CHUNK, replacement=True, generator=generator(self.seed, "label", number))

    def chunks(self, count: int, *, key: str = "fake", ranks: Ranks | None = None) -> Iterator[Tensor]:
        """Samples 0 to `count`, chunk by chunk, the last one cut; with ranks, rank k % world alone makes chunk k."""
        ranks = ranks or Ranks()
        for number in range(ranks.rank, -(-count // CHUNK), ranks.world):
            yield self.chunk(number)[key][: count - number * CHUNK].cpu()

    def samples(self, count: int, *, key: str = "fake") -> Tensor:
        """`count` samples (count, *shape) on the CPU; other keys and encodings have shapes of their own."""
        return torch.cat(list(self.chunks(count, key=key)) or [torch.zeros(0, *self.spec.shape)])

    def _make(self, number: int, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        reseed(self.seed, "sample", number, "networks")
        try:
            return self.recipe.generate(self.nets, batch, **self.options)
        except RuntimeError as error:
            if not fast.is_view_error(error):
                raise
        fast.convert_memory_format(self.nets, Tensor.contiguous)
        reseed(self.seed, "sample", number, "networks")
        return self.recipe.generate(self.nets, batch, **self.options)

    def _move(self, value: Tensor) -> Tensor:
        return value.to(self.device, self.dtype) if value.is_floating_point() else value.to(self.device)
