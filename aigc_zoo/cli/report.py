"""`zoo report`: runs and results as one page."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("sources", metavar="RUN|RESULTS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    default="html",
    show_default=True,
    type=click.Choice(["html", "md"]),
    help="A page, or Markdown.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to write it.  [default: report.html in the run's folder, or here where there are several]",
)
@click.option("--title", default="", help="Its heading.")
@click.option("--strict", is_flag=True, help="Refuse runs that were measured by unlike protocols, or on nothing.")
def command(sources: tuple[Path, ...], form: str, out: Path | None, title: str, strict: bool) -> None:
    """Write a report of runs, folders of runs and result files of `zoo bench`.

    The page needs nothing else: curves, samples over training, tables to sort and to filter. Values of unlike protocols
    stand in tables of their own.
    """
    from aigc_zoo.artefacts.atomic import make_folder, write_text
    from aigc_zoo.errors import ConfigError
    from aigc_zoo.report.collect import collect, leaderboards
    from aigc_zoo.report.markdown import markdown
    from aigc_zoo.report.page import page

    material = collect(sources)
    unlike = [board for board in leaderboards(material.runs) if board.difference]
    if strict and unlike:
        first, other = leaderboards(material.runs)[0].runs[0].name, unlike[0].runs[0].name
        raise ConfigError(
            f"{first} and {other} cannot be compared: {unlike[0].difference}\nmeasure both alike with zoo eval, or "
            "leave out --strict for tables of their own"
        )
    text = page(material, title) if form == "html" else markdown(material, title or "Report")
    alone = len(sources) == 1 and len(material.runs) == 1 and (sources[0] / "card.json").exists()
    path = out or (sources[0] if alone else Path()) / f"report.{form}"
    make_folder(path.parent)
    write_text(path, text)
    click.echo(str(path))
