"""`zoo completion`: print the completion script for a shell, and answer the questions that the script asks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from glob import escape, glob
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    _resolve_context,
    _resolve_incomplete,
)

from aigc_zoo import cli

if TYPE_CHECKING:
    from aigc_zoo.cli.candidates import Items

SHELLS = ("bash", "zsh", "fish")
_ANYWHERE = ("--plugin", "--debug")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script with which SHELL completes commands, recipes, options, their values and datasets.

    For bash and zsh, add `eval "$(zoo completion SHELL)"` to ~/.bashrc or ~/.zshrc. For fish, write the output to
    ~/.config/fish/completions/zoo.fish.
    """
    click.echo(_COMPLETERS[shell](cli.zoo, {}, "zoo", cli.COMPLETE).source())


def answer(instruction: str) -> int:
    """Print what a completion script asks for, as in click's protocol: `bash_complete` or `bash_source`.

    Errors and the output of plugins are not shown, because they would be written into the line that is completed.
    """
    shell, _, action = instruction.partition("_")
    if shell not in _COMPLETERS or action not in ("complete", "source"):
        return 1
    completer = _COMPLETERS[shell](cli.zoo, {}, "zoo", cli.COMPLETE)
    text = ""
    with open(os.devnull, "w") as sink, redirect_stdout(sink), redirect_stderr(sink), suppress(Exception, SystemExit):
        text = completer.source() if action == "source" else completer.complete()
    click.echo(text)
    return 0


class _Completer(ShellComplete):
    """Completion by click, with the words of `candidates` for parameters that name components."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        if not args and not incomplete.startswith("-"):
            return _commands(incomplete)
        from aigc_zoo.cli.candidates import FILE, CompletionGlobals, candidates

        words = [os.path.expanduser(word) for word in args]
        if words and words[-1] == "--plugin":
            return [FILE]
        words = cli.globals_first(words)
        files = [Path(value) for name, value in pairwise(words) if name == "--plugin"]
        files += [Path(word.partition("=")[2]) for word in words if word.startswith("--plugin=")]
        ctx = _resolve_context(self.cli, {"obj": CompletionGlobals(files)}, self.prog_name, words)
        subject, word = _resolve_incomplete(ctx, words, incomplete)
        if ctx.command is cli.zoo and not word.startswith("-"):
            return _commands(word)
        found: Items | None = candidates(ctx, subject, word) if isinstance(subject, click.Parameter) else None
        if found is None:
            found = subject.shell_complete(ctx, word)
            if isinstance(subject, click.Command) and ctx.command is not cli.zoo:  # global options may follow as well
                found += [item for item in cli.zoo.shell_complete(ctx.find_root(), word) if item.value in _ANYWHERE]
        return [CompletionItem(item.value, type=item.type, help=_line(item.help)) for item in found]


class _Joined(_Completer):
    """A shell that replaces the whole word: the value of `--loss=h` is completed with its option in front."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        found = super().get_completions(args, incomplete)
        flag, equals, _ = incomplete.partition("=")
        if equals and args[-1:] == ["--input"]:  # these shells would look for a file called source=photo.png
            return [CompletionItem(f"{flag}={path}") for path in _files(incomplete[len(flag) + 1 :])]
        if not (equals and flag.startswith("--")):
            return found
        return [CompletionItem(f"{flag}={item.value}", type=item.type, help=item.help) for item in found]


class _Bash(_Completer, BashComplete):
    """bash splits `--loss=h` and `dcgan@name` at `=` and `@`, and replaces what follows these."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        *args, incomplete = _rejoined([*args, incomplete])
        return args, incomplete

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        found = super().get_completions(args, incomplete)
        there = incomplete.rpartition("@")[0]
        if not there or incomplete.startswith("-"):
            return found
        return [CompletionItem(item.value.removeprefix(f"{there}@"), type=item.type) for item in found]


class _Zsh(_Joined, ZshComplete):
    pass


class _Fish(_Joined, FishComplete):
    """click's script cuts value and help at a comma; this one splits off the type only."""

    source_template = FishComplete.source_template.replace(
        'string split "," $completion', 'string split --max 1 "," -- $completion'
    )


_COMPLETERS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def _files(start: str) -> list[str]:
    """Paths that start with these letters; a folder ends with a slash."""
    found = sorted(glob(f"{escape(os.path.expanduser(start))}*"))
    return [f"{path}/" if os.path.isdir(path) else path for path in found]


def _rejoined(words: Sequence[str]) -> list[str]:
    """The words of a line that bash has split at `=` after an option and at `@`."""
    joined: list[str] = []
    glue = False
    for word in words:
        named = bool(joined) and (joined[-1].startswith("--") or joined[-2:-1] == ["--input"])
        breaks = word == "@" or (word == "=" and named and "=" not in joined[-1])
        if joined and (glue or breaks):
            joined[-1] += word
        else:
            joined.append(word)
        glue = breaks
    return joined


def _commands(word: str) -> list[CompletionItem[str]]:
    """Commands with their summaries, none of which is imported."""
    return [CompletionItem(name, help=line) for name, (_, line) in cli.COMMANDS.items() if name.startswith(word)]


def _line(text: str | None) -> str | None:
    return None if text is None else " ".join(text.split())
