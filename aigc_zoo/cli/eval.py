"""`zoo eval`: evaluate a run, a generator file or a folder of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aigc_zoo.cli.checked import Checked
from aigc_zoo.cli.dataset_options import DatasetCommand
from aigc_zoo.cli.device import device_of, device_option
from aigc_zoo.cli.text import print_json

if TYPE_CHECKING:
    from aigc_zoo.metrics.known import Metrics

AGAINST = "Dataset to compare with; its own options are --against.OPTION, listed by `--against ID --help`."


@click.command("eval", cls=DatasetCommand, named_by="against")
@click.argument("source", metavar="RUN|FILE|FOLDER|RECIPE@NAME", type=click.Path(path_type=Path))
@click.option("--against", metavar="ID|PATH", show_default="that of the run", help=AGAINST)
@click.option("--split", default="train", show_default=True, metavar="NAME", help="Split of the dataset.")
@click.option(
    "--size",
    type=Checked("--size"),
    metavar="PIXELS",
    help="Center-crop and resize images and frames to squares of this side.",
)
@click.option(
    "--metrics",
    default="",
    show_default="those of the modality: of images fid, and kid from 1,000 samples on, psnr and ssim of pairs; modes "
    "of points; variance-ratio and duplicates of images without an extractor",
    metavar="NAMES",
    help="Names of installed metrics, comma-separated, or all, which are those that can be measured.",
)
@click.option(
    "--num",
    type=Checked("--num"),
    metavar="N",
    show_default="as in the evaluations during training",
    help="Number of samples to evaluate.",
)
@click.option(
    "--seed", type=Checked("--seed"), default=0, show_default=True, metavar="N", help="Random seed for the noise."
)
@click.option("--extractor", default="", metavar="NAME", show_default="that of the dataset", help="Feature extractor.")
@click.option(
    "--extractor-weights",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Weights of the feature extractor, instead of a download.",
)
@click.option("--allow-few", is_flag=True, help="Accept fewer samples than a metric needs; recorded in the protocol.")
@click.option("--allow-lossy", is_flag=True, help="Accept JPEG files as samples; recorded in the protocol.")
@click.option("--best", is_flag=True, help="Evaluate the best generator of RUN instead of the final one.")
@device_option("evaluation")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the protocol of every value, instead of text.")
@click.pass_obj
def command(
    obj: Any,
    /,
    source: Path,
    metrics: str,
    device: str,
    best: bool,
    as_json: bool,
    dataset_options: Mapping[str, Any],
    **settings: Any,
) -> None:
    """Evaluate the generator of RUN or FILE, published weights, or a FOLDER of images, sounds, clips or
    texts against a dataset.

    RECIPE@NAME is a recipe and the name of weights that its plugin publishes. Values are comparable only if their
    protocols are equal.
    """
    from aigc_zoo.artefacts.runs import nulled
    from aigc_zoo.metrics.known import installed
    from aigc_zoo.run.evaluate import evaluate, source_of
    from aigc_zoo.run.published import resolve_source
    from aigc_zoo.run.terminal import EvaluationProgress

    chosen = device_of(device)
    source = source_of(obj.catalogue(), resolve_source(obj.catalogue(), source), best)
    names = tuple(name.strip() for name in metrics.split(",")) if metrics else ()
    with EvaluationProgress() as progress:
        records = evaluate(
            obj.catalogue(),
            source,
            metrics=names,
            against_options=dataset_options,
            device=chosen,
            progress=progress,
            note=lambda text: click.echo(f"note: {text}", err=True),
            **settings,
        )
    if as_json:
        print_json({"schema": 1, "metrics": nulled(records)})
    else:
        _print(records, installed(obj.catalogue()))


def _print(records: Sequence[Mapping[str, Any]], metrics: Metrics) -> None:
    """Values under the protocol that they share, then warnings."""
    from aigc_zoo.metrics.protocol import describe, format_value

    shown = None
    for record in metrics.leading(records):
        if (protocol := describe(record["protocol"])) != shown:
            click.echo(protocol)
            shown = protocol
        click.echo(f"  {record['name']:<28} {format_value(record)}")
    for line in metrics.warnings(records).values():
        click.echo(line)
