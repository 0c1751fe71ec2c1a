"""`zoo report`: write a report of runs and benchmark results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aigc_zoo.cli.checked import Checked


@click.command("report")
@click.argument("sources", metavar="RUN|RESULTS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "suffix",
    default="html",
    show_default=True,
    type=Checked("--format"),
    metavar="[html|md]",
    help="HTML page or Markdown.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default="report.html or report.md in the run directory, for several runs in the current directory",
    help="Output file.",
)
@click.option("--title", default="", metavar="TEXT", help="Title of the report.")
@click.option("--strict", is_flag=True, help="Fail if the runs have values of different protocols.")
@click.pass_obj
def command(obj: Any, /, sources: tuple[Path, ...], suffix: str, out: Path | None, title: str, strict: bool) -> None:
    """Write a report of runs, folders of runs and result files of `zoo bench`.

    The HTML page is self-contained and shows curves, samples during training, and tables that can be sorted and
    filtered. Values of different protocols are in separate tables. Runs that cannot be read are left out, with a note.
    """
    from aigc_zoo.errors import printable
    from aigc_zoo.metrics.known import installed
    from aigc_zoo.report.write import write_report

    known = installed(obj.catalogue())

    def note(text: str) -> None:
        click.echo(printable(text), err=True)

    click.echo(str(write_report(sources, out, suffix=suffix, title=title, strict=strict, note=note, known=known)))
