"""A recipe's slots and options while overlays are added: signature < defaults < preset < configuration file < flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError, DataError, MissingPlugin
from aigc_zoo.options import references
from aigc_zoo.options.files_of import options_of_files
from aigc_zoo.options.overlays import UNRECORDED, Given, Overlay, preset_overlays
from aigc_zoo.options.references import PREFIX
from aigc_zoo.options.settings import RESERVED, RUN_SETTINGS
from aigc_zoo.options.signatures import read
from aigc_zoo.options.values import Option, Value, convert, flag_of, shown, spelling, suggestion

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue

DATA = Option("data", str, None, slot="dataset")
"""The setting --data, as a slot that holds a dataset."""

METRICS = "metrics"
"""The run setting that names metrics, comma-separated."""

BY_RECIPE = ("data", "batch_size", "steps", "images")
"""Run settings that a recipe states. `steps` and `images` are both the length of the run and exclude each other."""


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
        self.dataset: Entry | None = None
        self.at_path = False
        self.missing: MissingPlugin | None = None  # of the dataset, whose options are then unknown
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
        if "data" in written:
            self.choose_dataset(written["data"][1], layer)
        for name, (key, raw) in written.items():
            key = self._full(key)
            full = spelling(key)
            self.given[full] = Given(key, raw, layer, layer.origin_of(name), self.given.get(full))

    def _full(self, key: str) -> str:
        """The key with the name of the component: penalty.weight is penalty.NAME.weight where the slot holds one."""
        head, _, rest = key.partition(".")
        slot = self.parameters.get(spelling(head))
        entries = self.chosen.get(slot.key, ()) if slot is not None and slot.slot and slot.repeated else ()
        return f"{prefix(slot, entries[0])}{rest}" if slot and len(entries) == 1 and rest and "." not in rest else key

    def _choose(self, slot: Option, raw: Any, layer: Overlay) -> None:
        found = [self.catalogue.find(slot.slot, name, layer.namespace) for name in _references(slot, raw, layer)]
        for one in found:
            if slot.like and slot.like not in one.entry.component.tags:
                fitting = ", ".join(entry.name for entry in self._fitting(slot))
                raise layer.error(f"{slot.flag} {one.entry.name}: is no {slot.like}; choose from {fitting or 'none'}")
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

    def choose_dataset(self, reference: Any, layer: Overlay) -> None:
        """Take the dataset that a reference of --data means. Another one drops the options of the former dataset.

        A reference that means nothing is an error when it is used: a generator needs no data.
        """
        found, self.missing = references.Reference(""), None
        try:
            if isinstance(reference, str | PathLike):
                found = references.find_data(self.catalogue, str(reference), layer.namespace)
        except DataError:
            pass
        except MissingPlugin as error:
            self.missing = error
        entry = found.entry
        for name in [name for name in self.given if name.startswith(PREFIX)]:
            if entry is not self.dataset or self.given[name].layer.slot:
                del self.given[name]
        self.dataset, self.at_path = entry, found.path is not None and entry is None
        for preset in preset_overlays(self.catalogue, entry, found.preset) if entry and found.preset else ():
            self.lay(replace(preset, values={PREFIX + key: value for key, value in preset.values.items()}, slot="data"))

    def options(self) -> list[Option]:
        """The recipe's options; each slot is followed by the options of the components that it holds, then the
        dataset's.
        """
        found = []
        for option in self.parameters.values():
            found.append(option)
            for entry in self.chosen.get(option.key, ()):
                alone = option.repeated and len(self.chosen[option.key]) == 1
                found += [
                    replace(own, key=prefix(option, entry) + own.key, short=f"{option.key}.{own.key}" if alone else "")
                    for own in read(entry)
                ]
        if self.dataset is not None:
            found += [replace(own, key=PREFIX + own.key) for own in read(self.dataset)]
        elif self.at_path:
            modality = self.given["modality"].raw if "modality" in self.given else None
            found += [replace(own, key=PREFIX + own.key) for own in options_of_files(self.catalogue, modality)]
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
        """The values with full ids and absolute paths for data, extractor and metrics, each resolved where it was
        stated.
        """
        full = dict(values)
        for key in references.KINDS:
            if key in self.given and isinstance(value := values[key], str):
                found = references.find(self.catalogue, key, value, self.given[key].layer.namespace)
                full[key] = found.full
                self.notes += [found.note] if found.note else []
        if METRICS in self.given and isinstance(value := values[METRICS], str):
            full[METRICS] = references.find_metrics(self.catalogue, value, self.given[METRICS].layer.namespace)
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
        if option.key == METRICS and isinstance(value, str):
            return references.find_metrics(self.catalogue, value, given.layer.namespace)
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
        """The message for an unknown key, with a suggestion. Raises MissingPlugin for that of a missing dataset."""
        head, _, rest = spelling(key).partition(".")
        slot, known, held = self.parameters.get(head), [option.key for option in self.options()], ""
        if slot is not None and slot.slot and rest:
            start, end = f"{head}.", f".{rest}"
            if of_held := [one for one in known if spelling(one).startswith(start) and spelling(one).endswith(end)]:
                return f"no option {flag_of(key)}; did you mean {' or '.join(map(flag_of, of_held[:2]))}?"
            held = f" with {slot.flag} {' '.join(entry.name for entry in self.chosen[slot.key]) or 'none'}"
            if brought := _brought(self._having(slot, rest)):
                return f"no option {flag_of(key)}{held}{brought}"
        close = suggestion(key, [*RUN_SETTINGS, *also, *known])
        if head == "data" and rest and self.missing is not None:
            raise self.missing
        if head == "data" and rest and not close:
            return f"no option {flag_of(key)} with {self._data()}{_brought(self._having(DATA, rest))}"
        return f"no option {flag_of(key)}{close or held}"

    def _data(self) -> str:
        return f"--data {self.dataset.name}" if self.dataset is not None else "data at a path"

    def _fitting(self, slot: Option) -> list[Entry]:
        """The components that fit a slot."""
        return [one for one in self.catalogue.items(slot.slot) if not slot.like or slot.like in one.component.tags]

    def _having(self, slot: Option, rest: str) -> Iterator[str]:
        """Flag and name of components that have a given option, the recipe's defaults first, without broken ones."""
        for entry in sorted(self._fitting(slot), key=lambda entry: entry not in self.usual):
            with suppress(ConfigError):
                start = spelling(prefix(slot, entry)).removeprefix(f"{slot.key}.")
                if any(rest in (start + spelling(option.key), spelling(option.key)) for option in read(entry)):
                    yield f"{slot.flag} {entry.name if entry.namespace == 'zoo' else entry.id}"


def _brought(others: Iterator[str]) -> str:
    shown = list(others)[:3]
    return f": {' or '.join(shown)} brings it" if shown else ""


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
