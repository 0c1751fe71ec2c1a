"""`zoo completion`: what a shell needs to complete words."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what SHELL needs to complete commands, recipes' options and their choices.

    For bash and zsh put `eval "$(zoo completion SHELL)"` into ~/.bashrc or ~/.zshrc; for fish, write it to
    ~/.config/fish/completions/zoo.fish.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "zoo", "_ZOO_COMPLETE").source())
