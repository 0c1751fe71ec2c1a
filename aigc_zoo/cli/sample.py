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
from aigc_zoo.errors import UsageError, ZooError, printable


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
        from aigc_zoo.run.sampling_help import sampling_help

        try:
            found = sampling_help(ctx.obj.catalogue(), Path(source))
        except ZooError as error:
            formatter.write_paragraph()
            formatter.write_text(printable(f"The sampling options of {source} cannot be listed: {error}"))
            return
        name = found.recipe.removeprefix("zoo/")
        if found.inputs:
            with formatter.section(f"Inputs of {name}"):
                formatter.write_dl([(f"--input {entry}=PATH", about) for entry, about in found.inputs.items()])
        if found.options:
            with formatter.section(f"Sampling options of {name}"):
                formatter.write_dl([help_row(option, None) for option in found.options])
            return
        formatter.write_paragraph()
        formatter.write_text(printable(f"{name} has no sampling options of its own."))


class NamedInput(click.ParamType[Any]):
    """NAME=PATH or NAME=TEXT, a pair of strings."""

    name = "input"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name, equals, rest = value.partition("=") if isinstance(value, str) else (*value, "")
        if isinstance(value, str) and not (name and equals and rest):
            raise UsageError(f"--input {value}: not NAME=PATH, such as --input source={value or 'PATH'}")
        return value if not isinstance(value, str) else (name, rest)


@click.command(
    "sample",
    cls=SampleCommand,
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
)
@click.argument("source", metavar="RUN|FILE|RECIPE@NAME", type=click.Path(path_type=Path))
@click.option(
    "-n",
    "count",
    type=Checked("-n"),
    metavar="N",
    show_default="64, or one for each input",
    help="Number of samples.",
)
@click.option(
    "--seed", type=Checked("--seed"), default=0, show_default=True, metavar="N", help="Random seed for the noise."
)
@click.option(
    "--class",
    "label",
    metavar="NAME",
    help="Class to sample, if the generator is conditional: its name, or its index where no class name is a number.",
)
@click.option(
    "--input",
    "named",
    type=NamedInput(),
    multiple=True,
    metavar="NAME=PATH|TEXT",
    help="Input of a recipe that reads some, such as source=photo.png: a file, a folder, a zip, or a text for an entry "
    "that is text. Repeatable.",
)
@click.option(
    "--data",
    metavar="ID|PATH",
    show_default="the held-out split of the run's data",
    help="Dataset of the inputs that --input does not give; of a folder of plain files, one sample for each.",
)
@click.option(
    "--tile",
    type=Checked("--tile"),
    metavar="PIXELS",
    show_default="no tiles",
    help="Process larger inputs in overlapping tiles of this side, in less memory.",
)
@click.option(
    "--out",
    metavar="FILE.png|FOLDER/",
    show_default="a grid beside the generator",
    help="File for one grid of all samples, or folder without samples for one file per sample, called after its input.",
)
@device_option("sampling")
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[SAMPLING OPTIONS]")
@click.pass_obj
def command(
    obj: Any,
    /,
    source: Path,
    count: int | None,
    named: tuple[tuple[str, str], ...],
    out: str | None,
    more: tuple[str, ...],
    **settings: Any,
) -> None:
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
    given: dict[str, list[str]] = {}
    for name, value in named:
        given.setdefault(name, []).append(value)
    found = save_samples(
        obj.catalogue(),
        path,
        count,
        out=out,
        stem=stem,
        inputs=given,
        device=device,
        more=more,
        note=lambda text: click.echo(printable(f"note: {text}"), err=True),
        **settings,
    )
    where = found.paths[0] if len(found.paths) == 1 else f"{Path(str(out))}/ ({found.number:,} files)"
    click.echo(f"{found.number:,} sample{'' if found.number == 1 else 's'}: {where}")
