"""The generated samples that metrics are computed from, and their features, with one rank or several."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.sampler import CHUNK, Sampler
from aigc_zoo.game import Samples
from aigc_zoo.metrics.evaluate import Evaluator
from aigc_zoo.metrics.features import Features, concatenate
from aigc_zoo.random import derive
from aigc_zoo.run.free_memory import require_free

EVALUATION_SEED = 0
"""Seed of the evaluated samples, the same in all runs: metrics of different seeds would not be comparable."""


def evaluation_seed(seed: int) -> int:
    """The seed of the evaluated samples: a random stream of its own, so that grids and metrics share no noise."""
    return derive(seed, "evaluation")


def evaluation_samples(sampler: Sampler, reference: Samples, count: int) -> Iterator[Tensor]:
    """The first `count` samples in order, in chunks, with the precision of the reference: images as uint8."""
    for number in range(-(-count // CHUNK)):
        yield quantized(sampler.chunk(number)["fake"][: count - number * CHUNK], reference)


def distributed_features(sampler: Sampler, evaluator: Evaluator, ranks: Ranks) -> Features:
    """The features of `evaluator.num` evaluation samples: each rank computes its shard, and every rank gets all.

    Every rank must call it. The extractor reads chunk by chunk, as `Evaluator.look` does, so that the number of ranks
    changes no digit.
    """
    require_memory(evaluator)
    parts: list[Features] = []
    reference, count = evaluator.reference, evaluator.num
    for first in range(0, -(-count // CHUNK), ranks.world):
        wanted = [min(CHUNK, max(0, count - number * CHUNK)) for number in range(first, first + ranks.world)]
        # A rank that has no sample left computes one more, since all ranks take part in the gather below.
        samples = sampler.chunk(first + ranks.rank)["fake"][: max(1, wanted[ranks.rank])]
        found = evaluator.extractor.extract_features(quantized(samples, reference))
        features, logits = (_gather(value, sampler.device, ranks) for value in found)
        parts += [
            Features(features[n][:rows], logits[n][:rows] if found.logits is not None else None)
            for n, rows in enumerate(wanted)
            if rows
        ]
        evaluator.progress("samples", sum(len(part.values) for part in parts), count)
    return concatenate(parts)


def require_memory(evaluator: Evaluator) -> None:
    """Raises DataError for more samples than the memory can hold the features of, in parts and as a whole."""
    num = evaluator.num
    require_free(num, 2 * 4 * evaluator.dimensions, f"the features of {num:,} samples", "to evaluate fewer samples, ")


def quantized(samples: Tensor, reference: Samples) -> Tensor:
    """Samples with the precision of those that they are compared with."""
    return samples if reference.quantize is None else reference.quantize(samples)


def _gather(value: Tensor | None, device: torch.device, ranks: Ranks) -> list[Tensor]:
    """The value (at most CHUNK rows) of every rank, padded to CHUNK rows, on the CPU."""
    if value is None or ranks.world == 1:
        return [] if value is None else [value]
    padded = torch.zeros(CHUNK, *value.shape[1:], dtype=value.dtype, device=device)
    padded[: len(value)] = value.to(device)
    return [part.cpu() for part in ranks.gather(padded)]
