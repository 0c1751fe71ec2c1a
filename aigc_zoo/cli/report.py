"""`zoo report`: write a report of runs and benchmark results."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("sources", metavar="RUN|RESULTS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "suffix",
    default="html",
    show_default=True,
    type=click.Choice(["html", "md"]),
    help="HTML page or Markdown.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    show_default="report.html or report.md in the run directory, for several runs in the current directory",
    help="Output file.",
)
@click.option("--title", default="", metavar="TEXT", help="Title of the report.")
@click.option("--strict", is_flag=True, help="Fail if the runs have values of different protocols.")
def command(sources: tuple[Path, ...], suffix: str, out: Path | None, title: str, strict: bool) -> None:
    """Write a report of runs, folders of runs and result files of `zoo bench`.

    The HTML page is self-contained and shows curves, samples during training, and tables that can be sorted and
    filtered. Values of different protocols are in separate tables. Runs that cannot be read are left out, with a note.
    """
    from aigc_zoo.artefacts.atomic import make_folder, write_text
    from aigc_zoo.errors import ConfigError, printable
    from aigc_zoo.report.collect import collect, leaderboards
    from aigc_zoo.report.markdown import markdown
    from aigc_zoo.report.page import page

    material = collect(sources)
    for reason in material.left_out:
        click.echo(printable(f"left out: {reason}"), err=True)
    unlike = [board for board in leaderboards(material.runs) if board.difference]
    if strict and unlike:
        first, other = leaderboards(material.runs)[0].runs[0].name, unlike[0].runs[0].name
        raise ConfigError(
            f"{first} and {other} cannot be compared: {unlike[0].difference}\n"
            "leave out --strict for one table per protocol, or evaluate both alike"
        )
    text = page(material, title) if suffix == "html" else markdown(material, title or "Report")
    alone = len(sources) == 1 and len(material.runs) == 1 and (sources[0] / "card.json").exists()
    path = out or (sources[0] if alone else Path()) / f"report.{suffix}"
    make_folder(path.parent)
    write_text(path, text)
    click.echo(str(path))
