"""`zoo sample`: generate samples from a run or a generator file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from aigc_zoo.cli.checked import Checked
from aigc_zoo.cli.dataset_options import DatasetCommand
from aigc_zoo.cli.device import device_of, device_option
from aigc_zoo.cli.dynamic import help_row
from aigc_zoo.errors import ZooError, printable


class SampleCommand(DatasetCommand):
    """`zoo sample`; help for a run or a generator also lists the sampling options of its recipe."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with suppress(click.UsageError):
            ctx.meta[__name__] = self.make_parser(ctx).parse_args(list(args))[0].get("source")
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        source = ctx.meta.get(__name__)
        if not isinstance(source, str):
            return
        from aigc_zoo.run.generator import sampling_options

        try:
            recipe, options = sampling_options(ctx.obj.catalogue(), Path(source))
        except ZooError as error:
            text = f"The sampling options of {source} cannot be listed: {error}"
        else:
            name = recipe.removeprefix("zoo/")
            if options:
                with formatter.section(f"Sampling options of {name}"):
                    formatter.write_dl([help_row(option, None) for option in options])
                return
            text = f"{name} has no sampling options of its own."
        formatter.write_paragraph()
        formatter.write_text(printable(text))


@click.command(
    "sample",
    cls=SampleCommand,
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
)
@click.argument("source", metavar="RUN|FILE|RECIPE@NAME", type=click.Path(path_type=Path))
@click.option("-n", "count", type=Checked("-n"), default=64, show_default=True, metavar="N", help="Number of samples.")
@click.option(
    "--seed", type=Checked("--seed"), default=0, show_default=True, metavar="N", help="Random seed for the noise."
)
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
    depend on -n. A recipe can add sampling options of its own, such as a truncation: `zoo sample RUN --help`
    lists them. They follow RUN.
    """
    from aigc_zoo.run.published import resolve_source
    from aigc_zoo.run.sample import save_samples

    device = device_of(settings.pop("device"))
    path = resolve_source(obj.catalogue(), source)
    # Published weights are in the cache, which is no place for samples.
    stem = Path(str(source).replace("/", "-").replace("@", "-")) if path != source else None
    written = save_samples(obj.catalogue(), path, count, out=out, stem=stem, device=device, more=more, **settings)
    where = written[0] if len(written) == 1 else f"{written[0].parent}{'/'} ({len(written):,} files)"
    click.echo(f"{count:,} samples: {where}")
