"""`zoo data`: the datasets, where their files are, getting one, and whether its files are still what they were."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aigc_zoo.cli import Globals
from aigc_zoo.cli.text import print_json, short, table
from aigc_zoo.errors import DataError, UsageError, printable

if TYPE_CHECKING:
    from aigc_zoo.game import Samples


@click.group("data")
def command() -> None:
    """Datasets: which there are, reading one before it is needed, and comparing it with its manifest."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def list_(zoo: Globals, as_json: bool) -> None:
    """Every dataset, and where its files are or would be put.

    A dataset is `drawn` (it needs no files), `here`, or `absent` until it is downloaded.
    """
    from aigc_zoo.data.place import cache_folder
    from aigc_zoo.data.resolve import where

    rows = []
    for entry in zoo.catalogue().items("dataset"):
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
@click.argument("data", metavar="ID|PATH")
@click.option("--size", type=click.IntRange(1), metavar="PIXELS", help="Images as squares of this side.")
@click.option("--skip-bad", type=click.IntRange(0), default=0, metavar="N", help="Leave out up to N damaged images.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def prepare(zoo: Globals, data: str, size: int | None, skip_bad: int, as_json: bool) -> None:
    """Fetch, read and check a dataset, and say what it holds, so that training can begin at once.

    A dataset is a name, a folder or zip of images, .npy, .npz or IDX. Folders and zips of images are decoded once, and
    a manifest of their files is kept: path, size, SHA-256, kind of pixels.
    """
    from aigc_zoo.cli.progress import ReadingProgress
    from aigc_zoo.data import resolve

    splits = resolve.load(zoo.catalogue(), data, size=size, progress=ReadingProgress(), skip_bad=skip_bad)
    if as_json:
        print_json({"schema": 1, "splits": [_facts(samples) for samples in splits.values()]})
        return
    for samples in splits.values():
        facts = _facts(samples)
        rows = [(key, _shown(value)) for key, value in facts.items() if value not in ("", None, [])]
        click.echo(printable(table(rows, cut=1)))


@command.command("verify")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--size", type=click.IntRange(1), metavar="PIXELS", help="As it was read.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def verify_(path: Path, size: int | None, as_json: bool) -> None:
    """Read all files of a folder or zip of images again and compare them with the manifest.

    Exit code 65 where a file is not what it was.
    """
    path = path.expanduser()
    if not (path.is_dir() or path.suffix.lower() == ".zip"):
        raise UsageError(f"{path}: only folders and zips of images have a manifest")
    from aigc_zoo.data.images import verify

    changes = verify(path, size)
    if as_json:
        print_json({"schema": 1, **changes._asdict()})
    if changes:
        told = [f"{len(names):,} {what} ({names[0]}{', ...' if names[1:] else ''})"
                for what, names in changes._asdict().items() if names]  # fmt: skip
        raise DataError(
            f"{path} is not what it was read as: {'; '.join(told)}\nrestore its files, or train on it as new data"
        )
    if not as_json:
        click.echo(f"{path}: all files are those of the manifest")


def _facts(samples: Samples) -> dict[str, Any]:
    spec = samples.spec
    return {
        "name": samples.name,
        "split": samples.split,
        "samples": len(samples),
        "shape": list(spec.shape),
        "modality": spec.modality,
        "range": None if spec.range is None else list(spec.range),
        "classes": list(samples.classes),
        "resize": samples.resize,
        "extractor": samples.extractor,
        "skipped": list(samples.skipped),
        "digest": samples.digest,
    }


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value[:12])) + (f", ... ({len(value)})" if value[12:] else "")
    return f"{value:,}" if isinstance(value, int) else str(value)
