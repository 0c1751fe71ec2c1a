"""Sampling in fixed chunks of 64, each a function of (seed, chunk number): results depend on neither the number of
samples nor the rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.engine import fast
from aigc_zoo.engine.progress_watch import ProgressWatch
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.errors import UsageError
from aigc_zoo.game import Nets, Recipe, Spec
from aigc_zoo.random import generator, reseed, seeded

CHUNK = 64
"""Samples per chunk. Changing it changes every sample of every seed."""


class Sampler:
    """Generates samples with the generators of a recipe in evaluation mode.

    seed         controls noise, labels and the noise inside networks
    t, images    the progress entries of the batch, as stored with the weights
    frequencies  relative class frequencies from which labels are drawn, uniform if empty; `label` fixes the class
    inputs       `inputs(rows)` returns the real entries that `Recipe.generate` reads, needed if `recipe.inputs` is set;
                 labels among them are used unless `label` fixes the class
    options      keyword-only arguments of `Recipe.generate`
    watch        of the trainer whose generators these are, notes whether `generate` uses `t`

    Raises UsageError if the recipe needs inputs and there are none.
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
        watch: ProgressWatch | None = None,
    ) -> None:
        if recipe.inputs and inputs is None:
            fix = " ".join(f"--input {name}=PATH" for name in recipe.inputs)
            raise UsageError(
                f"this recipe generates samples from {', '.join(recipe.inputs)}: say {fix}, or --data PATH"
            )
        self.recipe, self.spec, self.nets, self.seed = recipe, spec, nets.eval(), seed
        self.t, self.images, self.label = t, images, label
        self.frequencies, self.inputs, self.options = tuple(frequencies), inputs, dict(options or {})
        self.watch = watch or ProgressWatch()
        parameter = next(nets.parameters(), torch.zeros(()))
        self.device, self.dtype = parameter.device, parameter.dtype
        if self.dtype == torch.float32:
            fast.convert_memory_format(self.nets)

    @torch.no_grad()
    def chunk(self, number: int) -> dict[str, Tensor]:
        """Everything that `Recipe.generate` returns for the 64 samples of chunk `number`, float32, on the device.

        Noise is drawn on the CPU, so it does not depend on the device.
        """
        return self._chunk(number)[1]

    @torch.no_grad()
    def rows(self, number: int) -> dict[str, Tensor]:
        """What `chunk` returns, and beside it the entries of the data and of `Recipe.draw` that it was made from."""
        made_from, generated = self._chunk(number)
        return {**made_from, **generated}

    @torch.no_grad()
    def one(self, number: int, inputs: Mapping[str, Tensor], shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Everything that `Recipe.generate` returns for sample `number` alone: of inputs (1, ...) of any size that its
        networks take, with samples of this shape. Its noise depends on seed and number, and is not that of its chunk.
        """
        return self._generated(("one sample", number), self._real(inputs, torch.tensor([number]), shape))[1]

    def _chunk(self, number: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The entries that the samples of a chunk were made from, and what `generate` returns."""
        rows = torch.arange(number * CHUNK, (number + 1) * CHUNK)
        inputs = {} if self.inputs is None else self.inputs(rows)
        real = self._real(inputs, rows, self.spec.shape)
        drawn, generated = self._generated(("sample", number), real)
        return {**inputs, **{name: real[name] for name in ("label",) if name in real}, **drawn}, generated

    def _real(self, inputs: Mapping[str, Tensor], rows: Tensor, shape: tuple[int, ...]) -> dict[str, Tensor]:
        """The entries of the data that `draw` and `generate` get for samples of one chunk."""
        template = torch.zeros(1, *shape, dtype=getattr(torch, self.spec.dtype))
        real = {self.recipe.imitates: template.expand(len(rows), *shape), **inputs}
        if self.spec.classes and (self.label is not None or "label" not in real):
            labels = self.labels(int(rows[0]) // CHUNK)[rows % CHUNK]
            real["label"] = torch.nn.functional.one_hot(labels, self.spec.classes).float()
        return real

    def _generated(
        self, key: tuple[str, int], real: Mapping[str, Tensor]
    ) -> tuple[Mapping[str, Tensor], dict[str, Tensor]]:
        """What is drawn by seed and key, and what `generate` returns for it and these entries."""
        with seeded(self.device, self.seed, *key):
            drawn = self.recipe.draw(real)
            batch = {**real, **drawn}
            batch |= {"t": torch.tensor(self.t), "images": torch.tensor(float(self.images))}
            batch = self.watch.watched({name: self._to_device(value) for name, value in batch.items()})
            with self.watch.part("generate"):
                generated = self._generate(key, batch)
        found = {name: value.float() if value.is_floating_point() else value for name, value in generated.items()}
        return drawn, found

    def labels(self, number: int) -> Tensor:
        """The class indices of a chunk, int64 (64,) on the CPU."""
        if self.label is not None:
            return torch.full((CHUNK,), self.label)
        weights = torch.tensor(self.frequencies or (1.0,) * self.spec.classes, dtype=torch.float64)
        return torch.multinomial(weights, CHUNK, replacement=True, generator=generator(self.seed, "label", number))

    def chunks(self, count: int, *, key: str = "fake", ranks: Ranks | None = None) -> Iterator[Tensor]:
        """Yield samples 0 to `count` in chunks (64, ...) on the CPU, the last one shorter.

        With ranks, chunk k is generated by rank k % world only.
        """
        ranks = ranks or Ranks()
        for number in range(ranks.rank, -(-count // CHUNK), ranks.world):
            yield self.chunk(number)[key][: count - number * CHUNK].cpu()

    def samples(self, count: int, *, key: str = "fake") -> Tensor:
        """Generate `count` samples (count, *spec.shape) on the CPU; other keys of `generate` have their own shapes."""
        return torch.cat(list(self.chunks(count, key=key)) or [torch.zeros(0, *self.spec.shape)])

    def _generate(self, key: tuple[str, int], batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Call `Recipe.generate`; if a network calls `view`, convert all networks to contiguous tensors and retry."""
        reseed(self.seed, *key, "networks")
        try:
            return self.recipe.generate(self.nets, batch, **self.options)
        except RuntimeError as error:
            if not fast.is_view_error(error):
                raise
        fast.convert_memory_format(self.nets, Tensor.contiguous)
        reseed(self.seed, *key, "networks")
        return self.recipe.generate(self.nets, batch, **self.options)

    def _to_device(self, value: Tensor) -> Tensor:
        return value.to(self.device, self.dtype) if value.is_floating_point() else value.to(self.device)
