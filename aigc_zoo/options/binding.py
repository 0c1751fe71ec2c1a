"""Components with bound options, and error messages that name the component whose code raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError, UsageError, ZooError, in_a_line
from aigc_zoo.options.overlays import preset_overlays
from aigc_zoo.options.signatures import read, signature_options
from aigc_zoo.options.values import Option, Value, checked, spelling, suggestion

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue


def component_options(catalogue: Catalogue, kind: str, reference: str, namespace: str | None = None) -> list[Option]:
    """The options of a component of any kind; the defaults are those of the preset if the reference names one."""
    found = catalogue.find(kind, reference, namespace)
    options = read(found.entry)
    if not found.preset or kind == "recipe":
        return options
    for layer in preset_overlays(catalogue, found.entry, found.preset):
        values, stated = checked(options, layer.values, where=layer.where), set(map(spelling, layer.values))
        options = [
            replace(one, default=values[one.key], source=layer.source) if spelling(one.key) in stated else one
            for one in options
        ]
    return options


def bind(
    catalogue: Catalogue,
    kind: str,
    reference: str,
    options: Mapping[str, Any] | None = None,
    namespace: str | None = None,
) -> tuple[Entry, Any]:
    """A component other than a recipe, and its target with bound options; a penalty's is a `game.Penalty`.

    Raises ConfigError for an unknown component or option and for a bad value, and when the target raises.
    """
    assert kind != "recipe", "recipes are resolved and built: they have slots"
    entry = catalogue.find(kind, reference, namespace).entry
    return entry, bound(entry, checked(component_options(catalogue, kind, reference, namespace), options or {}))


def bound(entry: Entry, values: Mapping[str, Value]) -> Any:
    """The value of a slot's parameter: the target with bound options; a penalty with its weight and interval."""
    values = dict(values)
    if entry.kind == "extractor":
        values.pop("weights", None)  # no argument of the target, which is called with their source
    if entry.kind != "penalty":
        return partial(call, entry, **arguments(entry, values))
    from aigc_zoo.game import Penalty

    weight, every = values.pop("weight"), values.pop("every")
    make = partial(call, entry, **arguments(entry, values))
    assert isinstance(weight, float)
    assert isinstance(every, int)
    return Penalty(make, weight, every, entry.name)


def frozen_extractor(entry: Entry, values: Mapping[str, Value], flag: str) -> Callable[[], Any]:
    """The value of a slot for an extractor: builds it with weights, shipped, downloaded or of the file at `flag`."""
    build, file = bound(entry, values), values.get("weights")

    def extractor() -> Any:
        if "weights" not in signature(entry.load()).parameters:
            return build()
        from aigc_zoo.metrics.features import ExtractorWeights

        return build(ExtractorWeights(entry.id, None if file is None else Path(str(file)), option=flag))

    return extractor


def arguments(entry: Entry, values: Mapping[str, Value]) -> dict[str, Any]:
    """The keyword arguments of the target; paths are strings until here, as a card stores them."""
    options = {option.key: option for option in read(entry)}
    return {key: _as_taken(options[key], value) for key, value in values.items()}


def _as_taken(option: Option, value: Value) -> Any:
    if option.type is not Path or value is None:
        return value
    return tuple(Path(str(one)) for one in value) if isinstance(value, tuple) else Path(str(value))


def call(entry: Entry, /, *positional: Any, **keywords: Any) -> Any:
    """Call a component's target; its errors become messages that name the component."""
    with explain_errors(entry):
        return entry.load()(*positional, **keywords)


@contextmanager
def explain_errors(entry: Entry) -> Iterator[None]:
    """Turn errors of a component's code into a ConfigError that names the component.

    A ValueError is meant for the user, so its sentence stands as it is; anything else also names the distribution.
    """
    try:
        yield
    except ZooError:
        raise
    except ValueError as error:
        raise ConfigError(f"{entry.kind} {entry.id}: {' '.join(str(error).split()) or 'ValueError'}") from error
    except Exception as error:
        who = f"{entry.kind} {entry.id} of {entry.distribution} {entry.version}"
        raise ConfigError(f"{who} failed: {in_a_line(error)}") from error


# --- words of a command -----------------------------------------------------------------------------------------------


def parse_call(function: Callable[..., Any], called_with: Sequence[str], words: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments for `function` from `--name value`, `--name=value`, and `--name` or `--no-name` of a bool.

    Raises UsageError for words that are no option of it, ConfigError where its signature cannot be read.
    """
    if not words:
        return {}
    options = call_options(function, called_with)
    flags = {spelling(option.key): option for option in options}
    given: dict[str, Any] = {}
    queue = list(words)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            raise UsageError(f"unexpected argument {word!r}")
        option = flags.get(spelling(name))
        switch = flags.get(spelling(name.removeprefix("no-")))
        if equals or (option is not None and option.type is not bool):
            if not equals and not queue:
                raise UsageError(f"--{name} needs a value")
            given[name] = value if equals else queue.pop(0)
        elif switch is not None and switch.type is bool:
            given[switch.key] = option is switch
        else:
            raise UsageError(f"no option --{name}{suggestion(name, [option.key for option in options])}")
    return checked_call(function, called_with, given)


def call_options(function: Callable[..., Any], called_with: Sequence[str]) -> list[Option]:
    """The keyword-only parameters of a function as options. Raises ConfigError if its signature cannot be read."""
    try:
        return signature_options(function, called_with)
    except ValueError as error:
        raise ConfigError(f"options cannot be taken: {error}") from error


def checked_call(function: Callable[..., Any], called_with: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `function` from given values. Raises UsageError and ConfigError as `parse_call` does."""
    if not given:
        return {}
    options = call_options(function, called_with)
    values = checked(options, given, UsageError)
    taken = {spelling(key) for key in given}
    return {option.key: _as_taken(option, values[option.key]) for option in options if spelling(option.key) in taken}
