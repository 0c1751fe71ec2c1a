"""The command line: one file per command, imported when it is called. What goes wrong ends here, in a few lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aigc_zoo import __version__
from aigc_zoo.errors import StorageError, ZooError, printable

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue

COMMANDS = {  # name -> module, whose `command` is the click command, and its line in `zoo --help`
    "list": ("aigc_zoo.cli.list_", "What is installed: recipes, or components of another kind."),
    "show": ("aigc_zoo.cli.show", "All about one component: presets, options, origin."),
    "plugins": ("aigc_zoo.cli.plugins", "Who provides components, and what is wrong with whom."),
    "train": ("aigc_zoo.cli.train", "Train a recipe, or go on with a run."),
    "sample": ("aigc_zoo.cli.sample", "Samples from a run or a generator file."),
    "eval": ("aigc_zoo.cli.eval", "Measure a run, a generator file or a folder of images."),
    "bench": ("aigc_zoo.cli.bench", "Speed and quality of everything installed, and what fits with what."),
    "report": ("aigc_zoo.cli.report", "Runs and results as one page: curves, samples, tables."),
    "export": ("aigc_zoo.cli.export", "A generator for others: weights, torch.export, ONNX."),
    "data": ("aigc_zoo.cli.data", "Datasets: which are here, getting one, and whether its files are what they were."),
    "new": ("aigc_zoo.cli.new", "Write a plugin to begin with."),
    "check": ("aigc_zoo.cli.check", "Whether a plugin keeps its promises."),
    "config": ("aigc_zoo.cli.config", "What a recipe's options come to, as a card to edit and reuse."),
    "doctor": ("aigc_zoo.cli.doctor", "Whether this machine and this installation can do the work."),
    "completion": ("aigc_zoo.cli.completion", "What a shell needs to complete words."),
}

HELP = """A model zoo of generative adversarial networks.

Begin with `zoo list`. `zoo COMMAND --help` explains a command; --plugin and --debug may also stand after it.
"""


class Globals:
    """What every command receives as `ctx.obj`."""

    def __init__(self, plugins: Sequence[Path] = (), debug: bool = False) -> None:
        self.plugins = tuple(plugins)
        self.debug = debug
        self._told = False

    def catalogue(self, quiet: bool = False) -> Catalogue:
        """What is installed, `--plugin` files included. Plugins with problems are named on stderr, once."""
        from aigc_zoo.plugins import catalogue, describe_problems

        found = catalogue(self.plugins)
        if not quiet and not self._told:
            self._told = True
            for line in describe_problems(found):
                click.echo(printable(line), err=True)
        return found


class LazyGroup(click.Group):
    """Commands come from the table; only the one that is called is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:  # click knows none of ours, so it could not suggest any
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    help=HELP,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--plugin",
    "plugins",
    metavar="FILE.py",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Also take this file as a plugin, in the namespace local/. Repeatable.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="aigc-zoo", message="%(prog)s %(version)s")
@click.pass_context
def zoo(ctx: click.Context, plugins: tuple[Path, ...], debug: bool) -> None:
    ctx.obj = Globals(plugins, debug)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(args: Sequence[str] | None = None) -> int:
    """Run `zoo` and return its exit code; errors are told on stderr in at most three lines."""
    args = sys.argv[1:] if args is None else list(args)
    try:
        result = zoo.main(_globals_first(args), prog_name="zoo", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        return _report(error, debug="--debug" in args)
    return result if isinstance(result, int) else 0


def _globals_first(args: Sequence[str]) -> list[str]:
    """Move --plugin and --debug in front of the command, so that they may stand anywhere before a `--`."""
    front: list[str] = []
    rest: list[str] = []
    queue = iter(args)
    for arg in queue:
        if arg == "--":
            rest += [arg, *queue]
        elif arg == "--plugin":
            value = list(islice(queue, 1))
            if not value:
                raise click.UsageError("Option '--plugin' requires an argument.", click.Context(zoo, info_name="zoo"))
            front += [arg, *value]
        elif arg == "--debug" or arg.startswith("--plugin="):
            front.append(arg)
        else:
            rest.append(arg)
    return front + rest


def _report(error: BaseException, debug: bool) -> int:
    """Tell an error and choose the exit code."""
    if isinstance(error, BrokenPipeError):  # `zoo list | head`: nobody reads on, nothing to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if debug and not isinstance(error, click.Abort | click.ClickException):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        lines, code = ["zoo: interrupted"], 130
    elif isinstance(error, click.ClickException):
        lines, code = [f"Error: {' '.join(error.format_message().split())}"], error.exit_code
        if isinstance(error, click.UsageError) and error.ctx is not None:
            lines.append(f"Try '{error.ctx.command_path} --help' for help.")
    elif isinstance(error, ZooError):
        lines, code = f"zoo: {error}".splitlines()[:3], error.exit_code
    elif isinstance(error, OSError) and error.strerror:  # what nobody explained better: a name too long, a bad disk
        name = str(error.filename or "a file")
        lines = [f"zoo: {name if len(name) < 200 else name[:197] + '...'}: {error.strerror}"]
        code = StorageError.exit_code
    else:
        text = " ".join(str(error).split())
        lines, code = [f"zoo: {type(error).__name__}{f': {text}' if text else ''}"], 1
        if not debug:
            lines.append("run again with --debug for the traceback")
    click.echo(printable("\n".join(lines)), err=True)
    return code
