"""`zoo sample`: generate samples from a run or a generator file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aigc_zoo.cli.device import device_option


@click.command("sample", context_settings={"ignore_unknown_options": True})
@click.argument("source", metavar="RUN|FILE|RECIPE@NAME", type=click.Path(path_type=Path))
@click.option(
    "-n", "count", type=click.IntRange(1), default=64, show_default=True, metavar="N", help="Number of samples."
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Random seed for the noise.")
@click.option(
    "--class",
    "label",
    metavar="NAME",
    help="Class to sample, if the generator is conditional: its name, or its index where no class name is a number.",
)
@click.option("--data", metavar="ID|PATH", help="Dataset of inputs, for recipes that transform real samples.")
@click.option(
    "--out",
    metavar="FILE.png|FOLDER/",
    show_default="a grid beside the generator",
    help="File for one grid of all samples, or folder without samples for one file per sample.",
)
@device_option("sampling")
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[SAMPLING OPTIONS]")
@click.pass_obj
def command(obj: Any, /, source: Path, count: int, out: str | None, more: tuple[str, ...], **settings: Any) -> None:
    """Generate samples with the generator of RUN, of a FILE such as generator.safetensors, or of published weights.

    RECIPE@NAME is a recipe and the name of weights that its plugin publishes. The first k samples of a seed do not
    depend on -n. A recipe can add sampling options of its own, such as a truncation: give them as --NAME VALUE.
    """
    from aigc_zoo.run.prepare import choose_device
    from aigc_zoo.run.published import resolve_source
    from aigc_zoo.run.sample import save_samples

    device = choose_device(settings.pop("device"))
    path = resolve_source(obj.catalogue(), source)
    # Published weights are in the cache, which is no place for samples.
    stem = Path(str(source).replace("/", "-").replace("@", "-")) if path != source else None
    written = save_samples(obj.catalogue(), path, count, out=out, stem=stem, device=device, more=more, **settings)
    where = written[0] if len(written) == 1 else f"{written[0].parent}{'/'} ({len(written):,} files)"
    click.echo(f"{count:,} samples: {where}")
