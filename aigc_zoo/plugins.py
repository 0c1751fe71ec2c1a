"""The catalogue of installed components, the resolution of their names, and the listeners of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from copy import copy
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from aigc_zoo.discovery import Entry, Manager, Record
from aigc_zoo.errors import ConfigError, did_you_mean, in_a_line, printable
from aigc_zoo.spec import HOOKS, KINDS
from aigc_zoo.text import natural_key, zoo_command

__all__ = ["Catalogue", "Entry", "Found", "Record", "catalogue", "describe_problems", "needs"]


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
            key: kind(entry.component, entry.namespace, entry.distribution, entry.version, entry.base)
            for key, entry in self._entries.items()
        }
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
                reason = f"recipe {entry.id} extends {entry.component.extends!r}: {str(error).splitlines()[0]}"
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
        """
        space, name, preset = _split(kind, reference)
        note = ""
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
        lines = [f"unknown {kind} {reference!r}{close}"]
        if suspects:
            suspect = min(suspects, key=lambda record: record.entry_point != name)
            lines.append(f"it may belong to {suspect.label}, which is {suspect.status}: {suspect.reason}")
        elif kinds:
            lines.append(f"of that name there is a {' and a '.join(dict.fromkeys(kinds))}")
        listed = zoo_command("list", "--kind", "all" if every else kind)
        return ConfigError("\n".join([*lines, f"{listed} shows what is installed"]))


def catalogue(files: Sequence[Path] = ()) -> Catalogue:
    """The catalogue, discovered once per process; `files` are single-file plugins (`--plugin FILE.py`)."""
    return _discover(tuple(Path(file).absolute() for file in files))


@cache
def _discover(files: tuple[Path, ...]) -> Catalogue:
    manager = Manager()
    manager.load_setuptools_entrypoints()
    for file in files:
        manager.load_file(file)
    return Catalogue(manager)


def describe_problems(catalogue: Catalogue) -> list[str]:
    """A line for each plugin that could not be loaded."""
    return [f"zoo: {record}" for record in catalogue.records if record.status not in ("ok", "disabled")]


def needs(distribution: str, version: str) -> str:
    """How to install a missing plugin: `needs aigc-zoo-acme>=0.2: python -m pip install aigc-zoo-acme`."""
    if distribution.endswith(".py"):
        return f"needs the plugin file {distribution}: give its path with --plugin"
    return f"needs {distribution}{f'>={version}' if version else ''}: python -m pip install {distribution}"


# --- names ------------------------------------------------------------------------------------------------------------


def _split(kind: str, reference: str) -> tuple[str, str, str | None]:
    """(namespace or "", name, preset or None) of a reference."""
    space, _, rest = reference.rpartition("/")
    name, dot, preset = rest.partition(".")
    if ":" in reference or "/" in space or not name or reference.startswith((".", "~", "/")) or preset == "py":
        raise ConfigError(
            f"{reference!r} is not the name of a {kind}, which reads [namespace/]name[.preset]\n"
            "a plugin of a single file is given with --plugin FILE.py"
        )
    return space, name, preset if dot else None


def _order(entry: Entry) -> tuple[Any, ...]:
    return KINDS.index(entry.kind), entry.namespace != "zoo", natural_key(entry.id)
