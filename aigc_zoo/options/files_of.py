"""Options of data at a path: how files become samples of a modality."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aigc_zoo.options.settings import RUN_SETTINGS
from aigc_zoo.options.signatures import signature_options
from aigc_zoo.options.values import Option

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue


def options_of_files(catalogue: Catalogue, modality: Any = None) -> list[Option]:
    """The options of a modality's `plan`, by default of all of the zoo's own; run settings are left out."""
    named = modality not in (None, "none")
    entries = [catalogue.find("modality", str(modality)).entry] if named else catalogue.items("modality", "zoo/*")
    found: dict[str, Option] = {}
    for entry in entries:
        plan = getattr(entry.load(), "plan", None)
        if plan is None:  # a factory of modalities, or a signature that is read without importing it
            continue
        for option in signature_options(plan, ("self", "scans")):
            help = f"{option.help} ({entry.name})" if entry.namespace == "zoo" else option.help
            known = found.get(option.key)
            found[option.key] = replace(option, owner=entry.id, help=help) if known is None else known
    return [option for option in found.values() if option.key not in RUN_SETTINGS]
