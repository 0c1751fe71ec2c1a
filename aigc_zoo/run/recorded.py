"""The run directory of a command, and the card of the run in it: a resumed run keeps the meaning of its names."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aigc_zoo.artefacts import migration
from aigc_zoo.errors import UsageError, ZooError
from aigc_zoo.options import read_file, references
from aigc_zoo.plugins import Catalogue

RUNS = Path("runs")


def run_directory(out: str | os.PathLike[str] | None, recipe: str, data: str) -> Path:
    """The directory that the user chose, or the default one. Raises UsageError for a file."""
    path = Path(out) if out is not None else default_directory(recipe, data)
    if path.is_file():
        raise UsageError(f"--out {path}: is a file, and a run needs a directory: choose another --out")
    return path


def default_directory(recipe: str, data: str) -> Path:
    """The default run directory, `runs/RECIPE-DATA` with short names, of full ids and paths as a configuration has."""
    path = Path(data)
    name = path.stem if path.is_absolute() else data.rsplit("/", 1)[-1]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:64] or "data"  # a folder can have any name
    return RUNS / f"{_short(recipe)}-{name}"


def recorded_card(
    catalogue: Catalogue,
    out: str | os.PathLike[str] | None,
    recipe: str | None,
    data: str | os.PathLike[str] | None,
) -> Mapping[str, Any]:
    """The card of the run that training this recipe on this data, in `out` if it is given, would resume; else {}.

    It is found before the names are resolved, so that it can say what they mean. No torch import.
    """
    if out is not None:
        return _read(Path(out))
    if recipe is None:
        return {}
    if data is not None:
        return _read(default_directory(recipe, references.find(catalogue, "data", os.fspath(data)).full))
    # The recipe's own data, which are only known once the recipe is: the run of its name that was started without data.
    found = []
    for path in sorted(RUNS.glob(f"{glob.escape(_short(recipe))}-*/card.json")):
        card = _read(path.parent)
        own = _short(str(card.get("recipe", ""))) == _short(recipe)
        here = card.get("directory") == str(path.parent.resolve())  # no run that --fresh has renamed
        if own and here and "data" not in card.get("set_by", {}):
            found.append(card)
    return found[0] if len(found) == 1 else {}


def _short(recipe: str) -> str:
    return recipe.rsplit("/", 1)[-1].partition(".")[0]


def _read(directory: Path) -> dict[str, Any]:
    """The card of a run directory, {} where there is none; opening the run reports a damaged one."""
    path = directory / "card.json"
    try:
        return migration.card(read_file(path), path) if path.is_file() else {}
    except (ZooError, OSError, ValueError):
        return {}
