"""The subjects of checks: installed plugins and their components. Imports no torch."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType

from aigc_zoo.discovery import Entry, Record
from aigc_zoo.distributions import canonical
from aigc_zoo.errors import ConfigError, did_you_mean
from aigc_zoo.plugins import Catalogue
from aigc_zoo.spec import API
from aigc_zoo.testing.checks import PLUGIN
from aigc_zoo.text import zoo_command

DECLARED = "ZOO_EXPECTED_FAILURES"
"""The name of a manifest's declaration of failing checks: {"R-RESUME": "stateful sampler, acme#12"}."""


@dataclass(frozen=True)
class PluginSubject:
    """A distribution, or a single file, with all its entry points and components."""

    catalogue: Catalogue
    name: str
    records: tuple[Record, ...]
    entries: tuple[Entry, ...]

    kind = PLUGIN

    @property
    def label(self) -> str:
        return self.name

    @property
    def owner(self) -> str:
        return self.name

    @property
    def local(self) -> bool:
        """True for a single file, which has no package metadata."""
        return self.name.endswith(".py")

    @cached_property
    def modules(self) -> tuple[ModuleType, ...]:
        """The manifests that could be imported."""
        return tuple(record.module for record in self.records if record.module is not None)

    @property
    def api(self) -> int:
        """The API number that the manifests state; the current one if none could be imported."""
        return min((getattr(module, "ZOO_API", API) for module in self.modules), default=API)

    @cached_property
    def distribution(self) -> importlib.metadata.Distribution:
        """The package metadata."""
        return importlib.metadata.distribution(self.name)

    @property
    def declared(self) -> Mapping[str, str]:
        """The expected failures that the manifests declare."""
        declared: dict[str, str] = {}
        for module in self.modules:
            declared |= vars(module).get(DECLARED, {})
        return declared


@dataclass(frozen=True)
class ComponentSubject:
    """One component. `cache` keeps what several checks need, such as a built recipe."""

    catalogue: Catalogue
    entry: Entry
    api: int = API
    cache: dict[str, object] = field(default_factory=dict, repr=False, compare=False)

    @property
    def kind(self) -> str:
        return self.entry.kind

    @property
    def label(self) -> str:
        return f"{self.kind} {self.entry.id}"

    @property
    def owner(self) -> str:
        """The distribution or file that provides the component."""
        return self.entry.distribution

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The sample shapes that the manifest states."""
        return self.entry.component.shapes

    @property
    def reference(self) -> str:
        """The reference that checks use: with its preset `test` or `test-...`, if any, to keep it small."""
        presets = [name for name in self.entry.component.presets if name == "test" or name.startswith("test-")]
        return f"{self.entry.id}.{min(presets)}" if presets else self.entry.id

    def fresh(self) -> ComponentSubject:
        """The same subject with an empty cache."""
        return ComponentSubject(self.catalogue, self.entry, self.api)


Subject = PluginSubject | ComponentSubject


def plugins_of(catalogue: Catalogue) -> dict[str, PluginSubject]:
    """All plugins that are installed and not disabled, by the name of their distribution or file."""
    plugins: dict[str, PluginSubject] = {}
    for name in dict.fromkeys(record.distribution for record in catalogue.records if record.status != "disabled"):
        records = tuple(record for record in catalogue.records if record.distribution == name)
        entries = tuple(entry for entry in catalogue.items() if entry.distribution == name)
        plugins[name] = PluginSubject(catalogue, name, records, entries)
    return plugins


def subjects_of(catalogue: Catalogue, reference: str | None) -> list[Subject]:
    """The subjects that a reference names.

    A distribution or a file means the plugin and all its components, a component's id means all kinds of component
    with this id, None means everything. Raises ConfigError for an unknown name.
    """
    plugins = plugins_of(catalogue)
    if reference is None:
        return [subject for plugin in plugins.values() for subject in _with_components(plugin)]
    name = reference if reference in plugins else canonical(reference)
    if name in plugins:
        return list(_with_components(plugins[name]))
    if any(entry.name == reference.rpartition("/")[2] for entry in catalogue.items()):
        id = catalogue.find_any(reference).entry.id
        entries = [entry for entry in catalogue.items() if entry.id == id]
        return [ComponentSubject(catalogue, entry, plugins[entry.distribution].api) for entry in entries]
    known = [*plugins, *(entry.id for entry in catalogue.items()), *(entry.name for entry in catalogue.items())]
    raise ConfigError(
        f"{reference!r} is neither an installed distribution nor a component{did_you_mean(reference, known)}\n"
        f"`{zoo_command('plugins')}` lists distributions, `{zoo_command('list', '--kind', 'all')}` lists components; "
        "a path such as ./my-plugin is accepted as well"
    )


def _with_components(plugin: PluginSubject) -> Iterator[Subject]:
    yield plugin
    yield from (ComponentSubject(plugin.catalogue, entry, plugin.api) for entry in plugin.entries)


def import_path() -> str:
    """The import path of this process, as PYTHONPATH for a process that is to find the same plugins."""
    return os.pathsep.join(path for path in sys.path if path and Path(path).exists())
