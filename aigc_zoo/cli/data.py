"""`zoo data`: what a dataset holds, and whether its files are still those that it was read from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aigc_zoo.cli import Globals
from aigc_zoo.cli.text import print_json, table
from aigc_zoo.errors import DataError, UsageError, printable

if TYPE_CHECKING:
    from aigc_zoo.game import Samples


@click.command()
@click.argument("data")
@click.option("--size", type=click.IntRange(1), metavar="PIXELS", help="Images as squares of this side.")
@click.option("--skip-bad", type=click.IntRange(0), default=0, metavar="N", help="Leave out up to N damaged images.")
@click.option("--verify", is_flag=True, help="Read all files again and compare them with the manifest.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def command(zoo: Globals, data: str, size: int | None, skip_bad: int, verify: bool, as_json: bool) -> None:
    """What DATA holds: a dataset's name, a folder or zip of images, .npy, .npz or IDX.

    Folders and zips of images are decoded once, and a manifest of their files is kept: path, size, SHA-256, kind of
    pixels. --verify compares, and ends with exit code 65 where a file is not what it was.
    """
    if verify:
        _verify(Path(data).expanduser(), size, as_json)
        return
    from aigc_zoo.cli.screen import Reading
    from aigc_zoo.data import resolve

    splits = resolve.load(zoo.catalogue(), data, size=size, progress=Reading(), skip_bad=skip_bad)
    if as_json:
        print_json({"schema": 1, "splits": [_facts(samples) for samples in splits.values()]})
        return
    for samples in splits.values():
        facts = _facts(samples)
        rows = [(key, _shown(value)) for key, value in facts.items() if value not in ("", None, [])]
        click.echo(printable(table(rows, cut=1)))


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


def _verify(path: Path, size: int | None, as_json: bool) -> None:
    if not (path.is_dir() or path.suffix.lower() == ".zip"):
        raise UsageError(f"--verify {path}: only folders and zips of images have a manifest")
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
