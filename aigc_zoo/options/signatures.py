"""Options of a component, read from the signature and docstring of its target."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError, in_a_line
from aigc_zoo.options.values import WORDS, Option, checked, convert, spelling
from aigc_zoo.spec import KINDS, Range, Slot

CALLED_WITH: Mapping[str, tuple[str, ...]] = {
    "generator": ("spec", "latent"),
    "discriminator": ("spec",),
    "dataset": ("where",),
    "extractor": ("weights",),
    "network": ("spec",),
}
"""Positional parameters of the targets of a kind; all other parameters are options."""

_OF_SLOTS: Mapping[str, str] = {
    "generator": "generator network.",
    "discriminator": "discriminator network.",
    "loss": "adversarial loss of both networks, a function of logits.",
    "penalty": "penalty term added to the discriminator's loss.",
    "augmentation": "differentiable augmentation of reals and fakes before the discriminator.",
    "network": "network.",
    "extractor": "feature extractor of a loss; it is not trained.",
}
"""Help of a slot by its kind, where the recipe's docstring has none."""

_OF_PENALTIES = (
    Option("weight", float, 1.0, low=0, help="factor of the penalty in the discriminator's loss."),
    Option(
        "every", int, 1, low=1, help="lazy regularization: add N times the penalty at every N-th step.", metavar="N"
    ),
)


_OF_DOWNLOADED = Option(
    "weights", Path, None, optional=True, metavar="FILE", help="file with its weights, instead of a download."
)
"""The option of extractors that do not ship their weights."""


def read(entry: Entry) -> list[Option]:
    """The options of a component's target in the order of its signature, with the component's `defaults`.

    A recipe's slots are among them; its own `defaults` are not applied here, because they may set options of what the
    slots hold. Raises ConfigError with component, parameter and reason for a parameter that cannot be an option.
    """
    target = entry.load()
    who = f"{entry.kind} {entry.id} of {entry.distribution} {entry.version}"
    try:
        called_with = CALLED_WITH.get(entry.kind, ())
        if entry.kind == "extractor" and "weights" not in inspect.signature(target).parameters:
            called_with = ()  # it ships its weights, or needs none
        found = signature_options(target, called_with, slots=entry.kind == "recipe")
    except ValueError as error:
        raise ConfigError(f"{who}: {error}") from error
    if entry.kind == "penalty":
        if clash := {option.key for option in found} & {option.key for option in _OF_PENALTIES}:
            raise ConfigError(f"{who}: parameter {clash.pop()}: every penalty has an option of this name")
        found += _OF_PENALTIES
    if entry.kind == "extractor" and called_with:
        found.append(_OF_DOWNLOADED)
    found = [replace(option, owner=entry.id) for option in found]
    defaults = entry.component.defaults
    if entry.kind == "recipe" or not defaults:
        return found
    values = checked(found, defaults, where=f" (defaults of {entry.kind} {entry.id})")
    stated = set(map(spelling, defaults))
    return [
        replace(option, default=values[option.key], source=entry.id if spelling(option.key) in stated else "")
        for option in found
    ]


def signature_options(
    target: Callable[..., Any], called_with: Sequence[str] = (), *, slots: bool = False
) -> list[Option]:
    """The keyword-only parameters of a callable as options; ValueError for a parameter that cannot be one."""
    try:
        # Of a class, get_type_hints would give the attributes.
        annotated = target.__init__ if inspect.isclass(target) else target
        hints = get_type_hints(annotated, include_extras=True)
        parameters = inspect.signature(target).parameters
    except NameError as error:
        raise ValueError(
            f"the type {error.name!r} in its signature is not known at run time (is it imported under TYPE_CHECKING?)"
        ) from error
    except Exception as error:
        raise ValueError(f"its signature cannot be read: {in_a_line(error)}") from error
    texts = _help(inspect.getdoc(target), parameters) | _help(inspect.getdoc(annotated), parameters)
    positional, found = [], []
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ValueError(f"parameter {parameter}: every option needs a name and a type of its own")
        if parameter.kind is not parameter.KEYWORD_ONLY:
            if name not in called_with:
                raise ValueError(f"parameter {name}: options are keyword-only (write a * before them)")
            positional.append(name)
            continue
        if name not in hints:
            raise ValueError(f"parameter {name}: its type is missing")
        if parameter.default is parameter.empty:
            raise ValueError(f"parameter {name}: an option needs a default")
        try:
            option = _option(name, hints[name], parameter.default, slots)
        except (ValueError, TypeError) as error:
            raise ValueError(f"parameter {name}: {error}") from error
        found.append(replace(option, help=texts.get(name, _OF_SLOTS.get(option.slot, ""))))
    if positional != list(called_with):
        raise ValueError(f"it is called with ({', '.join(called_with)}) and takes ({', '.join(positional)})")
    return found


def _option(name: str, hint: Any, default: Any, slots: bool) -> Option:
    written, optional, repeated = hint, False, False
    marks: list[Any] = []
    while True:  # peel Annotated, Optional and tuple off, in any order
        origin, inner = get_origin(hint), get_args(hint)
        if origin is Annotated:
            hint, marks = inner[0], [*marks, *inner[1:]]
        elif origin in (Union, types.UnionType) and len(inner) == 2 and type(None) in inner and not repeated:
            hint, optional = next(one for one in inner if one is not type(None)), True
        elif origin is tuple and inner[1:] == (Ellipsis,) and not repeated:
            hint, repeated = inner[0], True
        else:
            break
    slot, like = next(((mark.kind, mark.like) for mark in marks if isinstance(mark, Slot)), ("", ""))
    choices: tuple[Any, ...] = ()
    if slot:
        if not slots:
            raise ValueError("only recipes have slots")
        if slot not in KINDS:
            raise ValueError(f"slot of unknown kind {slot!r}")
        hint = str
    elif origin is Literal:
        choices = inner
        if len({type(choice) for choice in choices}) > 1:
            raise ValueError("the choices of a Literal need to be of one type")
        hint = type(choices[0])
    if hint not in WORDS:
        raise ValueError(
            f"type {inspect.formatannotation(written)} is none of bool, int, float, str, Path, "
            "Literal, these | None, and tuple[these, ...]"
        )
    bounds = next((mark for mark in marks if isinstance(mark, Range)), Range())
    if bounds != Range() and hint not in (int, float):
        raise ValueError("a Range bounds numbers only")
    option = Option(name, hint, None, choices, bounds.low, bounds.high, optional, repeated, slot=slot, like=like)
    try:
        return replace(option, default=convert(option, default))
    except ValueError as error:
        raise ValueError(f"its default {default!r} does not fit: {error}") from error


def _help(docstring: str | None, names: Iterable[str]) -> dict[str, str]:
    """Help texts from docstring lines of the form `name: text`, with their more deeply indented continuation lines."""
    texts: dict[str, str] = {}
    current, depth = "", 0
    for line in (docstring or "").splitlines():
        found = re.match(r"(\s*)(\w+):\s+(\S.*)", line)
        indent = len(line) - len(line.lstrip())
        if found and found[2] in names:
            current, depth = found[2], indent
            texts[current] = found[3].strip()
        elif current and line.strip() and indent > depth:
            texts[current] += " " + line.strip()
        else:
            current = ""
    return texts
