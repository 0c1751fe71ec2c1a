"""Overlays of option values: signature < defaults < preset < configuration file < flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError, UsageError, ZooError
from aigc_zoo.options import references
from aigc_zoo.options.settings import RESERVED, RUN_SETTINGS
from aigc_zoo.options.signatures import read
from aigc_zoo.options.values import Option, Value, convert, flag_of, shown, spelling, suggestion

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue


BY_RECIPE = ("data", "batch_size", "steps", "images")
"""Run settings that a recipe states. `steps` and `images` are both the length of the run and exclude each other."""

UNRECORDED = "?"
"""Origin of a card's value that the card does not list in `set_by`: it was at its default when the card was written."""


@dataclass(frozen=True)
class Overlay:
    """Values of one origin, by flat key ("lr", "generator.width").

    origin     "" for defaults, else preset, file, cli or python
    where      appended to error messages, " (preset dcgan.mnist)"
    namespace  in which references to components resolve first; None for what a user wrote
    recorded   a card's own account of the origins, by spelling of the key
    slot       the slot whose component these values are a preset of
    source     id of the component or preset that states the values, for display
    """

    values: Mapping[str, Any]
    origin: str = ""
    where: str = ""
    namespace: str | None = None
    recorded: Mapping[str, str] | None = None
    slot: str = ""
    source: str = ""

    def error(self, message: str) -> ZooError:
        return (UsageError if self.origin == "cli" else ConfigError)(message + self.where)

    def origin_of(self, key: str) -> str:
        """The origin of a key; a card records the origins of its values."""
        if self.recorded is None:
            return self.origin
        origin = self.recorded.get(key, UNRECORDED)
        return origin if origin in ("preset", "cli", "python", UNRECORDED) else self.origin


@dataclass(frozen=True)
class Given:
    """One value as it was written, its overlay, and the value of a lower overlay that it replaces."""

    key: str
    raw: Any
    layer: Overlay
    origin: str
    beneath: Given | None = None


def preset_overlays(catalogue: Catalogue, entry: Entry, preset: str) -> Iterator[Overlay]:
    """The overlays of one preset: the preset that it builds on, if any, then its own values.

    Raises ConfigError where that other preset does not exist or builds on a third.
    """
    where = f" (preset {entry.name}.{preset})"
    values = dict(entry.component.presets[preset])
    reference = values.pop("preset", None)
    if reference is not None:
        base, name = entry, str(reference)
        if "." in name:
            found = catalogue.find(entry.kind, name, entry.namespace)
            base, name = found.entry, found.preset
        if name not in base.component.presets:
            raise ConfigError(f"preset {reference!r} does not exist in {entry.kind} {base.id}{where}")
        below = base.component.presets[name]
        if "preset" in below:
            raise ConfigError(f"preset {base.name}.{name} builds on another preset: state that one instead{where}")
        yield Overlay(below, "preset", where, base.namespace, source=f"preset {base.name}.{name}")
    yield Overlay(values, "preset", where, entry.namespace, source=f"preset {entry.name}.{preset}")


class Draft:
    """A recipe's slots and option values while overlays are added."""

    def __init__(self, catalogue: Catalogue, entry: Entry) -> None:
        self.catalogue, self.entry = catalogue, entry
        self.parameters = {option.key: option for option in read(entry)}
        if taken := [key for key in self.parameters if key in RUN_SETTINGS or key in (*RESERVED, "preset")]:
            raise ConfigError(
                f"recipe {entry.id} of {entry.distribution}: parameter {taken[0]}: "
                "the command line has an option of this name, so a recipe cannot"
            )
        self.chosen: dict[str, tuple[Entry, ...]] = {}
        self.chosen_by: dict[str, Overlay] = {}
        self.given: dict[str, Given] = {}
        self.notes: list[str] = []
        slots = {option.key: option.default for option in self.parameters.values() if option.slot}
        self.lay(Overlay(slots, namespace=entry.lineage[0].namespace))
        for ancestor in entry.lineage:
            where = f" (defaults of recipe {ancestor.id})"
            self.lay(Overlay(ancestor.component.defaults, "", where, ancestor.namespace, source=ancestor.id))
        self.usual = set(self.components())

    def lay_preset(self, preset: str) -> None:
        for layer in preset_overlays(self.catalogue, self.entry, preset):
            self.lay(layer)

    def lay(self, layer: Overlay) -> None:
        """Add one overlay; slots first, because a new choice drops the options of the former component."""
        written = {spelling(key): (key, value) for key, value in layer.values.items()}
        for key in BY_RECIPE:  # None leaves these to the layers below: a card states both lengths, one of them as null
            if written.get(key, ("", 0))[1] in (None, "none"):
                del written[key]
        lengths = [key for key in ("steps", "images") if key in written]
        if len(lengths) == 2:
            raise layer.error("--steps and --images exclude one another: give one of them")
        if lengths:
            self.given.pop("images" if lengths[0] == "steps" else "steps", None)
        for name, option in self.parameters.items():
            if option.slot and name in written:
                self._choose(option, written.pop(name)[1], layer)
        for name, (key, raw) in written.items():
            self.given[name] = Given(key, raw, layer, layer.origin_of(name), self.given.get(name))

    def _choose(self, slot: Option, raw: Any, layer: Overlay) -> None:
        found = [self.catalogue.find(slot.slot, name, layer.namespace) for name in _references(slot, raw, layer)]
        entries = tuple(one.entry for one in found)
        names = [entry.name for entry in entries]
        if twice := [name for name in names if names.count(name) > 1]:
            raise layer.error(f"{slot.flag} {twice[0]} is given twice: their options would have the same names")
        before = self.chosen.get(slot.key, ())
        kept = tuple(spelling(prefix(slot, entry)) for entry in entries if entry in before)
        dropped = [
            name
            for name, given in self.given.items()
            if name.startswith(f"{slot.key}.") and (given.layer.slot or not name.startswith(kept))
        ]
        for name in dropped:
            del self.given[name]
        unrecorded = layer.origin_of(slot.key) == UNRECORDED
        self.chosen[slot.key] = entries
        if not (unrecorded and entries == before and slot.key in self.chosen_by):
            self.chosen_by[slot.key] = replace(layer, recorded=None if unrecorded else layer.recorded)
        for one in found:
            self.notes += [one.note] if one.note else []
            for preset in preset_overlays(self.catalogue, one.entry, one.preset) if one.preset else ():
                values = {prefix(slot, one.entry) + key: value for key, value in preset.values.items()}
                self.lay(replace(preset, values=values, slot=slot.key))

    def options(self) -> list[Option]:
        """The recipe's options; each slot is followed by the options of the components that it holds."""
        found = []
        for option in self.parameters.values():
            found.append(option)
            for entry in self.chosen.get(option.key, ()):
                found += [replace(own, key=prefix(option, entry) + own.key) for own in read(entry)]
        return found

    def _named(self) -> dict[str, Option]:
        """Everything that takes a value, run settings included, by spelling."""
        options = [*RUN_SETTINGS.values(), *(option for option in self.options() if not option.slot)]
        return {spelling(option.key): option for option in options}

    def values(self) -> dict[str, Value]:
        """The value of every run setting and of every option that is no slot, by key."""
        named = self._named()
        values = {option.key: option.default for option in named.values()}
        for name, given in self.given.items():
            if name not in named:
                raise given.layer.error(self.unknown(given.key))
            values[named[name].key] = value_of(named[name], given)
        return values

    def referenced(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The values with full ids and absolute paths for data and extractor, each resolved where it was stated."""
        full = dict(values)
        for key in references.KINDS:
            if key in self.given and isinstance(value := values[key], str):
                found = references.find(self.catalogue, key, value, self.given[key].layer.namespace)
                full[key] = found.full
                self.notes += [found.note] if found.note else []
        return full

    def needs_recipe(self) -> bool:
        """Whether dataset, batch size or length can only be known from the built recipe."""
        given = [self.given.get(key) for key in BY_RECIPE]
        stated = given[0] and given[1] and (given[2] or given[3])
        return not stated or any(one and one.origin == UNRECORDED and one.beneath is None for one in given)

    def set_by(self, values: Mapping[str, Value], defaults: Mapping[str, Any]) -> dict[str, str]:
        """The origin of every value that is not at its default.

        `defaults` holds what the built recipe states of settings that no layer states.
        """
        origins = {key: layer.origin_of(key) for key, layer in self.chosen_by.items()}
        for name, option in self._named().items():
            given, key = self.given.get(name), option.key
            origin = given.origin if given else ""
            if given and origin == UNRECORDED:
                value = values[option.key]
                below = self._beneath(option, given.beneath) if given.beneath else defaults.get(key, option.default)
                untouched = value == below or (value is None and option.key in RUN_SETTINGS)
                origin = (given.beneath.origin if given.beneath else "") if untouched else given.layer.origin
            origins[option.key] = origin
        return {key: origin for key, origin in origins.items() if origin}

    def _beneath(self, option: Option, given: Given) -> Value:
        """The value of a lower overlay, with references as `referenced` writes them."""
        value = value_of(option, given)
        if option.key in references.KINDS and isinstance(value, str):
            return references.find(self.catalogue, option.key, value, given.layer.namespace).full
        return value

    def source_of(self, option: Option) -> str:
        """The component or preset that states an option's value; "" for the signature of its target."""
        if option.slot:
            return self.chosen_by[option.key].source
        given = self.given.get(spelling(option.key))
        return given.layer.source if given is not None else option.source

    def components(self) -> list[Entry]:
        """The recipe, those that it extends, and the components in its slots."""
        return [*self.entry.lineage, *(entry for entries in self.chosen.values() for entry in entries)]

    def unknown(self, key: str, also: tuple[str, ...] = ()) -> str:
        """The message for an unknown key, with a suggestion."""
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
        """Components for a slot that have a given option, the recipe's defaults first; broken ones are skipped."""
        for entry in sorted(self.catalogue.items(slot.slot), key=lambda entry: entry not in self.usual):
            with suppress(ConfigError):
                start = spelling(prefix(slot, entry)).removeprefix(f"{slot.key}.")
                if any(start + spelling(option.key) == rest for option in read(entry)):
                    yield entry.name if entry.namespace == "zoo" else entry.id


def prefix(slot: Option, entry: Entry) -> str:
    """The prefix of the options of a slot's component: "generator.", or "penalty.NAME." if the slot holds several."""
    return f"{slot.key}.{entry.name}." if slot.repeated else f"{slot.key}."


def value_of(option: Option, given: Given) -> Value:
    """The validated value of an option."""
    try:
        return convert(option, given.raw)
    except ValueError as reason:
        raise given.layer.error(f"{option.flag} {shown(given.raw)}: {reason}") from None


def _references(slot: Option, raw: Any, layer: Overlay) -> list[str]:
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
