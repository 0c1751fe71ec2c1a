"""The command line `zoo`: one module per command, imported when called. Errors become short messages and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aigc_zoo import __version__
from aigc_zoo.cli import streams
from aigc_zoo.errors import StorageError, ZooError, of_system, printable
from aigc_zoo.text import PLUGIN_FILES

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue

COMMANDS = {  # name -> (module, whose `command` is the click command; summary in `zoo --help`)
    "list": ("aigc_zoo.cli.list_", "List installed recipes, or components of another kind."),
    "show": ("aigc_zoo.cli.show", "Show a component: summary, presets, options, origin."),
    "plugins": ("aigc_zoo.cli.plugins", "List plugins with version, status and load errors."),
    "train": ("aigc_zoo.cli.train", "Train a recipe, or resume an unfinished run."),
    "sample": ("aigc_zoo.cli.sample", "Generate samples from a run or a generator file."),
    "eval": ("aigc_zoo.cli.eval", "Evaluate a run, a generator file or a folder of samples."),
    "bench": ("aigc_zoo.cli.bench", "Benchmark the speed and quality of recipes and components."),
    "report": ("aigc_zoo.cli.report", "Write a report of runs and benchmark results."),
    "export": ("aigc_zoo.cli.export", "Export a generator to safetensors, torch.export or ONNX."),
    "data": ("aigc_zoo.cli.data", "List, prepare and verify datasets."),
    "new": ("aigc_zoo.cli.new", "Create a new plugin from a template."),
    "check": ("aigc_zoo.cli.check", "Run the conformance checks on a plugin."),
    "config": ("aigc_zoo.cli.config", "Print the resolved configuration, which --config reads back."),
    "doctor": ("aigc_zoo.cli.doctor", "Check this installation and this machine."),
    "completion": ("aigc_zoo.cli.completion", "Print the completion script for a shell."),
}

COMPLETE = "_ZOO_COMPLETE"
"""Environment variable in which a shell's completion script says what it asks for."""

HELP = """A model zoo of generative adversarial networks.

Start with `zoo list`. `zoo COMMAND --help` explains a command. --plugin and --debug can also follow the command.
"""


class Globals:
    """The global options, which every command receives as `ctx.obj`."""

    def __init__(self, plugins: Sequence[Path] = (), debug: bool = False) -> None:
        self.plugins = tuple(plugins)
        self.debug = debug
        PLUGIN_FILES.set(self.plugins)
        self.recorded: Mapping[str, Any] = {}
        """The card of the run that this command resumes, whose names keep their meaning."""
        self._reported = False

    def catalogue(self, quiet: bool = False) -> Catalogue:
        """The installed components, `--plugin` files included. Plugins with problems are reported on stderr, once."""
        from aigc_zoo.plugins import catalogue, describe_problems

        found = catalogue(self.plugins)
        if not quiet and not self._reported:
            self._reported = True
            for line in describe_problems(found):
                click.echo(printable(line), err=True)
        return found.remembering(self.recorded) if self.recorded else found


class LazyGroup(click.Group):
    """A click group of the commands in `COMMANDS`; only the command that is called is imported."""

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
        except click.exceptions.NoSuchCommand as error:  # click suggests only registered commands, and there are none
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # of a plugin's socket, say; click would exit with 1 without a word
            raise StorageError(f"{error.filename or 'a pipe or a socket'}: {error.strerror}") from error

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
    help="Load this file as a plugin, in the namespace local/. Repeatable.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="aigc-zoo", message="%(prog)s %(version)s")
@click.pass_context
def zoo(ctx: click.Context, plugins: tuple[Path, ...], debug: bool) -> None:
    ctx.obj = Globals(plugins, debug)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(args: Sequence[str] | None = None) -> int:
    """Run `zoo` and return its exit code; errors are printed on stderr in at most three lines."""
    streams.protect()
    if instruction := os.environ.get(COMPLETE):
        from aigc_zoo.cli.completion import answer

        return answer(instruction)
    return streams.finished(_run(sys.argv[1:] if args is None else list(args)))


def _run(args: Sequence[str]) -> int:
    """Run `zoo` and return its exit code, without regard to what becomes of its output."""
    debug = "--debug" in args
    before = PLUGIN_FILES.set(())
    try:
        result = zoo.main(globals_first(args), prog_name="zoo", standalone_mode=False)
    except click.Abort as error:  # click's word for Ctrl-C, and for the EOFError of a plugin
        return _report_error(error.__cause__ if isinstance(error.__cause__, EOFError) else error, debug)
    except (Exception, KeyboardInterrupt) as error:
        return _report_error(error, debug)
    finally:
        PLUGIN_FILES.reset(before)
    return result if isinstance(result, int) else 0


def globals_first(args: Sequence[str]) -> list[str]:
    """Move --plugin and --debug in front of the command, so that they can be given anywhere before a `--`."""
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


def _report_error(error: BaseException, debug: bool) -> int:
    """Print an error on stderr and return the exit code."""
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
    elif isinstance(error, OSError) and error.strerror:  # not explained elsewhere: a name too long, a bad disk
        lines, code = [f"zoo: {of_system(error)}"], StorageError.exit_code
    else:
        text = " ".join(str(error).split())
        lines, code = [f"zoo: {type(error).__name__}{f': {text}' if text else ''}"], 1
        if not debug:
            lines.append("run again with --debug for the traceback")
    click.echo(printable("\n".join(lines)), err=True)
    return code
