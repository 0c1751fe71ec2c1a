"""`zoo train`: play a recipe on data, and go on where a run was left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aigc_zoo.cli.dynamic import Inputs, RecipeCommand


def run(obj: Any, inputs: Inputs, out: Path | None, fresh: bool, dry_run: bool, allow_inexact_resume: bool) -> int:
    catalogue = obj.catalogue()
    configuration = inputs.resolve(catalogue)
    from aigc_zoo.cli.progress import ReadingProgress, TerminalProgress, summary
    from aigc_zoo.engine import dist
    from aigc_zoo.run.dry_run import dry_run as dry_run_lines
    from aigc_zoo.run.loop import train
    from aigc_zoo.run.prepare import default_directory, prepare
    from aigc_zoo.run.progress import Progress
    from aigc_zoo.run.signals import stopping

    try:
        prepared = prepare(catalogue, configuration, progress=ReadingProgress())
        first = prepared.ranks.first
        for note in configuration.notes if first else ():
            click.echo(note, err=True)
        folder = out if out is not None else default_directory(configuration, prepared.recipe)
        if dry_run:
            for line in dry_run_lines(prepared, folder) if first else ():
                click.echo(line)
            return 0
        with stopping() as stop:
            bar = TerminalProgress() if first else Progress()
            result = train(prepared, folder, fresh=fresh, inexact=allow_inexact_resume, progress=bar, stop=stop)
    finally:
        dist.leave()
    if first:
        click.echo(summary(result))
    return 128 + result.signal if result.signal else 0


command = RecipeCommand(
    "train",
    run,
    extra=[
        click.Option(
            ["--out"],
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="Folder of the run.  [default: runs/RECIPE-DATA]",
        ),
        click.Option(["--fresh"], is_flag=True, help="Set an older run in the folder aside and start anew."),
        click.Option(
            ["--allow-inexact-resume"],
            is_flag=True,
            help="Go on with another device, other ranks, threads or versions: numbers differ, the card says so.",
        ),
        click.Option(
            ["--dry-run"], is_flag=True, help="Play two steps, save and reload in memory, estimate time; write nothing."
        ),
    ],
    help="""Train RECIPE, and go on with a run that was left: the same command continues it.

    Without --data a recipe trains on its own default, which needs no download. Everything that a run depends on is in
    its card.json; a run continues only unchanged, and then as if it had never been left.
    """,
)
