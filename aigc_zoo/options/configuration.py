"""The configuration of a recipe: resolved from defaults, presets, a file and flags, validated, and built."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError, UsageError
from aigc_zoo.options import references
from aigc_zoo.options.binding import arguments, bound, call, frozen_extractor
from aigc_zoo.options.draft import BY_RECIPE, Draft, prefix
from aigc_zoo.options.file import layer_of
from aigc_zoo.options.overlays import Overlay
from aigc_zoo.options.references import PREFIX
from aigc_zoo.options.settings import RUN_SETTINGS, RunSettings
from aigc_zoo.options.signatures import read
from aigc_zoo.options.values import Option, Value, flag_of
from aigc_zoo.plugins import Catalogue, Found, packages_of
from aigc_zoo.text import zoo_command

if TYPE_CHECKING:
    from aigc_zoo.game import Recipe

Ids = str | tuple[str, ...] | None


@dataclass(frozen=True)
class Configuration:
    """The resolved configuration of a recipe. Keys of `slots` and `options` are those of the recipe's signature.

    recipe   full id, with the preset
    run      settings of the run, None where the run decides
    data_options  options of the dataset
    set_by   preset, file, cli or python, for each value that is not at its default
    plugins  version and API number of every distribution that takes part
    built    the recipe, where resolving had to build it to learn its defaults
    files    the paths among settings and options, by key of the card ("run.init", "options.NAME", "run.data.NAME")
    """

    recipe: str
    preset: str
    slots: Mapping[str, Ids]
    options: Mapping[str, Value]
    run: RunSettings
    set_by: Mapping[str, str] = field(default_factory=dict)
    plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    data_options: Mapping[str, Value] = field(default_factory=dict)
    built: Recipe | None = field(default=None, compare=False, repr=False)
    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict, compare=False)

    def card(self) -> dict[str, Any]:
        """The configuration as JSON; `resolve(file=card)` returns an equal configuration."""

        def listed(values: Mapping[str, Any]) -> dict[str, Any]:
            return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

        return {
            "schema": 1,
            "recipe": self.recipe,
            "slots": listed(self.slots),
            "options": listed(self.options),
            "run": self.run.card() | listed({PREFIX + key: value for key, value in self.data_options.items()}),
            "set_by": dict(self.set_by),
            "plugins": {name: dict(about) for name, about in self.plugins.items()},
        }


def resolve(
    catalogue: Catalogue,
    reference: str | None,
    *,
    data: str | os.PathLike[str] | None = None,
    file: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
    origin: str = "cli",
) -> Configuration:
    """Signature < defaults < preset < `file` (a card) < `given` (flags or keywords: settings, slots and options, flat).

    A layer that chooses another component for a slot drops what lower layers set of the former one. `reference` may be
    None where the file names its recipe. The recipe is built only if its component's `defaults` leave out dataset,
    batch size or length. Raises UsageError for a fault in flags or keywords (`origin` cli or python), or ConfigError.
    """
    given = dict(given or {}) | ({} if data is None else {"data": os.fspath(data)})
    draft, preset = _draft(catalogue, reference, file, given.get("data"))
    draft.lay(Overlay(given, origin))
    if "data" not in draft.given and any(key.startswith(PREFIX) for key in draft.given):
        _take_own_dataset(draft)
    values = draft.referenced(draft.values())
    chosen = _configured(draft, values, preset)
    run = chosen.run.card()
    defaults: dict[str, Any] = {}
    if draft.needs_recipe():
        recipe = build(draft.catalogue, chosen)
        space = draft.entry.lineage[0].namespace  # of the code that states the dataset
        if "data" not in draft.given and draft.dataset is None:  # its options belong to the configuration, too
            draft.choose_dataset(recipe.dataset, Overlay({}, namespace=space))
            values = draft.referenced(draft.values())
            chosen = _configured(draft, values, preset)
        chosen = replace(chosen, built=recipe)
        defaults = {"data": references.find(draft.catalogue, "data", recipe.dataset, space).full}
        defaults |= {"batch_size": recipe.batch_size, "steps": recipe.steps, "images": recipe.images}
        has_length = run["steps"] is not None or run["images"] is not None
        missing = [key for key in BY_RECIPE if run[key] is None and not (has_length and key in ("steps", "images"))]
        run |= {key: defaults[key] for key in missing}
    if run["steps"] is None and run["images"] is None:
        raise ConfigError(f"recipe {draft.entry.id} states no length: give --steps or --images")
    return replace(chosen, run=RunSettings.from_values(run), set_by=draft.set_by(values, defaults))


def build(catalogue: Catalogue, configuration: Configuration) -> Recipe:
    """Call the recipe's target with slots whose options are bound. Errors of its code become a ConfigError."""
    from aigc_zoo.game import Recipe

    if configuration.built is not None:
        return configuration.built
    entry = catalogue.find("recipe", configuration.recipe).entry
    plain: dict[str, Value] = {}
    parts: dict[str, Any] = {}
    for option in read(entry):
        if not option.slot:
            plain[option.key] = configuration.options[option.key]
            continue
        ids = configuration.slots[option.key]
        made = []
        for one in (ids,) if isinstance(ids, str) else ids or ():
            component = catalogue.find(option.slot, one).entry
            start = prefix(option, component)
            own = {key[len(start) :]: value for key, value in configuration.options.items() if key.startswith(start)}
            if option.slot == "extractor":
                made.append(frozen_extractor(component, own, flag_of(f"{start}weights")))
            else:
                made.append(bound(component, own))
        parts[option.key] = tuple(made) if option.repeated else made[0] if made else None
    recipe = call(entry, **arguments(entry, plain), **parts)
    if not isinstance(recipe, Recipe):
        raise ConfigError(f"recipe {entry.id} returned a {type(recipe).__name__}, not a Recipe")
    return recipe


def held(catalogue: Catalogue, configuration: Configuration, kind: str) -> list[tuple[Option, Entry]]:
    """The slots of a recipe that take components of a kind, each with a component that it holds."""
    found = []
    for option in read(catalogue.find("recipe", configuration.recipe).entry):
        ids = configuration.slots[option.key] if option.slot == kind else ()
        found += [(option, catalogue.find(kind, one).entry) for one in ((ids,) if isinstance(ids, str) else ids or ())]
    return found


def options_of(
    catalogue: Catalogue,
    reference: str | None,
    slots_given: Mapping[str, Any] | None = None,
    *,
    data: str | None = None,
    file: Mapping[str, Any] | None = None,
    automatic: bool = False,
) -> list[Option]:
    """All options of a recipe with the given components in its slots, in the order of its signature.

    Their defaults are those of the recipe, of the preset in the reference, and of the file; `automatic` adds the preset
    that is named like the data. `Option.source` names the component or preset that states a default.
    """
    draft, _ = _draft(catalogue, reference, file, data, automatic)
    draft.lay(Overlay({**(slots_given or {}), "data": data}, "cli"))
    if automatic and "data" not in draft.given:
        with suppress(ConfigError):  # a recipe that cannot be built still has options
            _take_own_dataset(draft)
    defaults = {**draft.values(), **_slots(draft, lambda entry: entry.name if entry.namespace == "zoo" else entry.id)}
    return [replace(option, default=defaults[option.key], source=draft.source_of(option)) for option in draft.options()]


def settings_of(catalogue: Catalogue, reference: str) -> list[Option]:
    """The run settings that a recipe, or its preset in the reference, states, with their values as defaults."""
    draft, _ = _draft(catalogue, reference, None, None, automatic=False)
    values = draft.values()
    options = [replace(RUN_SETTINGS[key], default=values[key]) for key in RUN_SETTINGS if key in draft.given]
    return [replace(option, source=draft.source_of(option)) for option in options]


def unknown_option(
    catalogue: Catalogue,
    reference: str | None,
    key: str,
    slots_given: Mapping[str, Any] | None = None,
    *,
    data: str | None = None,
    file: Mapping[str, Any] | None = None,
    also: tuple[str, ...] = (),
) -> str:
    """The message for an unknown key; `also` lists names that the caller accepts beside settings and options."""
    draft, _ = _draft(catalogue, reference, file, data)
    draft.lay(Overlay({**(slots_given or {}), "data": data}, "cli"))
    return draft.unknown(key, also)


def _slots(draft: Draft, name: Callable[[Entry], str]) -> dict[str, Ids]:
    slots: dict[str, Ids] = {}
    for key, entries in draft.chosen.items():
        names = tuple(name(entry) for entry in entries)
        slots[key] = names if draft.parameters[key].repeated else names[0] if names else None
    return slots


def _configured(draft: Draft, values: Mapping[str, Value], preset: str) -> Configuration:
    keys = [option.key for option in draft.options() if not option.slot]
    return Configuration(
        recipe=f"{draft.entry.id}.{preset}" if preset else draft.entry.id,
        preset=preset,
        slots=_slots(draft, lambda entry: entry.id),
        options={key: values[key] for key in keys if not key.startswith(PREFIX)},
        run=RunSettings.from_values(values),
        plugins=packages_of(draft.components()),
        notes=tuple(dict.fromkeys(draft.notes)),
        data_options={key.removeprefix(PREFIX): values[key] for key in keys if key.startswith(PREFIX)},
        files=dict(_files(draft, values)),
    )


def _files(draft: Draft, values: Mapping[str, Value]) -> Iterator[tuple[str, tuple[Path, ...]]]:
    for section, options in (("run", RUN_SETTINGS.values()), ("options", draft.options())):
        for option in options:
            value = values.get(option.key) if option.type is Path and not option.slot else None
            if value is not None:
                paths = value if isinstance(value, tuple) else (value,)
                place = "run" if option.key.startswith(PREFIX) else section
                yield f"{place}.{option.key}", tuple(Path(str(path)) for path in paths)


def _draft(
    catalogue: Catalogue,
    reference: str | None,
    file: Mapping[str, Any] | None,
    data: str | None,
    automatic: bool = True,
) -> tuple[Draft, str]:
    """A recipe with all overlays except the user's own values, and the name of its preset."""
    layer = layer_of(file) if file else Overlay({})
    if file and not catalogue.provenance.components:
        catalogue = catalogue.remembering({key: value for key, value in file.items() if key != "run"})
    found, settled = _recipe(catalogue, reference, (file or {}).get("recipe"))
    draft = Draft(catalogue, found.entry)
    draft.notes += [found.note] if found.note else []
    preset = found.preset
    if automatic and not settled:
        preset = _preset_for(draft, data or layer.values.get("data"))
    if preset:
        draft.lay_preset(preset)
    draft.lay(layer)
    return draft, preset


def _recipe(catalogue: Catalogue, reference: str | None, filed: str | None) -> tuple[Found, bool]:
    """The recipe of a reference or a file, and whether its preset is fixed by either."""
    of_file = catalogue.find("recipe", filed) if filed else None
    if reference is None:
        if of_file is None:
            raise UsageError(f"which recipe? {zoo_command('list')} shows those that are installed")
        return of_file, True
    found = catalogue.find("recipe", reference)
    if of_file is None or found.preset:
        settled = bool(found.preset)
    else:
        found, settled = replace(found, preset=of_file.preset), True
    if of_file is not None and of_file.entry.id != found.entry.id:
        raise ConfigError(f"the configuration file is for {of_file.entry.id}, not for {found.entry.id}")
    return found, settled


def _preset_for(draft: Draft, data: str | None) -> str:
    """The preset with the name of the dataset, by default the recipe's own dataset; a note announces it."""
    presets = draft.entry.component.presets
    if not presets:
        return ""
    # The data of a run that is resumed can have another name now, which must not change its recipe.
    data = draft.catalogue.provenance.data or data or (draft.given["data"].raw if "data" in draft.given else None)
    if data is None:
        data = _own_dataset(draft)
    name = Path(str(data)).name.partition(".")[0]
    if name not in presets:
        return ""
    draft.notes.append(f"preset {draft.entry.name}.{name} applies (data {name})")
    return name


def _own_dataset(draft: Draft) -> str:
    """The dataset that a recipe states in its code, which is built without the options of the dataset."""
    stated = draft.given
    draft.given = {key: given for key, given in stated.items() if not key.startswith(PREFIX)}
    recipe = build(draft.catalogue, _configured(draft, draft.values(), ""))
    draft.given = stated
    return recipe.dataset


def _take_own_dataset(draft: Draft) -> None:
    draft.choose_dataset(_own_dataset(draft), Overlay({}, namespace=draft.entry.lineage[0].namespace))
