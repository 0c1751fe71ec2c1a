"""How something leaves the API: it goes on working for two minor releases and says by when it is gone."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class ZooDeprecationWarning(FutureWarning):
    """Something that a plugin or a notebook uses is going to go. Shown to everyone, as its users can act on it."""


def warn(what: str, *, since: str, gone: str, instead: str, stacklevel: int = 3) -> None:
    """Says that `what` is deprecated since one version, is gone in another, and what to use instead.

    Python shows it once for each place that it comes from. Raises ValueError where the two versions are less than two
    minor releases apart: nobody has to follow faster.
    """
    if _minor(gone) - _minor(since) < 2:
        raise ValueError(f"{what}: two minor releases lie between {since} and {gone}, at least")
    warnings.warn(
        f"{what} is deprecated since aigc-zoo {since} and is gone in {gone}: use {instead}",
        ZooDeprecationWarning,
        stacklevel=stacklevel,
    )


def deprecated(*, since: str, gone: str, instead: str) -> Callable[[F], F]:
    """Decorates a function or a class that is going to go."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def called(*arguments: Any, **keywords: Any) -> Any:
            warn(function.__qualname__, since=since, gone=gone, instead=instead)
            return function(*arguments, **keywords)

        return called  # type: ignore[return-value]

    return decorate


def renamed(old: str, new: str, *, since: str, gone: str) -> Callable[[F], F]:
    """Decorates a function whose keyword `old` is called `new` now; both at once is a TypeError."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def called(*arguments: Any, **keywords: Any) -> Any:
            if old in keywords:
                if new in keywords:
                    raise TypeError(f"{function.__qualname__}: {old} is the old name of {new}: give one of them")
                warn(f"{function.__qualname__}({old}=...)", since=since, gone=gone, instead=f"{new}=...")
                keywords[new] = keywords.pop(old)
            return function(*arguments, **keywords)

        return called  # type: ignore[return-value]

    return decorate


def _minor(version: str) -> int:
    """The minor releases up to a version; a major one counts a hundred."""
    major, minor, *_ = (int(part) for part in version.split("."))
    return 100 * major + minor
