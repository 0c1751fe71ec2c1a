"""The catalogue of installed components, the resolution of their names, and the listeners of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from copy import copy
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from aigc_zoo.discovery import Entry, Manager, Record
from aigc_zoo.distributions import OURS, RESERVED
from aigc_zoo.errors import ConfigError, MissingPlugin, did_you_mean, in_a_line, printable
from aigc_zoo.provenance import Packages, Provenance
from aigc_zoo.spec import API, HOOKS, KINDS
from aigc_zoo.text import natural_key, quoted, zoo_command

__all__ = ["Catalogue", "Entry", "Found", "Record", "catalogue", "describe_problems", "needs", "packages_of"]


LISTED = "shows what is installed"
"""The end of a line that advises a command."""


@dataclass(frozen=True)
class Found:
    """The component and preset of a reference; `note` lists components of the same name in other namespaces."""

    entry: Entry
    preset: str = ""
    note: str = ""


class Catalogue:
    """All installed components by kind and name, and the plugins that listen to runs."""

    def __init__(self, manager: Manager) -> None:
        self.records = list(manager.records)
        self.provenance = Provenance()
        self._entries = dict(sorted(manager.entries.items(), key=lambda item: _order(item[1])))
        self._resolve_extends()
        self._listeners = {
            hook: [(manager.registered[impl.plugin_name], impl) for impl in getattr(manager.hook, hook).get_hookimpls()]
            for hook in HOOKS
            if hook != "zoo_components"
        }

    def with_entries(self, kind: type[Entry]) -> Catalogue:
        """The same catalogue with another class of entries; `StaticEntry` reads signatures without importing torch."""
        other = copy(self)
        other._entries = {
            key: kind(entry.component, entry.namespace, entry.distribution, entry.version, entry.base, entry.file)
            for key, entry in self._entries.items()
        }
        return other

    def remembering(self, card: Mapping[str, Any]) -> Catalogue:
        """The same catalogue for what was done with a card: short names mean what they meant when it was written.

        A component of the card that is not installed is an error that names its package.
        """
        other = copy(self)
        other.provenance = Provenance.of(card)
        return other

    def _resolve_extends(self) -> None:
        """Connect each recipe that extends another with it; one whose base is missing is recorded as broken."""
        for key, entry in list(self._entries.items()):
            if not entry.component.extends:
                continue
            try:
                self._entries[key] = replace(entry, base=self._base_of(entry, (entry.id,)))
            except ConfigError as error:
                del self._entries[key]
                lines = (line for line in str(error).splitlines() if not line.endswith(LISTED))
                why = "; ".join(lines)
                reason = f"recipe {entry.id} extends {entry.component.extends!r}: {why}"
                record = Record(entry.distribution, entry.version, entry.name, entry.namespace, "broken", reason)
                self.records.append(record)
                if os.environ.get("ZOO_STRICT") == "1":
                    raise ConfigError(str(record)) from error

    def _base_of(self, entry: Entry, chain: tuple[str, ...]) -> Entry:
        """The recipe that a recipe extends, connected with its own base."""
        base = self.find(entry.kind, entry.component.extends, entry.namespace).entry
        if base.id in chain:
            raise ConfigError(f"it extends itself: {' -> '.join((*chain, base.id))}")
        return replace(base, base=self._base_of(base, (*chain, base.id))) if base.component.extends else base

    @property
    def problems(self) -> list[dict[str, Any]]:
        """Plugins that could not be loaded, with status and reason, as JSON values."""
        keys = ("distribution", "version", "entry_point", "status", "reason")
        bad = (record for record in self.records if record.status not in ("ok", "disabled"))
        return [{key: getattr(record, key) for key in keys} for record in bad]

    def items(self, kind: str | None = None, pattern: str = "*") -> list[Entry]:
        """Components in natural order, those of `zoo/` first; the shell pattern matches the name or the id."""
        return [
            entry
            for entry in self._entries.values()
            if kind in (None, entry.kind) and (fnmatchcase(entry.name, pattern) or fnmatchcase(entry.id, pattern))
        ]

    def find(self, kind: str, reference: str, namespace: str | None = None) -> Found:
        """Resolve `[namespace/]name[.preset]` to a component.

        To a user (`namespace` None) a short name means ours, else the only one there is. In a recipe of `namespace` it
        means that namespace's, then ours, so that no installation changes a recipe. Anything else is a ConfigError.
        What a user named when a run started keeps its meaning when the run is resumed (`remembering`).
        """
        space, name, preset = _split(kind, reference)
        note = ""
        if not space and namespace is None:
            space = self._recorded_space(kind, name)
        if space or namespace is not None:
            spaces = (space,) if space else (namespace, "zoo")
            ids = [(kind, f"{space}/{name}") for space in spaces]
            entry = next((self._entries[key] for key in ids if key in self._entries), None)
        else:
            named = [entry for entry in self.items(kind) if entry.name == name]
            if len(named) > 1 and named[0].namespace != "zoo":
                full = ", ".join(entry.id for entry in named)
                raise ConfigError(f"{kind} {name!r} is ambiguous: {full}\nwrite one of these in full")
            entry = named[0] if named else None
            others = ", ".join(other.id for other in named[1:])
            note = f"note: {others} also exist{'s' if len(named) == 2 else ''}" if others else ""
        if entry is None:
            raise self._unknown(kind, reference, space or namespace or "", name)
        if preset is not None and preset not in entry.component.presets:
            have = list(entry.component.presets)
            meant = did_you_mean(preset, have)
            listed = ", ".join(f"{name}.{one}" for one in have) if have else "none"
            raise ConfigError(f"{kind} {entry.id} has no preset {preset!r}{meant}\nits presets: {listed}")
        return Found(entry, preset or "", note)

    def has(self, kind: str, reference: str, namespace: str | None = None) -> bool:
        """Whether the reference starts with the name of a component; it may still be wrong or ambiguous.

        A component counts that is recorded (see `remembering`), even if it is not installed.
        """
        space, _, rest = reference.rpartition("/")
        name = rest.partition(".")[0]
        spaces = (space,) if space else (namespace, "zoo") if namespace is not None else ()
        if any(entry.name == name and (not spaces or entry.namespace in spaces) for entry in self.items(kind)):
            return True
        recorded = self.provenance.named(kind, name) if not spaces or space else ()
        return any(one.kind and (not space or one.ids == (f"{space}/{name}",)) for one in recorded)

    def _recorded_space(self, kind: str, name: str) -> str:
        """The namespace that a short name had when the run started; "" where that is not recorded."""
        for one in self.provenance.named(kind, name):
            installed = [id for id in one.ids if (kind, id) in self._entries]
            if installed:
                return installed[0].rpartition("/")[0]
            if one.kind and len(one.ids) == 1:
                raise self._unknown(kind, one.ids[0], one.ids[0].rpartition("/")[0], name)
        return ""

    def missing(self, packages: Packages) -> list[str]:
        """How to get those of a card's packages that are not installed; a plugin file may have another name now."""
        loaded = [record for record in self.records if record.status == "ok"]
        names = {record.distribution for record in loaded}
        digests = {record.version for record in loaded if record.file is not None}
        return [
            needs(name, str(about.get("version", "")), str(about.get("file", "")))
            for name, about in packages.items()
            if name not in names and not (name.endswith(".py") and about.get("version") in digests)
        ]

    def _missing_package(self, kind: str, space: str, name: str) -> str:
        """How to install the package of an unknown component that the card states; "" where it states none."""
        recorded = {id.rpartition("/")[0]: one for one in self.provenance.named(kind, name) for id in one.ids}
        for home in (space,) if space else recorded:
            packages = self.provenance.packages.get(home, {})
            if missing := self.missing(packages):
                return f"{kind} {home}/{name} {'; '.join(missing)}"
            if packages and home in recorded and len(recorded[home].ids) == 1:
                return f"{kind} {home}/{name} is not in the installed version: {_former(packages)}"
        return ""

    def find_any(self, reference: str) -> Found:
        """Resolve a user's reference to a component of any kind, recipes first."""
        space, name, _ = _split("component", reference)
        kinds = [entry.kind for entry in self.items() if entry.name == name and space in ("", entry.namespace)]
        if not kinds:
            raise self._unknown("component", reference, space, name)
        return self.find(kinds[0], reference)

    def listen(self, hook: str, **arguments: Any) -> None:
        """Call a hook of every listener. A listener that fails is reported on stderr once and disabled."""
        for record, impl in tuple(self._listeners[hook]):
            try:
                with redirect_stdout(sys.stderr):
                    impl.function(*(arguments[name] for name in impl.argnames))
            except (Exception, SystemExit) as error:
                for listeners in self._listeners.values():
                    listeners[:] = [one for one in listeners if one[0] is not record]
                sys.stderr.write(printable(f"zoo: {record.label} is switched off: {hook}: {in_a_line(error)}") + "\n")

    def _unknown(self, kind: str, reference: str, space: str, name: str) -> ConfigError:
        """The error for an unknown component, with a suggestion or the broken plugin that may provide it."""
        every = kind == "component"
        known = self.items(None if every else kind)
        close = did_you_mean(reference, [entry.id if "/" in reference else entry.name for entry in known])
        kinds = [entry.kind for entry in self.items() if entry.name == name and entry.kind != kind]
        suspects = [r for r in self.records if r.status != "ok" and {space, name} & {r.namespace, r.entry_point}]
        if not suspects and (missing := self._missing_package(kind, space, name)):
            return MissingPlugin(missing)
        lines = [f"unknown {kind} {reference!r}{close}"]
        if suspects:
            suspect = min(suspects, key=lambda record: record.entry_point != name)
            lines.append(f"it may belong to {suspect.label}, which is {suspect.status}: {suspect.reason}")
        elif space and space not in {*RESERVED, *(record.namespace for record in self.records)}:
            lines.append(f"no package of the namespace {space}/ is installed: it is called {OURS}-{space} or {space}")
        elif kinds:
            lines.append(f"of that name there is a {' and a '.join(dict.fromkeys(kinds))}")
        listed = zoo_command("list", "--kind", "all" if every else kind)
        return ConfigError("\n".join([*lines, f"{listed} {LISTED}"]))


def catalogue(files: Sequence[Path] = ()) -> Catalogue:
    """The catalogue, discovered once per process; `files` are single-file plugins (`--plugin FILE.py`)."""
    return _discover(tuple(dict.fromkeys(Path(file).absolute() for file in files)))


@cache
def _discover(files: tuple[Path, ...]) -> Catalogue:
    manager = Manager()
    manager.load_setuptools_entrypoints()
    for file in files:
        manager.load_file(file)
    return Catalogue(manager)


def _former(packages: Packages) -> str:
    """How to return to the versions that a card states; a plugin file has to be restored."""
    files = [str(about.get("file") or name) for name, about in packages.items() if name.endswith(".py")]
    versions = [f"{name}=={about.get('version')}" for name, about in packages.items() if not name.endswith(".py")]
    restore = [f"restore {' or '.join(files)} as it was"] if files else []
    return "; ".join([*restore, *([f"python -m pip install {' '.join(versions)}"] if versions else [])])


def describe_problems(catalogue: Catalogue) -> list[str]:
    """A line for each plugin that could not be loaded."""
    return [f"zoo: {record}" for record in catalogue.records if record.status not in ("ok", "disabled")]


def packages_of(entries: Iterable[Entry]) -> dict[str, dict[str, Any]]:
    """The distributions and plugin files of components, as cards store them."""
    found: dict[str, dict[str, Any]] = {}
    for entry in sorted(entries, key=lambda entry: entry.distribution):
        file = {"file": str(entry.file)} if entry.file is not None else {}
        found[entry.distribution] = {"version": entry.version, "api": API, **file}
    return found


def needs(distribution: str, version: str, file: str = "") -> str:
    """How to install a missing plugin: `needs aigc-zoo-acme>=0.2: python -m pip install aigc-zoo-acme`."""
    if distribution.endswith(".py"):
        if file:
            return f"needs the plugin file {file}: give it with --plugin {quoted(file)}"
        return f"needs the plugin file {distribution}: give its path with --plugin"
    return f"needs {distribution}{f'>={version}' if version else ''}: python -m pip install {distribution}"


# --- names ------------------------------------------------------------------------------------------------------------


def _split(kind: str, reference: str) -> tuple[str, str, str | None]:
    """(namespace or "", name, preset or None) of a reference."""
    space, _, rest = reference.rpartition("/")
    name, dot, preset = rest.partition(".")
    if (
        not reference.isprintable()
        or ":" in reference
        or "/" in space
        or not name
        or reference.startswith((".", "~", "/"))
        or preset == "py"
    ):
        raise ConfigError(
            f"{reference!r} is not the name of a {kind}, which reads [namespace/]name[.preset]\n"
            "a plugin of a single file is given with --plugin FILE.py"
        )
    return space, name, preset if dot else None


def _order(entry: Entry) -> tuple[Any, ...]:
    return KINDS.index(entry.kind), entry.namespace != "zoo", natural_key(entry.id)
