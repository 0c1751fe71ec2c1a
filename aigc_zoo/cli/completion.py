"""`zoo completion`: print the completion script for a shell."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes commands, the options of recipes and their choices.

    For bash and zsh, add `eval "$(zoo completion SHELL)"` to ~/.bashrc or ~/.zshrc. For fish, write the output to
    ~/.config/fish/completions/zoo.fish.
    """
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(ctx.find_root().command, {}, "zoo", "_ZOO_COMPLETE").source())
