"""`zoo sample`: pictures from a run or from a generator's file alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aigc_zoo.cli.device import device_option


@click.command("sample", context_settings={"ignore_unknown_options": True})
@click.argument("source", metavar="RUN|FILE|RECIPE@NAME", type=click.Path(path_type=Path))
@click.option("-n", "count", type=click.IntRange(1), default=64, show_default=True, help="How many samples.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise: same seed, same samples.")
@click.option("--class", "label", metavar="NAME", help="Only this class, by name or number, where there are classes.")
@click.option("--data", help="Real data, for recipes that make samples from it.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.png|FOLDER",
    help="A file for all of them in one grid, a folder for one file each.  [default: a grid beside the generator]",
)
@device_option("Where to make samples")
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[SAMPLING OPTIONS]")
@click.pass_obj
def command(obj: Any, /, source: Path, count: int, out: Path | None, more: tuple[str, ...], **settings: Any) -> None:
    """Make samples with the generator of RUN, or with that of a FILE such as generator.safetensors, or with weights
    that a plugin publishes under a NAME.

    The first k samples of a seed are the same whatever their number. A recipe may add options of its own, such as
    a truncation: give them as --NAME VALUE.
    """
    from aigc_zoo.run.prepare import choose_device
    from aigc_zoo.run.published import resolve_source
    from aigc_zoo.run.sample import save_samples

    device = choose_device(settings.pop("device"))
    path = resolve_source(obj.catalogue(), source)
    if out is None and path != source:  # published weights lie in the cache, which is no place for pictures
        out = Path(f"{str(source).replace('/', '-').replace('@', '-')}-seed{settings['seed']}.png")
    written = save_samples(obj.catalogue(), path, count, out=out, device=device, more=more, **settings)
    where = written[0] if len(written) == 1 else f"{written[0].parent}{'/'} ({len(written):,} files)"
    click.echo(f"{count:,} samples: {where}")
