"""The card of a run: all that its results depend on, and where each part of it was found."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from aigc_zoo import __version__, devices
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.engine import fast
from aigc_zoo.errors import ZooError
from aigc_zoo.options import held, references
from aigc_zoo.options.references import exists, expanded
from aigc_zoo.plugins import Catalogue, packages_of
from aigc_zoo.run.generator import digests_of

if TYPE_CHECKING:
    from aigc_zoo.run.prepare import Prepared


def card_of(prepared: Prepared, engine: fast.Choice, frozen: Mapping[str, nn.Module]) -> dict[str, Any]:
    """The card; a run resumes only with an equal one. Equal content under another name or path is equal.

    Data and extractors are stored as full ids, with the packages that provide them, so that a missing one can be named.
    `frozen` has the digests of frozen networks, and `loss_extractors` are the extractors in the recipe's slots.
    """
    train, catalogue, extractor = prepared.train, prepared.catalogue, prepared.extractor
    of_losses = held(catalogue, prepared.configuration, "extractor")
    return {
        **prepared.configuration.card(),
        "data": {
            "name": train.name,
            "reference": prepared.reference,
            "plugins": _packages(catalogue, "data", prepared.reference),
            "options": dict(prepared.configuration.data_options),
            "size": prepared.settings.size,
            "modality": prepared.settings.modality,
            "entry": list(prepared.settings.entry),
            "split": train.split,
            "samples": len(train),
            "skipped": list(train.skipped),
            "digest": train.digest,
            "spec": asdict(train.spec),
            "classes": list(train.classes),
            "frequencies": list(train.frequencies),
        },
        "units": prepared.modality.units,
        "files": {key: [_content(path) for path in paths] for key, paths in prepared.configuration.files.items()},
        "batch_size": prepared.batch_size,
        "steps": prepared.steps,
        "seed": prepared.settings.seed,
        "cadence": asdict(prepared.cadence),
        "frozen": digests_of(frozen),
        "loss_extractors": sorted({entry.id for _, entry in of_losses}),
        "extractor": extractor,
        "extractor_plugins": _packages(catalogue, "extractor", extractor) if extractor else {},
        "device": devices.name(prepared.device),
        "threads": torch.get_num_threads(),
        "world": prepared.ranks.world,
        "precision": prepared.precision.name,
        "engine": engine.name,
        "why": {"precision": prepared.precision.why, "engine": engine.why},
        "versions": versions(),
    }


def _packages(catalogue: Catalogue, key: str, reference: str) -> Mapping[str, Any]:
    """The package of a dataset or an extractor; none for data that are read without one."""
    entry = references.find(catalogue, key, reference).entry
    return packages_of([entry]) if entry is not None else {}


def _content(path: Path) -> dict[str, str]:
    """The absolute path and the SHA-256 of a file, of a run directory that of its newest checkpoint; "" without one."""
    found = place = expanded(path)
    if exists(found) and found.is_dir():
        found = next((file for _, file in reversed(RunDirectory(found).checkpoints())), found)
    try:
        with found.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, ZooError):  # reading it for use reports it
        digest = ""
    return {"path": str(place.absolute()), "sha256": digest}


def versions() -> dict[str, str]:
    """Versions of the packages that compute the results."""
    return {"aigc_zoo": __version__, "torch": torch.__version__, "torch_fidelity": metadata.version("torch_fidelity")}
