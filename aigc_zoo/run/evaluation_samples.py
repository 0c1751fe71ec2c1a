"""The generated samples that metrics are computed from, and their features, with one rank or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from functools import cache

import torch
from torch import Tensor

from aigc_zoo.data.modalities import modality
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.sampler import CHUNK, Sampler
from aigc_zoo.game import Recipe, Samples, Spec
from aigc_zoo.metrics.evaluate import Evaluator, HasEntry
from aigc_zoo.metrics.features import Features, concatenate
from aigc_zoo.metrics.generated import KEEP, Generated, Rows
from aigc_zoo.random import derive
from aigc_zoo.run.free_memory import require_free

EVALUATION_SEED = 0
"""Seed of the evaluated samples, the same in all runs: metrics of different seeds would not be comparable."""


def evaluation_seed(seed: int) -> int:
    """The seed of the evaluated samples: a random stream of its own, so that grids and metrics share no noise."""
    return derive(seed, "evaluation")


def generated_samples(sampler: Sampler, evaluator: Evaluator, *others: Evaluator) -> Generated:
    """The samples that evaluators measure, as many as the first does, with the entries that their metrics read."""
    require_memory(evaluator)
    entries = set().union(*(one.entries for one in (evaluator, *others)))
    return evaluator.generated(lambda: _rows(sampler, evaluator, entries), entries=entries)


def entries_of(recipe: Recipe, reference: Samples, sampler: Callable[[], Sampler]) -> HasEntry:
    """Whether samples come with an entry. A few are generated for names that are not entries of the data."""
    data = {"real", *reference.spec.entries}
    generated = cache(lambda: sampler().rows(0).keys())
    return lambda name: bool(recipe.inputs) if name in data else name in generated()


def distributed_samples(sampler: Sampler, evaluator: Evaluator, ranks: Ranks) -> Generated:
    """The same as `generated_samples`, chunk k generated and looked at on rank k % world, complete on every rank.

    All ranks must call it. The extractor reads chunk by chunk, as one rank does, so that the number of ranks changes no
    digit.
    """
    if ranks.world == 1:
        return generated_samples(sampler, evaluator)
    require_memory(evaluator)
    extractors, names, count = evaluator.extractors, evaluator.entries, evaluator.num
    parts: dict[str, list[Features]] = {one.id: [] for one in extractors}
    rows: list[Rows] = []
    kept, fits = 0, True
    for start in range(0, -(-count // CHUNK), ranks.world):
        wanted = [min(CHUNK, max(0, count - number * CHUNK)) for number in range(start, start + ranks.world)]
        # A rank that has no sample left computes one more, since all ranks take part in the gather below.
        own = quantized_rows(sampler, start + ranks.rank, evaluator, names, max(1, wanted[ranks.rank]))
        for one in extractors:
            found = one.extract_features(own["fake"])
            values = _gather(found.values, sampler.device, ranks, wanted)
            logits = None if found.logits is None else _gather(found.logits, sampler.device, ranks, wanted)
            parts[one.id] += [
                Features(part, None if logits is None else logits[number]) for number, part in enumerate(values)
            ]
        if fits:
            gathered = {name: _gather(own[name], sampler.device, ranks, wanted) for name in sorted(names & own.keys())}
            rows += [dict(zip(gathered, one, strict=True)) for one in zip(*gathered.values(), strict=True)]
            kept += sum(value.nbytes for values in gathered.values() for value in values)
            fits = kept <= KEEP  # else the first rank generates all of them again
        evaluator.progress("samples", min(count, (start + ranks.world) * CHUNK), count)
    features = {id: concatenate(found) for id, found in parts.items()}
    return Generated(lambda: iter(rows) if fits else _rows(sampler, evaluator, names), count, names, features=features)


def _rows(sampler: Sampler, evaluator: Evaluator, entries: Set[str]) -> Iterator[Rows]:
    for number in range(-(-evaluator.num // CHUNK)):
        yield quantized_rows(sampler, number, evaluator, entries, CHUNK)


def quantized_rows(sampler: Sampler, number: int, evaluator: Evaluator, entries: Set[str], count: int) -> Rows:
    """The first `count` rows of a chunk, samples and entries of the data with the precision of files, on the CPU."""
    names, reference = entries | {"fake"}, evaluator.reference
    own = {name: value[:count] for name, value in sampler.rows(number).items() if name in names}
    specs = {**reference.spec.entries, "real": reference.spec}
    return {
        name: quantized(value, reference).cpu() if name == "fake" else _as_file(value, specs.get(name), evaluator)
        for name, value in own.items()
    }


def _as_file(value: Tensor, spec: Spec | None, evaluator: Evaluator) -> Tensor:
    """An entry of the data with the precision of files; what a recipe draws or generates beside it as it is."""
    if spec is None:
        return value.cpu()
    return modality(evaluator.installed.catalogue, spec.modality).quantize(value, spec).cpu()


def require_memory(evaluator: Evaluator) -> None:
    """Raises DataError for more samples than the memory can hold the features of, in parts and as a whole."""
    num = evaluator.num
    require_free(
        num,
        max(8, 8 * evaluator.extraction.dimensions),
        f"the features of {num:,} samples",
        "to evaluate fewer samples, ",
    )


def quantized(samples: Tensor, reference: Samples) -> Tensor:
    """Samples with the precision of those that they are compared with."""
    return samples if reference.quantize is None else reference.quantize(samples)


def _gather(value: Tensor, device: torch.device, ranks: Ranks, wanted: list[int]) -> list[Tensor]:
    """The values (at most CHUNK rows) of all ranks, on the CPU; of rank r the first `wanted[r]`, none for 0."""
    padded = torch.zeros(CHUNK, *value.shape[1:], dtype=value.dtype, device=device)
    padded[: len(value)] = value.to(device)
    return [part.cpu()[:rows] for part, rows in zip(ranks.gather(padded), wanted, strict=True) if rows]
