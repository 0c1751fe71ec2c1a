"""`zoo eval`: how good a run, a generator or a folder of images is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from aigc_zoo.cli.device import device_option


@click.command("eval")
@click.argument("source", metavar="RUN|FILE|FOLDER|RECIPE@NAME", type=click.Path(path_type=Path))
@click.option("--against", metavar="DATA|FOLDER", help="What to compare with: a dataset's id or a path. A run knows.")
@click.option("--split", default="train", show_default=True, help="The split of the data to compare with.")
@click.option("--size", type=click.IntRange(1), metavar="PIXELS", help="Crop and resize images to this side first.")
@click.option(
    "--metrics",
    default="",
    metavar="NAMES",
    help="Of fid, kid, isc, prc, dac, variance-ratio, duplicates, modes, memorization, with commas between; or all.  "
    "[default: fid,kid]",
)
@click.option("--num", type=click.IntRange(2), help="Samples to evaluate; by default what the run's own monitor takes.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise.")
@click.option("--extractor", default="", help="The network that looks at the images; the data's own by default.")
@click.option("--extractor-weights", type=click.Path(path_type=Path, dir_okay=False), help="Its weights, from a file.")
@click.option("--allow-few", is_flag=True, help="Measure even on fewer samples than a metric needs, and stamp it.")
@click.option("--allow-lossy", is_flag=True, help="Measure JPEG files, and stamp it.")
@click.option("--best", is_flag=True, help="The best generator of RUN, instead of its final one.")
@device_option("Where to look at samples")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the protocol of every value.")
@click.pass_obj
def command(obj: Any, /, source: Path, metrics: str, device: str, best: bool, as_json: bool, **settings: Any) -> None:
    """Measure samples of RUN or FILE, or the images of a FOLDER, against a dataset."""
    from aigc_zoo.artefacts.runs import nulled
    from aigc_zoo.cli.progress import Looking
    from aigc_zoo.errors import DataError
    from aigc_zoo.metrics.kinds import leading, modes_of, warnings
    from aigc_zoo.metrics.protocol import describe, format_value
    from aigc_zoo.run.evaluate import evaluate
    from aigc_zoo.run.prepare import choose_device
    from aigc_zoo.run.published import located

    source = located(obj.catalogue(), source)
    if not source.exists():
        raise DataError(f"{source}: no such run, file or folder")
    if best:
        source = source / "generator-best.safetensors"
        if not source.exists():
            raise DataError(f"{source}: this run kept no best generator, as it measured nothing: leave out --best")
    names = tuple(name.strip() for name in metrics.split(",")) if metrics else ()
    with Looking() as progress:
        records = evaluate(
            obj.catalogue(),
            source,
            metrics=names,
            device=choose_device(device),
            progress=progress,
            note=lambda text: click.echo(f"note: {text}", err=True),
            **settings,
        )
    if as_json:
        click.echo(json.dumps({"schema": 1, "metrics": nulled(records)}, indent=2, allow_nan=False))
        return
    said = None
    for record in leading(records):
        if (how := describe(record["protocol"])) != said:
            click.echo(how)
            said = how
        click.echo(f"  {record['name']:<28} {format_value(record)}")
    for line in warnings({record["name"]: record["value"] for record in records}, modes_of(records)).values():
        click.echo(line)
