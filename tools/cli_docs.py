"""Write docs/cli.md from the help texts of the commands; --check fails if the page is stale.

The page is generated from the parameters, as the layout of click's formatted help depends on version and terminal.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

import click
from generated import Generated

HEAD = """# The command line

Generated from the commands by `make docs`. A recipe and its components have further options: `zoo train RECIPE --help`
and `zoo show RECIPE` list them.
"""
TAIL = """
## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | failure |
| 2 | invalid command line |
| 3 | configuration or plugin: unknown names, values out of range, components that do not fit |
| 4 | another process writes this run |
| 65 | missing or damaged data |
| 70 | training diverged |
| 74 | a file or standard output cannot be read or written |
| 129, 130, 141, 143 | stopped after saving a checkpoint: SIGHUP, Ctrl-C, a pipe without a reader, SIGTERM |

## Environment variables

| name | meaning |
|---|---|
| `ZOO_DATA` | folder in which datasets are looked up before a download, as `$ZOO_DATA/[NAMESPACE/]NAME` |
| `ZOO_CACHE` | folder for downloads and decoded data; default: the user's cache folder |
| `ZOO_DISABLE_PLUGINS` | comma-separated distributions or entry points that are not loaded; `*` for all |
| `ZOO_STRICT` | `1` turns a broken plugin into an error instead of a line on stderr |
"""


def page() -> str:
    """The text of the page."""
    from aigc_zoo.cli import zoo

    with click.Context(zoo, info_name="zoo", **zoo.context_settings) as context:  # the settings add -h
        commands = [(name, zoo.get_command(context, name)) for name in zoo.list_commands(context)]
        sections = [_section("zoo", zoo, context)]
        for name, command in commands:
            if command is None:
                raise ValueError(f"zoo lists the command {name}, which it does not have")
            sections += _sections(f"zoo {name}", command, context)
    return "\n".join([HEAD, *sections, TAIL.strip("\n"), ""])


def _sections(name: str, command: click.Command, context: click.Context) -> Iterator[str]:
    """The section of a command and those of its subcommands."""
    with click.Context(command, info_name=name.rpartition(" ")[2], parent=context) as inner:
        yield _section(name, command, inner)
        if isinstance(command, click.Group):
            for own in command.list_commands(inner):
                below = command.get_command(inner, own)
                assert below is not None
                yield from _sections(f"{name} {own}", below, inner)


def _section(name: str, command: click.Command, context: click.Context) -> str:
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    text = re.sub(r"(`[^`]*`)|\*", lambda found: found[1] or r"\*", text)
    parts = [f"## {name}", f"```\n{usage}\n```", text, "\n".join(_options(command, context))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            names, meaning = record
            text = " ".join(meaning.split())
            yield f"- `{names}`: {text[:1].upper()}{text[1:]}".removesuffix(": ")


DOCUMENT = Generated("cli.md", page)
stale = DOCUMENT.stale

if __name__ == "__main__":
    sys.exit(DOCUMENT.main(sys.argv))
