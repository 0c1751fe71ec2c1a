"""Quality benchmarks: cells of several recipes, or of all combinations of a recipe's components."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aigc_zoo.bench.cells import Cell, summary
from aigc_zoo.bench.suite import Suite, run
from aigc_zoo.errors import ConfigError, DataError, UsageError
from aigc_zoo.metrics.known import installed
from aigc_zoo.options.signatures import read
from aigc_zoo.plugins import Catalogue

AXES = ("generator", "discriminator", "loss", "penalty")
NONE = "none"


def axes_of(catalogue: Catalogue, recipe: str, chosen: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The components of each slot: the chosen ones, otherwise all that are installed, with "none" for an optional slot.

    Raises ConfigError for unknown names, UsageError for slots that the recipe does not have.
    """
    entry = catalogue.find("recipe", recipe).entry
    slots = {option.key: option for option in read(entry) if option.slot in AXES}
    for key in chosen:
        if key not in slots:
            raise UsageError(f"--{key}: {entry.id} has no such slot; its slots are {', '.join(slots) or 'none'}")
    found = {}
    for key, option in slots.items():
        if key in chosen:
            names = [name if name == NONE else catalogue.find(option.slot, name).entry.id for name in chosen[key]]
        else:
            names = [one.id for one in catalogue.items(option.slot)]
            names = [NONE, *names] if option.repeated or option.optional else names
        if not names:
            continue
        found[key] = names
    if not found:
        raise ConfigError(f"{entry.id} has none of the slots {', '.join(AXES)}: choose another recipe")
    return found


def matrix_cells(
    catalogue: Catalogue,
    recipe: str,
    chosen: Mapping[str, Sequence[str]],
    seeds: int,
    *,
    given: Mapping[str, Any] | None = None,
    **settings: Any,
) -> list[Cell]:
    """A cell for every combination and seed, with the options `given` for all."""
    entry = catalogue.find("recipe", recipe).entry
    repeated = {option.key for option in read(entry) if option.repeated}
    axes = axes_of(catalogue, recipe, chosen)
    cells = []
    for names in itertools.product(*axes.values()):
        own: dict[str, Any] = dict(given or {})
        for key, name in zip(axes, names, strict=True):
            if name == NONE:
                own[key] = () if key in repeated else None
            else:
                own[key] = (name,) if key in repeated else name
        label = " x ".join(name.removeprefix("zoo/") for name in names)
        own = {key: value for key, value in own.items() if value is not None}
        cells += [Cell(label, recipe, seed, given=own, **settings) for seed in range(seeds)]
    return cells


def quality_cells(catalogue: Catalogue, recipes: Sequence[str], seeds: int, **settings: Any) -> list[Cell]:
    """A cell for every recipe and seed; all installed recipes by default."""
    found = [catalogue.find("recipe", reference) for reference in recipes]
    named = [f"{one.entry.id}.{one.preset}" if one.preset else one.entry.id for one in found]
    ids = list(dict.fromkeys(named)) or [entry.id for entry in catalogue.items("recipe")]
    return [
        Cell(reference.removeprefix("zoo/"), reference, seed, **settings) for reference in ids for seed in range(seeds)
    ]


def run_cells(suite: Suite, target: float | None = None) -> list[dict[str, Any]]:
    """Run all cells and summarize them in one entry for each name, in the order of the cells."""
    run(suite, "bench_quality.py")
    names, known = list(dict.fromkeys(entry["name"] for entry in suite.entries)), installed(suite.catalogue)
    return [
        summary(name, [entry["record"] for entry in suite.entries if entry["name"] == name], known, target)
        for name in names
    ]


def identified(catalogue: Catalogue, cells: Sequence[Cell]) -> list[Cell]:
    """The cells with their identities; those whose data or components are faulty stay as they are, and fail in `run`.

    Each dataset is read once.
    """
    digests: dict[Any, Any] = {}
    found = []
    for cell in cells:
        try:
            found.append(cell.identified(catalogue, digests))
        except (ConfigError, DataError):
            found.append(cell)
    return found


def unfinished(cells: Sequence[Cell]) -> int:
    """Number of cells without a record."""
    return sum(not cell.record_path.exists() for cell in cells)


def default_out(kind: str) -> Path:
    return Path("bench") / kind
