"""The extractor of an evaluation: the one asked for, else that of the data, else the one of their modality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from aigc_zoo.data.modalities import alike, modality
from aigc_zoo.discovery import Entry
from aigc_zoo.errors import UsageError
from aigc_zoo.game import Samples, Spec
from aigc_zoo.metrics.features import NO_WEIGHTS, Extractor, load_extractor
from aigc_zoo.plugins import Catalogue

ANY_SIZE = "any-size"
"""The tag of an extractor that takes samples of other sizes than the shapes that it states."""


def choose_extractor(
    catalogue: Catalogue,
    samples: Samples,
    name: str = "",
    *,
    weights: Path | None = None,
    device: torch.device | str = "cpu",
) -> Extractor | None:
    """The extractor of this name, else the one that the modality of the samples states; None where it states none.

    If that has coarse features, its note says which extractors accept such samples. Raises UsageError for `weights`
    without the name of the network that they are of.
    """
    if name:
        return load_extractor(catalogue, name, weights=weights, device=device)
    own = modality(catalogue, samples.spec.modality).extractor(samples.spec)
    found = None
    if own:
        space = catalogue.find("modality", samples.spec.modality).entry.namespace
        found = load_extractor(catalogue, catalogue.find("extractor", own, space).entry.id, device=device)
        found = replace(found, note=extractor_advice(catalogue, samples)) if found.coarse else found
    if weights is not None and (found is None or found.digest == NO_WEIGHTS):
        fix = found.note if found is not None and found.note else "leave the option out"
        raise UsageError(f"--extractor-weights {weights}: name the extractor that they are of\n{fix}")
    return found


def coarse_note(extractor: Extractor, requested: bool) -> str:
    """The sentence on the features that samples are compared by, "" for none; coarse metrics that were requested need
    none.
    """
    if not extractor.note or (extractor.coarse and requested):
        return ""
    return f"only {extractor.name} are compared, since {extractor.note}" if extractor.coarse else extractor.note


def nothing_measured(samples: Samples) -> str:
    """The message that nothing can be measured of samples."""
    return (
        f"{samples.name} has no extractor, so nothing can be measured\n"
        f"no installed extractor or metric accepts such samples ({samples.spec.modality})"
    )


def extractor_advice(catalogue: Catalogue, samples: Samples, most: int = 3) -> str:
    """A sentence with the installed extractors that accept such samples, those of their shape first."""
    shape = samples.spec.shape
    entries = [
        entry
        for entry in sorted(catalogue.items("extractor"), key=lambda entry: ANY_SIZE in entry.component.tags)
        if "coarse" not in entry.component.tags and _takes(entry, shape)
        if alike(catalogue, entry.component.modality or Spec.modality, samples.spec.modality)
    ]
    names = [
        (entry.name if entry.namespace == "zoo" else entry.id)
        + (
            " (with --extractor-weights FILE where it cannot be downloaded)"
            if "download" in entry.component.tags
            else ""
        )
        for entry in entries
    ]
    start = f"{samples.name} of {'x'.join(map(str, shape))} has no extractor of its own"
    if not names:
        return f"{start}, and no installed one accepts such samples"
    return f"{start}: use --extractor {' or '.join(names[:most])}"


def _takes(entry: Entry, shape: tuple[int, ...]) -> bool:
    """Whether an extractor takes samples of a shape, as far as its component says; without shapes it takes any."""
    stated = entry.component.shapes
    if not stated or shape in stated:
        return True
    return ANY_SIZE in entry.component.tags and (len(shape), shape[0]) in {(len(one), one[0]) for one in stated}
