"""`zoo train`: train a recipe, or resume an unfinished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aigc_zoo.cli import streams
from aigc_zoo.cli.dynamic import Inputs, RecipeCommand


def run(
    obj: Any,
    inputs: Inputs,
    out: Path | None,
    fresh: bool,
    dry_run: bool,
    allow_inexact_resume: bool,
    extend: bool,
    allow_low_memory: bool,
) -> int:
    catalogue = obj.catalogue()
    configuration = inputs.resolve(catalogue)
    from aigc_zoo.engine.ranks import leave_group
    from aigc_zoo.run.dry_run import dry_run as dry_run_lines
    from aigc_zoo.run.loop import train
    from aigc_zoo.run.prepare import prepare
    from aigc_zoo.run.progress import Progress
    from aigc_zoo.run.recorded import run_directory
    from aigc_zoo.run.terminal import ReadingProgress, TerminalProgress, summary

    try:
        prepared = prepare(catalogue, configuration, progress=ReadingProgress())
        first = prepared.ranks.first
        for note in configuration.notes if first else ():
            click.echo(note, err=True)
        folder = run_directory(out, configuration.recipe, prepared.reference)
        if dry_run:
            for line in dry_run_lines(prepared, folder, allow_low_memory=allow_low_memory) if first else ():
                click.echo(line)
            return 0
        with streams.stopping() as stop:
            bar = TerminalProgress() if first else Progress()
            how: dict[str, Any] = {"fresh": fresh, "inexact": allow_inexact_resume, "extend": extend}
            result = train(prepared, folder, **how, allow_low_memory=allow_low_memory, progress=bar, stop=stop)
    finally:
        leave_group()
    if first:
        click.echo(summary(result))
    return 128 + result.signal if result.signal else 0


command = RecipeCommand(
    "train",
    run,
    extra=[
        click.Option(
            ["--out"],
            type=click.Path(path_type=Path),
            metavar="DIR",
            show_default="runs/RECIPE-DATA",
            help="Run directory.",
        ),
        click.Option(["--fresh"], is_flag=True, help="Start a new run; an existing run directory is renamed."),
        click.Option(
            ["--allow-inexact-resume"],
            is_flag=True,
            help="Resume even if device, ranks, threads or versions changed; recorded in card.json, as results differ.",
        ),
        click.Option(
            ["--extend"],
            is_flag=True,
            help="Continue to another length even if the steps so far depend on it, as a learning rate schedule does.",
        ),
        click.Option(
            ["--allow-low-memory"],
            is_flag=True,
            help="Train even if the estimated memory exceeds the free memory; the system may then end the run.",
        ),
        click.Option(
            ["--dry-run"],
            is_flag=True,
            help="Train a few steps of each stage, save and reload, estimate time and memory; write nothing.",
        ),
    ],
    help="""Train RECIPE, or resume its unfinished run: the same command continues where training stopped.

    Without --data, a recipe trains on its default dataset. card.json in the run directory records everything that a run
    depends on. A run resumes only if its configuration is unchanged, and then continues exactly as if it had not been
    interrupted. More --steps or --images, or another --until, continue a finished run.
    """,
)
