"""`zoo data`: list, prepare and verify datasets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aigc_zoo.cli import Globals
from aigc_zoo.cli.dataset_options import DatasetCommand
from aigc_zoo.cli.text import print_json, short, table
from aigc_zoo.errors import DataError, UsageError, printable

if TYPE_CHECKING:
    from aigc_zoo.game import Samples


@click.group("data")
def command() -> None:
    """List, prepare and verify datasets."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.pass_obj
def list_(zoo: Globals, as_json: bool) -> None:
    """List datasets with the location of their files.

    The state is `drawn` (computed, without files), `here`, or `absent` (not downloaded yet).
    """
    from aigc_zoo.data.place import cache_folder
    from aigc_zoo.data.resolve import where

    rows, catalogue = [], zoo.catalogue()
    for entry in catalogue.items("dataset"):
        # the tag `mnist-files` says that a dataset is read from the files of the dataset mnist
        sources = [tag.removesuffix("-files") for tag in entry.component.tags if tag.endswith("-files")]
        owner = catalogue.find("dataset", sources[0], entry.namespace).entry if sources else entry
        place = where(owner.name, owner.namespace)
        drawn = "offline" in entry.component.tags
        state = "drawn" if drawn else "here" if _has_files(place) else "absent"
        rows.append((short(entry), state, entry.component.summary, "" if drawn else str(place)))
    if as_json:
        keys = ("name", "state", "summary", "place")
        print_json(
            {"schema": 1, "cache": str(cache_folder()), "items": [dict(zip(keys, r, strict=True)) for r in rows]}
        )
    elif rows:
        click.echo(table([row[:3] for row in rows], cut=2))
        click.echo(f"\nfiles are read from $ZOO_DATA/NAME if it exists, otherwise from {cache_folder() / 'data'}/NAME")


MODALITY = "Read files at a path as this modality, as in zoo train."
SIZE = "Center-crop and resize images and frames to squares of this side."
SIZED = click.option("--size", type=click.IntRange(1), metavar="PIXELS", help=SIZE)


@command.command("prepare", cls=DatasetCommand)
@click.argument("data", metavar="ID|PATH")
@click.option("--modality", default="", show_default="the first that reads any file", metavar="NAME", help=MODALITY)
@SIZED
@click.option(
    "--skip-bad",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Skip up to N files that cannot be read.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.pass_obj
def prepare(
    zoo: Globals, /, data: str, skip_bad: int, as_json: bool, dataset_options: Mapping[str, Any], **settings: Any
) -> None:
    """Download, read and check a dataset.

    It prints the properties of each split; training can then start at once.

    The dataset is an id, a folder or zip of images, sounds, clips or texts, one such file, or a .npy, .npz or IDX file.
    The options of a named dataset, and those that files are read with, are --data.OPTION;
    `zoo data prepare ID|PATH --help` lists them. Folders and zips are decoded once into the cache, with a manifest of
    their files: path, size, SHA-256 and pixel mode.
    """
    from aigc_zoo.data import resolve
    from aigc_zoo.run.terminal import ReadingProgress

    how: dict[str, Any] = {"options": dataset_options, "progress": ReadingProgress(), "skip_bad": skip_bad, **settings}
    splits = resolve.load(zoo.catalogue(), data, **how)
    for note in splits["train"].notes:
        click.echo(printable(f"note: {note}"), err=True)
    if as_json:
        print_json({"schema": 1, "splits": [_facts(samples) for samples in splits.values()]})
        return
    for samples in splits.values():
        facts = _facts(samples)
        rows = [(key, _shown(value)) for key, value in facts.items() if key != "notes" and value not in ("", None, [])]
        click.echo(printable(table(rows, cut=1)))


@command.command("verify", cls=DatasetCommand)
@click.argument("data", metavar="PATH")
@click.option("--modality", default="", metavar="NAME", help="Modality that the dataset was prepared with.")
@click.option("--size", type=click.IntRange(1), metavar="PIXELS", help="Size that the dataset was prepared with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.pass_obj
def verify_(
    zoo: Globals, data: str, modality: str, size: int | None, as_json: bool, dataset_options: Mapping[str, Any]
) -> None:
    """Compare files with their manifest.

    PATH is a folder or zip that was prepared or trained on, with the same --modality, --size and --data.OPTION. The
    exit code is 65 if files were changed, added or removed.
    """
    path = Path(data).expanduser()
    if not (path.is_dir() or path.suffix.lower() == ".zip"):
        raise UsageError(f"{path}: not a folder or zip; only these have a manifest\ngive a folder or a .zip file")
    from aigc_zoo.data.files import preparing, verify
    from aigc_zoo.data.modalities import kinds

    read_as = kinds(zoo.catalogue(), modality, size=size, **dataset_options)
    changes = verify(path, read_as)
    if as_json:
        print_json({"schema": 1, **changes._asdict()})
    if changes:
        differences = [f"{len(names):,} {what} ({names[0]}{', ...' if names[1:] else ''})"
                for what, names in changes._asdict().items() if names]  # fmt: skip
        raise DataError(
            f"{path} differs from its manifest: {'; '.join(differences)}\n"
            f"restore these files, or read them again with {preparing(path, read_as)}"
        )
    if not as_json:
        click.echo(f"{path}: all files match the manifest")


def _has_files(folder: Path) -> bool:
    """Whether a folder holds files of a dataset, at any depth; locks and unfinished downloads are none."""
    return any(
        path.is_file() and not path.name.startswith(".") and path.suffix not in (".lock", ".part", ".tmp")
        for path in folder.rglob("*")
    )


def _facts(samples: Samples) -> dict[str, Any]:
    spec = samples.spec
    return {
        "name": samples.name,
        "split": samples.split,
        "samples": len(samples),
        "shape": list(spec.shape),
        "modality": spec.modality,
        "range": None if spec.range is None else list(spec.range),
        "rate": spec.rate or None,
        "symbols": len(spec.symbols) or None,
        "classes": list(samples.classes),
        "resize": samples.resize,
        "extractor": samples.extractor,
        "skipped": list(samples.skipped),
        "notes": list(samples.notes),
        "digest": samples.digest,
    }


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value[:12])) + (f", ... ({len(value)})" if value[12:] else "")
    return f"{value:,}" if isinstance(value, int) else str(value)
