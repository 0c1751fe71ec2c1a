"""`zoo data`: the datasets, where their files are, and getting them."""

from __future__ import annotations

from typing import Any

import click

from aigc_zoo.cli.text import print_json, short, table


@click.group("data")
def command() -> None:
    """Datasets: which there are and which are here, and fetching one before it is needed."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def list_(obj: Any, as_json: bool) -> None:
    """Every dataset, and where its files are or would be put.

    A dataset is `drawn` (it needs no files), `here`, or `absent` until it is downloaded.
    """
    from aigc_zoo.data.cache import cache_folder
    from aigc_zoo.data.resolve import where

    rows = []
    for entry in obj.catalogue().items("dataset"):
        place = where(entry.name)
        drawn = "offline" in entry.component.tags
        state = "drawn" if drawn else "here" if place.is_dir() and any(place.iterdir()) else "absent"
        rows.append((short(entry), state, entry.component.summary, "" if drawn else str(place)))
    if as_json:
        keys = ("name", "state", "summary", "place")
        print_json(
            {"schema": 1, "cache": str(cache_folder()), "items": [dict(zip(keys, r, strict=True)) for r in rows]}
        )
    elif rows:
        click.echo(table([row[:3] for row in rows], cut=2))
        click.echo(f"\nfiles are looked for in $ZOO_DATA/NAME, then in {cache_folder() / 'data'}/NAME")


@command.command("prepare")
@click.argument("reference", metavar="ID|PATH")
@click.option("--size", type=click.IntRange(1), metavar="PIXELS", help="Crop and resize images to this side.")
@click.pass_obj
def prepare(obj: Any, reference: str, size: int | None) -> None:
    """Fetch, read and check a dataset, so that training can begin at once and without a network."""
    from aigc_zoo.cli.screen import Reading
    from aigc_zoo.data import resolve

    for name, samples in resolve.load(obj.catalogue(), reference, size=size, progress=Reading()).items():
        shape = "x".join(map(str, samples.spec.shape))
        classes = f", {samples.spec.classes} classes" if samples.spec.classes else ""
        click.echo(f"{name:<8} {len(samples):>9,} of {shape}{classes}  sha256 {samples.digest[:12]}")
