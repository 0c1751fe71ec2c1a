"""Finds the modality of samples in the catalogue."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from aigc_zoo.data.kinds import Kinds
from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Spec
from aigc_zoo.modality import Modality
from aigc_zoo.options import bind
from aigc_zoo.plugins import Catalogue


def kinds(catalogue: Catalogue, wanted: str = "", **options: Any) -> Kinds:
    """The modalities that data are read as by default: the zoo's own, highest rank first. Others are read when they
    are `wanted`, so that installing a package changes nobody's data. Options that are None are left out.
    """
    if wanted:
        entry = catalogue.find("modality", wanted).entry
        found = {_short(entry): modality(catalogue, entry.id)}
    else:
        ours = [entry for entry in catalogue.items("modality") if entry.namespace == "zoo"]
        found = {_short(entry): modality(catalogue, entry.id) for entry in ours}
        found = dict(sorted(found.items(), key=lambda item: -item[1].rank))
    return Kinds(found, {key: value for key, value in options.items() if value is not None})


def modality_of_extractor(catalogue: Catalogue, entry: Entry) -> str:
    """The modality of the samples that an extractor takes, as specs name it. Raises ConfigError for an unknown one."""
    stated = entry.component.modality
    return _short(catalogue.find("modality", stated, entry.namespace).entry) if stated else Spec.modality


def _short(entry: Entry) -> str:
    """The reference that specs state: the name of one of ours, the id of another."""
    return entry.name if entry.namespace == "zoo" else entry.id


def alike(catalogue: Catalogue, first: str, second: str) -> bool:
    """Whether two references mean the same modality, such as a name and an id."""
    one, other = (catalogue.find("modality", reference).entry.id for reference in (first, second))
    return one == other


@lru_cache(maxsize=64)
def modality(catalogue: Catalogue, reference: str) -> Modality:
    """The modality with this id or name. Raises ConfigError where it is not installed, or its plugin is wrong."""
    entry, target = bind(catalogue, "modality", reference)
    found = target()
    if not isinstance(found, Modality):
        raise ConfigError(f"modality {entry.id} returned a {type(found).__name__}, not a Modality")
    return found
