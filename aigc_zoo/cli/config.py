"""`zoo config`: print the resolved configuration of a recipe."""

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
    help="""Print the resolved configuration of RECIPE, including all defaults, as JSON.

    `zoo train --config FILE` reads it back. Options on the command line take precedence over the file.
    """,
)
