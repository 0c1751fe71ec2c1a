"""Values that commands and the functions of the package take beside a recipe's options: one validation for both."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from aigc_zoo.errors import UsageError, of_system
from aigc_zoo.options.values import WORDS, Option, convert, shown
from aigc_zoo.run.progress import Progress
from aigc_zoo.spec import KINDS

ARGUMENTS: Mapping[str, Option] = {
    "-n": Option("n", int, 64, low=1),
    "--seed": Option("seed", int, 0),
    "--tile": Option("tile", int, None, low=16, optional=True),
    "--size": Option("size", int, None, low=1, optional=True),
    "--num": Option("num", int, None, low=2, optional=True),
    "--format": Option("format", str, "html", choices=("html", "md")),
    "--kind": Option("kind", str, "recipe", choices=(*KINDS, "all")),
}
"""By flag of the command line."""

P = ParamSpec("P")
R = TypeVar("R")


def argument(flag: str, raw: Any) -> Any:
    """The validated value. Raises UsageError in the words of the options of a recipe."""
    try:
        return convert(ARGUMENTS[flag], raw)
    except ValueError as reason:
        raise UsageError(f"{flag} {shown(raw)}: {reason}") from None


def public(function: Callable[P, R]) -> Callable[P, R]:
    """The function with the errors of a command: UsageError for an argument that is not of the annotated type, and
    StorageError for an error of the system that nothing has explained.

    Whole numbers are not checked here: `argument` validates them, and class labels are names or numbers.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:  # the call below raises it in the words of Python
            given = {}
        for name, value in given.items():
            require_type(name, value, str(signature.parameters[name].annotation))
        try:
            return function(*args, **kwargs)
        except OSError as error:
            if not error.strerror:
                raise
            raise of_system(error) from error

    return checked


def require_type(name: str, value: Any, annotation: str) -> None:
    """Raises UsageError if an argument is not of the type that the text of its annotation states."""
    kinds = [kind for kind in annotation.split(" | ") if kind != "None"]
    kinds = [kind for kind in kinds if kind != "str" or "Path" not in kinds]  # the text of a path
    if (value is None and "None" in annotation) or not all(kind in _TYPES for kind in kinds):
        return
    if not any(_TYPES[kind][0](value) for kind in kinds):
        words = " or ".join(dict.fromkeys(_TYPES[kind][1] for kind in kinds))
        raise UsageError(f"{name}={shown(value)[:80]}: not {words}")


def _is(kind: type) -> Callable[[Any], bool]:
    """Whether an option of this type takes a value."""

    def accepts(value: Any) -> bool:
        try:
            convert(Option("", kind, None), value)
        except ValueError:
            return False
        return kind is not bool or isinstance(value, bool)

    return accepts


_TYPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "bool": (_is(bool), "True or False"),
    "str": (_is(str), WORDS[str]),
    "Path": (_is(Path), WORDS[Path]),
    "Progress": (lambda value: isinstance(value, Progress), "a Progress"),
    "Mapping[str, Any]": (
        lambda value: isinstance(value, Mapping) and all(isinstance(key, str) for key in value),
        "a dict with names as keys",
    ),
    "Sequence[str]": (
        lambda value: isinstance(value, Collection) and all(isinstance(one, str) for one in value),
        "a list of texts",
    ),
}
"""A test and words by the part of an annotation."""
