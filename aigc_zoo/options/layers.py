"""Defaults, presets, a file and flags, laid over one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError, UsageError, ZooError
from aigc_zoo.options.settings import RESERVED, RUN_SETTINGS
from aigc_zoo.options.signatures import read
from aigc_zoo.options.values import Option, Value, convert, flag_of, shown, spelling, suggestion

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue


OPEN = "?"
"""Set by whom? A card does not say of what was at its default."""


@dataclass(frozen=True)
class Layer:
    """Values of one origin, by flat key. `recorded` is a card's own account of who set them.

    `slot`: the slot for whose component they are, where they are a preset of that component.
    """

    values: Mapping[str, Any]
    origin: str = ""  # "" for defaults, preset, file, cli, python
    where: str = ""
    namespace: str | None = None
    recorded: Mapping[str, str] | None = None
    slot: str = ""

    def error(self, message: str) -> ZooError:
        return (UsageError if self.origin == "cli" else ConfigError)(message + self.where)

    def origin_of(self, key: str) -> str:
        """Who set a key; OPEN where a card does not say, so that a value at its default stays a default."""
        if self.recorded is None:
            return self.origin
        origin = self.recorded.get(key, OPEN)
        return origin if origin in ("preset", "cli", "python", OPEN) else self.origin


@dataclass(frozen=True)
class Given:
    key: str  # as it was written
    raw: Any
    layer: Layer
    origin: str
    beneath: Given | None = None


class Draft:
    """A recipe's slots and values while layers are laid over one another."""

    def __init__(self, catalogue: Catalogue, entry: Entry) -> None:
        self.catalogue, self.entry = catalogue, entry
        self.parameters = {option.key: option for option in read(entry)}
        if taken := [key for key in self.parameters if key in RUN_SETTINGS or key in RESERVED]:
            raise ConfigError(
                f"recipe {entry.id} of {entry.distribution}: parameter {taken[0]}: "
                "the command line has an option of this name, so a recipe cannot"
            )
        self.chosen: dict[str, tuple[Entry, ...]] = {}
        self.chosen_by: dict[str, str] = {}
        self.given: dict[str, Given] = {}
        self.notes: list[str] = []
        defaults = {option.key: option.default for option in self.parameters.values() if option.slot}
        self.lay(Layer(defaults, namespace=entry.namespace))
        self.usual = set(self.components())
        if "default" in entry.component.presets:
            self.lay_preset("default", "")

    def lay_preset(self, preset: str, origin: str = "preset") -> None:
        where = f" (preset {self.entry.name}.{preset})"
        self.lay(Layer(self.entry.component.presets[preset], origin, where, self.entry.namespace))

    def lay(self, layer: Layer) -> None:
        """Slots first, since a new choice ends what was said of the former one."""
        written = {spelling(key): (key, value) for key, value in layer.values.items()}
        lengths = [key for key in ("steps", "images") if written.get(key, ("", None))[1] is not None]
        if len(lengths) == 2:
            raise layer.error("--steps and --images exclude one another: give one of them")
        if lengths:
            self.given.pop("images" if lengths[0] == "steps" else "steps", None)
        for name, option in self.parameters.items():
            if option.slot and name in written:
                self._choose(option, written.pop(name)[1], layer)
        for name, (key, raw) in written.items():
            self.given[name] = Given(key, raw, layer, layer.origin_of(name), self.given.get(name))

    def _choose(self, slot: Option, raw: Any, layer: Layer) -> None:
        found = [self.catalogue.find(slot.slot, name, layer.namespace) for name in _references(slot, raw, layer)]
        entries = tuple(one.entry for one in found)
        names = [entry.name for entry in entries]
        if twice := [name for name in names if names.count(name) > 1]:
            raise layer.error(f"{slot.flag} {twice[0]} is given twice: their options would have the same names")
        before = self.chosen.get(slot.key, ())
        kept = tuple(spelling(prefix(slot, entry)) for entry in entries if entry in before)
        ended = [
            name
            for name, given in self.given.items()
            if name.startswith(f"{slot.key}.") and (given.layer.slot or not name.startswith(kept))
        ]
        for name in ended:
            del self.given[name]
        origin = layer.origin_of(slot.key)
        if origin == OPEN:
            origin = self.chosen_by.get(slot.key, "") if entries == before else layer.origin
        self.chosen[slot.key], self.chosen_by[slot.key] = entries, origin
        for one in found:
            self.notes += [one.note] if one.note else []
            if one.preset:
                values = one.entry.component.presets[one.preset]
                where = f" (preset {one.entry.name}.{one.preset})"
                laid = {prefix(slot, one.entry) + key: raw for key, raw in values.items()}
                self.lay(Layer(laid, "preset", where, slot=slot.key))

    def options(self) -> list[Option]:
        """Those of the recipe; each slot is followed by the options of what it holds."""
        found = []
        for option in self.parameters.values():
            found.append(option)
            for entry in self.chosen.get(option.key, ()):
                found += [replace(own, key=prefix(option, entry) + own.key) for own in read(entry)]
        return found

    def _named(self) -> dict[str, Option]:
        """All that takes a value, settings of the run included, by spelling."""
        options = [*RUN_SETTINGS.values(), *(option for option in self.options() if not option.slot)]
        return {spelling(option.key): option for option in options}

    def values(self) -> dict[str, Value]:
        named = self._named()
        values = {option.key: option.default for option in named.values()}
        for name, given in self.given.items():
            if name not in named:
                raise given.layer.error(self.unknown(given.key))
            values[named[name].key] = value_of(named[name], given)
        return values

    def set_by(self, values: Mapping[str, Value], defaults: Mapping[str, Any]) -> dict[str, str]:
        """Who set what is not at its default. `defaults` are the recipe's own of settings that have none."""
        origins = dict(self.chosen_by)
        for name, option in self._named().items():
            given = self.given.get(name)
            origin = given.origin if given else ""
            if given and origin == OPEN:
                value = values[option.key]
                below = value_of(option, given.beneath) if given.beneath else defaults.get(option.key, option.default)
                untouched = value == below or (value is None and option.key in RUN_SETTINGS)
                origin = (given.beneath.origin if given.beneath else "") if untouched else given.layer.origin
            origins[option.key] = origin
        return {key: origin for key, origin in origins.items() if origin}

    def components(self) -> list[Entry]:
        """The recipe and all that its slots hold."""
        return [self.entry, *(entry for entries in self.chosen.values() for entry in entries)]

    def unknown(self, key: str, also: tuple[str, ...] = ()) -> str:
        """What is wrong with a key, and what was probably meant."""
        close = suggestion(key, [*RUN_SETTINGS, *also, *(option.key for option in self.options())])
        head, _, rest = spelling(key).partition(".")
        slot = self.parameters.get(head)
        if slot is None or not slot.slot or close:
            return f"no option {flag_of(key)}{close}"
        holds = " ".join(entry.name for entry in self.chosen[slot.key]) or "none"
        others = [f"{slot.flag} {name}" for name in self._having(slot, rest)]
        hint = f": {' or '.join(others[:3])} brings it" if others else ""
        return f"no option {flag_of(key)} with {slot.flag} {holds}{hint}"

    def _having(self, slot: Option, rest: str) -> Iterator[str]:
        """Components for a slot that have an option, the recipe's own first; those that do not load have none."""
        for entry in sorted(self.catalogue.items(slot.slot), key=lambda entry: entry not in self.usual):
            with suppress(ConfigError):
                start = spelling(prefix(slot, entry)).removeprefix(f"{slot.key}.")
                if any(start + spelling(option.key) == rest for option in read(entry)):
                    yield entry.name if entry.namespace == "zoo" else entry.id


def prefix(slot: Option, entry: Entry) -> str:
    return f"{slot.key}.{entry.name}." if slot.repeated else f"{slot.key}."


def value_of(option: Option, given: Given) -> Value:
    try:
        return convert(option, given.raw)
    except ValueError as reason:
        raise given.layer.error(f"{option.flag} {shown(given.raw)}: {reason}") from None


def _references(slot: Option, raw: Any, layer: Layer) -> list[str]:
    """The names in a slot's value, which may be one, several or "none"."""
    if slot.repeated and isinstance(raw, list | tuple):  # --penalty a --penalty b
        raw = ",".join(map(str, raw))
    if raw in ("none", None) and (slot.repeated or slot.optional):
        return []
    try:
        value = convert(slot, raw)
    except ValueError:
        raise layer.error(f"{slot.flag} {shown(raw)}: not the name of a {slot.slot}") from None
    return [str(one) for one in (value if isinstance(value, tuple) else (value,))]
