"""Completions of a command line: recipes, presets, datasets, components and values of options. No torch import."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from aigc_zoo.cli import Globals
from aigc_zoo.cli.dynamic import RecipeCommand
from aigc_zoo.cli.text import short
from aigc_zoo.errors import ZooError
from aigc_zoo.options.signatures import CALLED_WITH
from aigc_zoo.options.static_signatures import StaticEntry, static_signature
from aigc_zoo.options.values import Option
from aigc_zoo.plugins import Catalogue, Entry, catalogue

Items = list[CompletionItem[str]]
Source = Callable[[Catalogue, str], Items]

FILE, FOLDER = CompletionItem("", type="file"), CompletionItem("", type="dir")


class SourceEntry(StaticEntry):
    """An entry whose options are read from source only; a signature that is too complex for that has none."""

    def load(self) -> Callable[..., Any]:
        return _signature(self.target, self.kind)


class CompletionGlobals(Globals):
    """Global options while a word is completed: problems of plugins are not reported, and no target is imported."""

    def catalogue(self, quiet: bool = False) -> Catalogue:
        try:
            return catalogue(self.plugins).with_entries(SourceEntry)
        except ZooError:  # a plugin file that cannot be loaded
            return catalogue().with_entries(SourceEntry)


def candidates(ctx: click.Context, parameter: click.Parameter, word: str) -> Items | None:
    """Completions of a parameter's value that starts with `word`; None where click's own apply."""
    option = ctx.command.option_of(ctx, parameter) if isinstance(ctx.command, RecipeCommand) else None
    if parameter.opts[0] == "--input":
        return _inputs(ctx, word)
    source = _SOURCES.get(parameter.opts[0])
    if source is None and option is not None:
        source = partial(_of_option, option)
    source = source or _BY_COMMAND.get((ctx.command_path.partition(" ")[2], str(parameter.name)))
    return None if source is None else source(ctx.find_object(CompletionGlobals).catalogue(), word)  # type: ignore[union-attr]


def _of_option(option: Option, found: Catalogue, word: str) -> Items:
    """Choices, components of a slot, or files."""
    if option.type is Path:
        return [FILE]
    listed = option.repeated and not option.slot
    if option.slot:
        items = names((option.slot,), found, word)
    elif option.type is bool:
        items = _matching(("true", "false"), word)
    elif listed:
        items = comma_separated(lambda _, last: _matching(map(str, option.choices), last), found, word)
    else:
        items = _matching(map(str, option.choices), word)
    return items + (_matching(("none",), word) if option.optional and items and not listed else [])


# --- sources of words -------------------------------------------------------------------------------------------------


def names(kinds: Sequence[str], found: Catalogue, word: str) -> Items:
    """Names of components, as short as they are unambiguous; presets follow when a name is complete."""
    spelled: dict[str, Entry] = {}
    for entry in (entry for kind in kinds or (None,) for entry in found.items(kind)):
        spelled.setdefault(_name(entry, word), entry)
    items = []
    for name, entry in spelled.items():
        if name.startswith(word):
            items.append(CompletionItem(name, help=entry.component.summary))
        if word == name or word.startswith(f"{name}."):
            about = f"preset of {entry.kind} {short(entry)}"
            presets = (f"{name}.{preset}" for preset in entry.component.presets)
            items += [CompletionItem(one, help=about) for one in presets if one.startswith(word)]
    return items


def _name(entry: Entry, word: str) -> str:
    return entry.id if word.startswith(f"{entry.namespace}/") else short(entry)


def with_files(kind: str, found: Catalogue, word: str) -> Items:
    """Names of components, or paths."""
    return [FILE, *names((kind,), found, word)]


def published(found: Catalogue, word: str) -> Items:
    """Runs and files, and published weights as RECIPE@NAME."""
    weights = [
        CompletionItem(f"{_name(entry, word)}@{name}", help=entry.component.summary)
        for entry in found.items("recipe")
        for name in entry.component.weights
    ]
    return [FILE, *(item for item in weights if item.value.startswith(word))]


def comma_separated(source: Source, found: Catalogue, word: str) -> Items:
    """Completions of the last of several words that commas separate, without those that are there already."""
    head, comma, last = word.rpartition(",")
    there = head.split(",")
    return [
        CompletionItem(f"{head}{comma}{item.value}", help=item.help)
        for item in source(found, last)
        if item.value not in there
    ]


def _metrics(found: Catalogue, word: str) -> Items:
    names = [entry.name if entry.namespace == "zoo" else entry.id for entry in found.items("metric")]
    return comma_separated(lambda _, last: _matching((*names, "all"), last), found, word)


def _devices(found: Catalogue, word: str) -> Items:
    from aigc_zoo.options import RUN_SETTINGS

    return _matching(map(str, RUN_SETTINGS["device"].choices), word)


def _inputs(ctx: click.Context, word: str) -> Items:
    """Names of the entries that the data of a run have beside their samples, each followed by =; then files."""
    if "=" in word:
        return [FILE]
    from aigc_zoo.run.recorded import recorded_card

    # click leaves the words alone where the last option has no value yet.
    source = ctx.params.get("source") or next((one for one in ctx.args if not one.startswith("-")), None)
    card = recorded_card(catalogue(), str(source), None, None) if source is not None else {}
    entries = card.get("data", {}).get("spec", {}).get("entries", {})
    return _matching((f"{name}=" for name in entries), word)


def _matching(words: Iterable[str], start: str) -> Items:
    return [CompletionItem(word) for word in words if word.startswith(start)]


@cache  # a completion reads the components of a recipe several times
def _signature(target: str, kind: str) -> Callable[..., Any]:
    return static_signature(target) or _without_options(kind)


def _without_options(kind: str) -> Callable[..., Any]:
    """A function with the positional parameters of that kind and no options."""

    def target(*values: Any) -> None:
        return None

    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, positional) for name in CALLED_WITH.get(kind, ())]
    target.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return target


def _several(kind: str) -> Source:
    return partial(comma_separated, partial(names, (kind,)))


RECIPES, ANY = partial(names, ("recipe",)), partial(names, ())
DATASETS, EXTRACTORS = partial(with_files, "dataset"), partial(names, ("extractor",))

_SOURCES: dict[str, Source] = {
    "--data": DATASETS,
    "--against": DATASETS,
    "--extractor": EXTRACTORS,
    "--metrics": _metrics,
    "--device": _devices,
}
"""Sources by flag, which mean the same in all commands."""

_BY_COMMAND: dict[tuple[str, str], Source] = {
    ("train", "reference"): RECIPES,
    ("config", "reference"): RECIPES,
    ("bench speed", "recipes"): RECIPES,
    ("bench quality", "recipes"): RECIPES,
    ("bench matrix", "recipe"): RECIPES,
    ("show", "reference"): ANY,
    ("list", "pattern"): ANY,
    ("check", "reference"): lambda found, word: [FILE, *names((), found, word)],
    ("sample", "source"): published,
    ("eval", "source"): published,
    ("data prepare", "data"): DATASETS,
    **{("bench matrix", kind): _several(kind) for kind in ("generator", "discriminator", "loss", "penalty")},
}
"""Sources by command and parameter."""
