"""Options and the validation of their values, the same for flags, files and Python."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from aigc_zoo.errors import ConfigError, ZooError, printable
from aigc_zoo.spec import Scalar

Value = Scalar | None | tuple[Scalar, ...]

WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    Path: "a path",
}
# Integral and Real take NumPy's numbers, too.
_TAKEN: Mapping[type, tuple[type, ...]] = {
    bool: (bool,),
    int: (str, Integral),
    float: (str, Real),
    str: (str,),
    Path: (),
}


@dataclass(frozen=True)
class Option:
    """An option such as "lr", "generator.width" or "penalty.NAME.weight", or a slot, whose value is a component's name.

    `low` and `high` are included. An index may follow the choices that are `numbered`, as in cuda:1. `optional` allows
    None (written "none"), `repeated` makes a tuple. `owner` is the full id of the component, "" for settings of a run;
    `slot` the kind of component that a slot takes, and `like` the tag that it must have. `source` names the component
    or preset that states the default, "" where it is the signature's own. `short` is another key for the same option:
    without the component's name, where a slot that can hold several holds one.
    """

    key: str
    type: type
    default: Value
    choices: tuple[Scalar, ...] = ()
    low: float | None = None
    high: float | None = None
    optional: bool = False
    repeated: bool = False
    help: str = ""
    owner: str = ""
    slot: str = ""
    like: str = ""
    metavar: str = ""
    source: str = ""
    numbered: tuple[Scalar, ...] = ()
    short: str = ""

    @property
    def flag(self) -> str:
        return flag_of(self.key)

    @property
    def words(self) -> tuple[str, ...]:
        """The choices as help shows them: cuda, cuda:N."""
        pairs = ((str(one), f"{one}:N") if one in self.numbered else (str(one),) for one in self.choices)
        return tuple(word for pair in pairs for word in pair)

    @property
    def bounds(self) -> str:
        """`1 or more`, `0 to 1`, or nothing."""
        if self.low is None and self.high is None:
            return ""
        if self.low is None:
            return f"{self.high} or less"
        return f"{self.low} or more" if self.high is None else f"{self.low} to {self.high}"


def spelling(key: str) -> str:
    """The normalized spelling of a key: hyphens and underscores are equivalent."""
    return key.replace("-", "_")


def flag_of(key: str) -> str:
    return "--" + printable(key.replace("_", "-").replace("\n", "?"))


def suggestion(key: str, keys: Iterable[str]) -> str:
    """`; did you mean --lr?`, or nothing. A key without a dot may mean the last part of one: width, generator.width."""
    word = spelling(key)
    head, dot, tail = word.rpartition(".")
    known = {spelling(one): flag_of(one) for one in keys}
    siblings = {name.rpartition(".")[2]: flag for name, flag in known.items() if name.rpartition(".")[0] == head}
    if dot and siblings:
        known, word = siblings, tail
    close = [] if dot else [name for name in known if name.rpartition(".")[2] == word]
    close = close or get_close_matches(word, known, 2, 0.65)
    return f"; did you mean {' or '.join(known[name] for name in close[:2])}?" if close else ""


def convert(option: Option, raw: Any) -> Value:
    """The value of an option from text or a typed value. Raises ValueError with the reason if it is invalid."""
    if raw is None or (option.optional and isinstance(raw, str) and raw.lower() == "none"):
        if not option.optional:
            raise ValueError("a value is needed")
        return None
    if not option.repeated:
        return _single(option, raw)
    if isinstance(raw, str):
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    return tuple(_single(option, one) for one in (raw if isinstance(raw, list | tuple) else [raw]))


def _single(option: Option, raw: Any) -> Scalar:
    value = _typed(option.type, raw)
    if option.choices and value not in option.choices and not _is_numbered(option, value):
        raise ValueError(f"not one of {', '.join(option.words)}")
    if isinstance(value, int | float) and not (
        (option.low is None or value >= option.low) and (option.high is None or value <= option.high)
    ):
        raise ValueError(f"not in the range {option.bounds}")
    return value


def _is_numbered(option: Option, value: Scalar) -> bool:
    name, colon, index = str(value).partition(":")
    return bool(colon) and name in option.numbered and re.fullmatch(r"0|[1-9]\d{0,3}", index) is not None


def _typed(kind: type, raw: Any) -> Scalar:
    if kind is bool and isinstance(raw, str) and raw.lower() in ("true", "false"):
        return raw.lower() == "true"
    if kind is Path and isinstance(raw, str | os.PathLike):
        path = os.fspath(raw)
        if isinstance(path, str) and "\0" not in path:  # which no file name can have
            return path
    if isinstance(raw, bool) == (kind is bool) and isinstance(raw, _TAKEN[kind]):
        try:
            value: Scalar = kind(raw)
            if kind is not float or math.isfinite(value):  # type: ignore[arg-type]
                return value
        except (ValueError, OverflowError):
            pass
    raise ValueError(f"not {WORDS[kind]}")


def checked(
    options: Sequence[Option], given: Mapping[str, Any], error: type[ZooError] = ConfigError, where: str = ""
) -> dict[str, Value]:
    """The values of all options by key: the given ones, validated, over the defaults."""
    names = {spelling(option.key): option for option in options}
    values = {option.key: option.default for option in options}
    for key, raw in given.items():
        option = names.get(spelling(key))
        if option is None:
            raise error(f"no option {flag_of(key)}{suggestion(key, values)}{where}")
        values[option.key] = checked_value(option, raw, error, where)
    return values


def checked_value(option: Option, raw: Any, error: type[ZooError] = ConfigError, where: str = "") -> Value:
    """The validated value of one option; `where` ends the message of the error."""
    try:
        return convert(option, raw)
    except ValueError as reason:
        raise error(f"{option.flag} {shown(raw)}: {reason}{where}") from None


def shown(raw: Any) -> str:
    """A value as a user would write it."""
    if isinstance(raw, list | tuple):
        return ",".join(map(shown, raw))
    return str(raw).lower() if raw is None or isinstance(raw, bool) else printable(str(raw).replace("\n", "?"))
