"""Finds the modality of samples in the catalogue."""

from __future__ import annotations

from functools import lru_cache

from aigc_zoo.errors import ConfigError
from aigc_zoo.modality import Modality
from aigc_zoo.options import bind
from aigc_zoo.plugins import Catalogue


@lru_cache(maxsize=64)
def modality(catalogue: Catalogue, reference: str) -> Modality:
    """The modality with this id or name. Raises ConfigError where it is not installed, or its plugin is wrong."""
    entry, target = bind(catalogue, "modality", reference)
    found = target()
    if not isinstance(found, Modality):
        raise ConfigError(f"modality {entry.id} returned a {type(found).__name__}, not a Modality")
    return found
