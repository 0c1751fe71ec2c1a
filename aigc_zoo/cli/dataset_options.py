"""Commands with options of their data: those of the dataset that is named, `zoo data prepare ring --data.modes 3`, or
of files at a path, `zoo data prepare ./lines.txt --data.length 64`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import click

from aigc_zoo.cli import Globals
from aigc_zoo.cli.dynamic import help_row, parameter_of
from aigc_zoo.errors import UsageError, ZooError
from aigc_zoo.options import Option, component_options, references
from aigc_zoo.options.files_of import options_of_files
from aigc_zoo.options.values import checked
from aigc_zoo.run.recorded import recorded_card

_HEADING = f"{__name__} heading"


class DatasetCommand(click.Command):
    """A command whose parameter `named_by` names a dataset or a path; it is called with `dataset_options`.

    Where it has a parameter `modality`, the options of files are those of that modality.
    """

    def __init__(self, *args: Any, named_by: str = "data", **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.named_by = named_by

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *(parameter for parameter, _ in ctx.meta.get(__name__, ()))]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with suppress(ZooError, click.UsageError):  # reported when the dataset is read, or by the parser below
            ctx.meta[__name__] = self._options(ctx, args)
        rest = super().parse_args(ctx, args)
        values = {option: ctx.params.pop(str(one.name)) for one, option in ctx.meta.get(__name__, ())}
        given = {option.key: value for option, value in values.items() if value is not None}
        found = checked(list(values), given, UsageError) if not ctx.resilient_parsing else {}
        start = len(self.named_by) + 1
        ctx.params["dataset_options"] = {key[start:]: value for key, value in found.items() if key in given}
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found: Sequence[tuple[click.Option, Option]] = ctx.meta.get(__name__, ())
        ctx.meta[__name__] = ()
        super().format_options(ctx, formatter)
        if found:
            with formatter.section(ctx.meta.get(_HEADING, "Options of the data")):
                formatter.write_dl([help_row(option, None) for _, option in found])

    def _options(self, ctx: click.Context, args: Sequence[str]) -> list[tuple[click.Option, Option]]:
        """The options of the dataset that the words name, with the prefix of their parameter."""
        prefix = f"{self.named_by}."
        parser = self.make_parser(ctx)
        parser.ignore_unknown_options = True
        parsed = parser.parse_args(_without(args, f"--{prefix}"))[0]
        named, source = parsed.get(self.named_by), parsed.get("source")
        catalogue = ctx.ensure_object(Globals).catalogue()
        if isinstance(source, str):  # the names of a run mean what they meant in training
            catalogue = catalogue.remembering(recorded_card(catalogue, source, None, None))
        found = references.find_data(catalogue, named) if isinstance(named, str) else None
        if found is None:
            return []
        if found.entry is None:
            ctx.meta[_HEADING] = "Options of files"
            options = options_of_files(catalogue, parsed.get("modality"))
        else:
            ctx.meta[_HEADING] = f"Options of the dataset {found.entry.id.removeprefix('zoo/')}"
            reference = f"{found.entry.id}.{found.preset}" if found.preset else found.entry.id
            options = component_options(catalogue, "dataset", reference)
        named_options = [replace(option, key=prefix + option.key) for option in options]
        return [(parameter_of(option, f"d{number}"), option) for number, option in enumerate(named_options)]


def _without(args: Sequence[str], prefix: str) -> list[str]:
    """The words without options of the dataset and their values."""
    words: list[str] = []
    queue = deque(args)
    while queue:
        word = queue.popleft()
        if not word.startswith(prefix):
            words.append(word)
        elif "=" not in word and queue and not queue[0].startswith("--"):
            queue.popleft()
    return words
