"""The data that a run was trained on, read again as its card says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aigc_zoo.data import resolve
from aigc_zoo.data.entries import Wanted
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples
from aigc_zoo.options import references
from aigc_zoo.options.values import flag_of, shown
from aigc_zoo.plugins import Catalogue
from aigc_zoo.text import zoo_command


def own_splits(
    catalogue: Catalogue,
    source: Path,
    data: Mapping[str, Any],
    wanted: Wanted | None,
    command: tuple[str, str],
    *,
    size: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[str, Mapping[str, Samples]]:
    """The reference and the splits of the data that a run was trained on.

    data     that of the card
    command  the command and its option for other data, such as ("eval", "against"), for messages

    Raises DataError where the data are gone, or others than in training although nothing else was asked for.
    """
    reference, read_with = str(data["reference"]), data.get("options") or {}
    verb, key = command
    if references.is_path(catalogue, reference) and not references.exists(Path(reference)):
        raise DataError(
            f"{source}: its data {reference} are not there any more\n"
            f"if they have moved, use {zoo_command(verb, source, f'--{key}')} PATH"
        )
    splits = resolve.load(
        catalogue,
        reference,
        size=size or data["size"],
        modality=data.get("modality") or "",
        wanted=wanted,
        options={**read_with, **(options or {})},
        skip_bad=len(data.get("skipped") or ()) or None,  # the run left out as many unreadable images of this dataset
    )
    if size not in (None, data["size"]) or options:
        return reference, splits
    if splits["train"].digest != data["digest"]:
        stated = {name: value for name, value in read_with.items() if value is not None}
        words = [word for name, value in stated.items() for word in _words(f"{key}.{name}", value)]
        use = "compare with it" if key == "against" else "use it"
        raise DataError(
            f"{source}: {reference} is not what it was trained on, as the digest of the data differs\n"
            f"to {use} nevertheless: {zoo_command(verb, source, f'--{key}', reference, *words)}"
        )
    # Equal data that have another name now keep that of the run, which is part of the protocol of its metrics.
    return reference, {name: replace(samples, name=str(data["name"])) for name, samples in splits.items()}


def _words(key: str, value: Any) -> tuple[str, ...]:
    """An option as it is typed."""
    flag = flag_of(key)
    if isinstance(value, bool):
        return (flag if value else f"--no-{flag[2:]}",)
    return flag, shown(value)
