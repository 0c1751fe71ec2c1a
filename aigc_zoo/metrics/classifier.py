"""The data that a classifier can count modes of: their classes are among its own by name, and it recognizes them."""

from __future__ import annotations

import torch
from torch import Tensor

from aigc_zoo.data.pool import Pool
from aigc_zoo.game import Samples
from aigc_zoo.metrics.features import Extractor, concatenate
from aigc_zoo.metrics.reference import dataset_batches, fixed_rows

PROBE = 256
"""Samples of a dataset that are classified before a classifier counts its modes."""


def class_indices(extractor: Extractor, data: Samples) -> Tensor:
    """The index (logits,) of the data's class for each class of the extractor, by name; -1 for a class it lacks."""
    index = {name: number for number, name in enumerate(data.classes)}
    return torch.tensor([index.get(name, -1) for name in extractor.classes])


def unfit_reason(extractor: Extractor, data: Samples, logits: int) -> str:
    """The reason why an extractor with this number of logits cannot classify the data; empty if it can.

    Equal numbers of classes mean nothing, and names may: digits and ten folders of icons are both called 0 to 9 if
    their labels are numbers. So names are compared first, and then labels with the classes of some samples.
    """
    start = f"{extractor.id} does not classify the {data.spec.classes:,} classes of {data.name}"
    if not logits:
        return f"{start}: it has no logits"
    if len(extractor.classes) != logits:
        stated = f"states {len(extractor.classes):,} classes" if extractor.classes else "does not state its classes"
        return f"{start}: it {stated} for {logits:,} logits"
    unknown = [name for name in data.classes if name not in set(extractor.classes)]
    if unknown or len(data.classes) != data.spec.classes:
        return f"{start} ({_some(data.classes)}): it was trained on {_some(extractor.classes)}"
    accuracy, chance = _accuracy(extractor, data), 1 / len(data.classes) if len(data.classes) > 1 else 0.0
    # Halfway between chance and certainty: zoo-rgb32, the weakest classifier here, has 0.74 on its ten classes.
    if accuracy < (1 + chance) / 2:
        return f"{start}: they have names of classes that it was trained on, but it recognizes only {accuracy:.0%}"
    return ""


def _accuracy(extractor: Extractor, data: Samples) -> float:
    """Mean accuracy over the classes of some fixed random samples."""
    rows = fixed_rows(len(data), PROBE)
    logits = concatenate([*extractor.stream(dataset_batches(data, rows=rows))]).logits
    assert logits is not None
    labels = Pool(data, "cpu").rows(rows)["label"].argmax(1)
    right = class_indices(extractor, data)[logits.argmax(1)] == labels
    known = sorted(set(labels.tolist()))
    return sum(float(right[labels == label].double().mean()) for label in known) / len(known)


def _some(names: tuple[str, ...], most: int = 3) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(name[:40] for name in names[:most]) + more
