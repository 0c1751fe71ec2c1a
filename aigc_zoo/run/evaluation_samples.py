"""The generated samples that metrics are computed from, and their features, with one rank or several."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from aigc_zoo.data.writers import to_uint8
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.sampler import CHUNK, Sampler
from aigc_zoo.game import Spec
from aigc_zoo.metrics.evaluate import Evaluator
from aigc_zoo.metrics.features import Features, concatenate
from aigc_zoo.random import derive

EVALUATION_SEED = 0
"""Seed of the evaluated samples, the same in all runs: metrics of different seeds would not be comparable."""


def evaluation_seed(seed: int) -> int:
    """The seed of the evaluated samples: a random stream of its own, so that grids and metrics share no noise."""
    return derive(seed, "evaluation")


def evaluation_samples(sampler: Sampler, spec: Spec, count: int) -> Iterator[Tensor]:
    """The first `count` samples in order, in chunks: images as uint8 (n, C, H, W), others as they are (n, *shape)."""
    for number in range(-(-count // CHUNK)):
        yield for_extractor(sampler.chunk(number)["fake"][: count - number * CHUNK], spec)


def distributed_features(sampler: Sampler, evaluator: Evaluator, ranks: Ranks) -> Features:
    """The features of `evaluator.num` evaluation samples: each rank computes its shard, and every rank gets all.

    Every rank must call it. The extractor reads chunk by chunk, as `Evaluator.look` does, so that the number of ranks
    changes no digit.
    """
    parts: list[Features] = []
    spec, count = evaluator.reference.spec, evaluator.num
    for first in range(0, -(-count // CHUNK), ranks.world):
        wanted = [min(CHUNK, max(0, count - number * CHUNK)) for number in range(first, first + ranks.world)]
        # A rank that has no sample left computes one more, since all ranks take part in the gather below.
        samples = sampler.chunk(first + ranks.rank)["fake"][: max(1, wanted[ranks.rank])]
        found = evaluator.extractor.extract_features(for_extractor(samples, spec))
        features, logits = (_gather(value, sampler.device, ranks) for value in found)
        parts += [
            Features(features[n][:rows], logits[n][:rows] if found.logits is not None else None)
            for n, rows in enumerate(wanted)
            if rows
        ]
        evaluator.progress("samples", sum(len(part.values) for part in parts), count)
    return concatenate(parts)


def for_extractor(samples: Tensor, spec: Spec) -> Tensor:
    """Samples as extractors read them: images as uint8."""
    return to_uint8(samples, spec) if spec.modality == "image" else samples


def _gather(value: Tensor | None, device: torch.device, ranks: Ranks) -> list[Tensor]:
    """The value (at most CHUNK rows) of every rank, padded to CHUNK rows, on the CPU."""
    if value is None or ranks.world == 1:
        return [] if value is None else [value]
    padded = torch.zeros(CHUNK, *value.shape[1:], dtype=value.dtype, device=device)
    padded[: len(value)] = value.to(device)
    return [part.cpu() for part in ranks.gather(padded)]
