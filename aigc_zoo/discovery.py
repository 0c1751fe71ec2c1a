"""Plugin discovery: import, check and register every plugin in isolation, and record its status. No torch import."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import pluggy

from aigc_zoo.distributions import OURS, Refused, canonical, identity, import_entry_point, import_file, namespace_of
from aigc_zoo.errors import ConfigError, did_you_mean, in_a_line
from aigc_zoo.spec import API, GROUP, HOOKS, Component, Hooks

HEAVY = frozenset(
    ("torch", "torchvision", "torch_fidelity", "numpy", "scipy", "pandas", "matplotlib", "jax", "tensorflow")
)
"""Packages that a manifest has no reason to import, and that would make every command slow."""


@dataclass
class Record:
    """The status of one plugin: an entry point, or a file given by `--plugin`."""

    distribution: str
    version: str
    entry_point: str
    namespace: str
    status: str = "ok"  # ok | broken | incompatible | duplicate | disabled
    reason: str = ""
    ms: float = 0.0
    heavy: tuple[str, ...] = ()
    file: Path | None = None  # of a plugin given by `--plugin`
    module: ModuleType | None = field(default=None, repr=False, compare=False)  # the manifest, if the status is ok

    @property
    def label(self) -> str:
        """The plugin's name in messages: `plugin aigc-zoo-acme 0.2 (unets)`."""
        if self.file is not None:
            return f"plugin file {self.distribution}"
        name = f" ({self.entry_point})" if self.entry_point not in ("", self.namespace) else ""
        return f"plugin {self.distribution} {self.version}{name}"

    def __str__(self) -> str:
        return f"{self.label} is {self.status}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Entry:
    """A component, the distribution that it comes from, and the recipe that it extends, if any."""

    component: Component
    namespace: str
    distribution: str
    version: str
    base: Entry | None = None
    file: Path | None = None
    """The plugin file that the component comes from; its version is the beginning of the file's SHA-256."""

    @property
    def id(self) -> str:
        return f"{self.namespace}/{self.component.name}"

    @property
    def kind(self) -> str:
        return self.component.kind

    @property
    def name(self) -> str:
        return self.component.name

    @property
    def lineage(self) -> tuple[Entry, ...]:
        """The recipe that has a target, those that extend it in turn, and this component last."""
        return (*(self.base.lineage if self.base is not None else ()), self)

    @property
    def target(self) -> str:
        """The component's target, or that of the recipe that it extends."""
        return self.lineage[0].component.target

    def load(self) -> Callable[..., Any]:
        """Import the target. Any error becomes a ConfigError that names the distribution and what to install."""
        module, _, attribute = self.target.partition(":")
        try:
            with redirect_stdout(sys.stderr):
                target = getattr(importlib.import_module(module), attribute)
            if not callable(target):
                raise TypeError(f"{self.target} is not callable but of type {type(target).__name__}")
        except (Exception, SystemExit) as error:
            extra = f"{self.distribution}[{self.component.extra}]"
            fix = f'\nit needs an extra: python -m pip install "{extra}"'
            raise ConfigError(
                f"{self.kind} {self.id} of {self.distribution} {self.version} cannot be loaded: {in_a_line(error)}"
                + (fix if self.component.extra and self.namespace != "local" else "")
            ) from error
        return target  # type: ignore[no-any-return]


class Manager(pluggy.PluginManager):
    """A plugin manager that isolates plugins: one that fails is recorded as broken, and the command continues."""

    def __init__(self) -> None:
        super().__init__(GROUP)
        self.add_hookspecs(Hooks)
        self.records: list[Record] = []
        self.registered: dict[str, Record] = {}
        self.entries: dict[tuple[str, str], Entry] = {}

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """Consider only what the module itself defines: pluggy 1.6 would read, and so import, its lazy attributes."""
        if not name.startswith("zoo_") or name not in vars(plugin):
            return None
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None:
            if name in HOOKS:
                raise pluggy.PluginValidationError(plugin, f"{name} lacks its decorator, @hookimpl")
            return None
        hook = options.get("specname") or name
        if hook not in HOOKS:
            raise pluggy.PluginValidationError(plugin, f"unknown hook {hook!r}{did_you_mean(hook, HOOKS)}")
        if options.get("wrapper") or options.get("hookwrapper"):
            raise pluggy.PluginValidationError(plugin, f"{name} wraps other plugins, which are called one by one")
        return options

    def load_setuptools_entrypoints(self, group: str = GROUP, name: str | None = None) -> int:
        """Load the plugins of all distributions, first ours, then by name: the order never depends on `sys.path`."""
        before = len(self.registered)
        points = [(*identity(point.dist), point) for point in self._scan(group)]
        points.sort(key=lambda row: (row[0] != OURS, row[0], row[2].name))
        disabled = {part.strip() for part in os.environ.get("ZOO_DISABLE_PLUGINS", "").split(",") if part.strip()}
        disabled |= {canonical(part) for part in disabled}
        present = {distribution for distribution, _, _ in points if not disabled & {"*", distribution}}
        for distribution, version, point in points:
            if name not in (None, point.name):
                continue
            record = Record(distribution, version, point.name, namespace_of(distribution))
            if disabled & {"*", distribution, point.name}:
                record.status, record.reason = "disabled", "ZOO_DISABLE_PLUGINS names it"
                self.records.append(record)
            else:
                self._add(record, partial(import_entry_point, point, distribution, present))
        return len(self.registered) - before

    def load_file(self, path: Path) -> None:
        """Load a single file in the namespace `local`; its errors are raised as ConfigError, not only recorded."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"plugin file {path}: {error.strerror}\ncheck the path given to --plugin") from error
        import hashlib

        version = hashlib.sha256(content).hexdigest()[:12]
        record = Record(self._label_of(path), version, path.stem, "local", file=path)
        self._add(record, partial(import_file, path, content), raising=True)

    def _label_of(self, path: Path) -> str:
        """The name of a file, with as many of its folders as set it apart from other files of the same name."""
        taken = {record.distribution for record in self.records}
        labels = ("/".join(path.parts[-count:]) for count in range(1, len(path.parts)))
        return next((label for label in labels if label not in taken), str(path))

    def _scan(self, group: str) -> list[EntryPoint]:
        """All entry points of the group, from one pass over the installed distributions."""
        try:
            return list(importlib.metadata.entry_points(group=group))
        except Exception:  # one entry_points.txt cannot be read: read one distribution at a time
            points: list[EntryPoint] = []
            for distribution in importlib.metadata.distributions():
                try:
                    points += distribution.entry_points.select(group=group)
                except Exception as error:
                    if f"[{group}]" in (distribution.read_text("entry_points.txt") or ""):
                        name, version = identity(distribution)
                        reason = f"its entry_points.txt cannot be read: {in_a_line(error)}"
                        self._fail(Record(name, version, "", namespace_of(name)), Refused("broken", reason))
            return points

    def _add(self, record: Record, load: Callable[[], object], raising: bool = False) -> None:
        """Import, check and register one plugin and collect its components; any failure is kept in its record."""
        loaded, start = HEAVY & sys.modules.keys(), perf_counter()
        key = f"{record.distribution}:{record.entry_point}"
        while key in self.registered:  # pluggy silently drops a plugin whose name is taken
            key += "+"
        try:
            with redirect_stdout(sys.stderr):
                module = self._checked(load())
                self.register(module, name=key)
                self.entries |= self._components(module, record)
            self.registered[key], record.module = record, module
            self.records.append(record)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, and what a test runner's skip() raises, are failures too
            if self.has_plugin(key):  # pluggy 1.6 keeps a plugin that it found invalid
                self.unregister(name=key)
            self._fail(record, error, raising)
        finally:
            record.ms = (perf_counter() - start) * 1e3
            record.heavy = tuple(sorted((HEAVY & sys.modules.keys()) - loaded))

    def _fail(self, record: Record, error: BaseException, raising: bool = False) -> None:
        """Record a failure, and raise it as ConfigError if `raising` or if ZOO_STRICT=1 is set."""
        refused = isinstance(error, Refused)
        record.status, record.reason = error.args if refused else ("broken", in_a_line(error))
        self.records.append(record)
        if raising or os.environ.get("ZOO_STRICT") == "1":
            raise ConfigError(str(record)) from (error.__cause__ if refused else error)

    def _checked(self, module: object) -> ModuleType:
        """The module itself, if it is a new module that states the API version of this library."""
        if not isinstance(module, ModuleType):
            raise Refused("broken", f"the entry point names a {type(module).__name__}, not a module")
        if module in self.get_plugins():
            owner = self.registered[str(self.get_name(module))]
            raise Refused("duplicate", f"{module.__name__} is {owner.distribution}'s {owner.entry_point} already")
        api = vars(module).get("ZOO_API")  # not getattr: a module's __getattr__ must not run
        if api != API:
            states = "no ZOO_API" if api is None else f"ZOO_API = {api!r}"
            raise Refused("incompatible", f"{module.__name__} states {states}, this is API {API}")
        return module

    def _components(self, module: ModuleType, record: Record) -> dict[tuple[str, str], Entry]:
        """The components of one plugin; a single invalid one refuses the plugin as a whole."""
        found: dict[tuple[str, str], Entry] = {}
        try:
            hooks = [hook for hook in self.hook.zoo_components.get_hookimpls() if hook.plugin is module]
            for hook in hooks:
                items: Any = hook.function()
                for item in items or ():
                    if not isinstance(item, Component):
                        raise TypeError(f"{item!r:.60} is a {type(item).__name__}, not a Component")
                    entry = Entry(item, record.namespace, record.distribution, record.version, file=record.file)
                    if (entry.kind, entry.id) in found.keys() | self.entries.keys():
                        raise ValueError(f"{entry.kind} {entry.id} is declared twice")
                    found[entry.kind, entry.id] = entry
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise Refused("broken", f"zoo_components: {in_a_line(error)}") from error
        return found
