"""`zoo config`: what a recipe's options come to."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import click

from aigc_zoo import __version__
from aigc_zoo.cli.dynamic import Inputs, RecipeCommand
from aigc_zoo.cli.text import print_json


def run(obj: Any, inputs: Inputs) -> None:
    configuration = inputs.resolve(obj.catalogue())
    for note in configuration.notes:
        click.echo(note, err=True)
    print_json(configuration.card() | {"aigc_zoo": __version__, "torch": metadata.version("torch")})


command = RecipeCommand(
    "config",
    run,
    help="""Print what RECIPE is with these options, all defaults included, as JSON.

    `zoo train --config FILE` reads it back unchanged; options beside it come on top.
    """,
)
