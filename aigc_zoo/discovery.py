"""Taking plugins one by one: import, check, register, ask, and keep what went wrong. Imports no component."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any, NoReturn

import pluggy

from aigc_zoo import __version__
from aigc_zoo.errors import ConfigError
from aigc_zoo.spec import API, GROUP, HOOKS, Component, Hooks

OURS = "aigc-zoo"
RESERVED = ("zoo", "local")
HEAVY = frozenset(
    ("torch", "torchvision", "torch_fidelity", "numpy", "scipy", "pandas", "matplotlib", "jax", "tensorflow")
)
"""Packages that a manifest has no reason to import, and that would make every command slow."""


@dataclass
class Record:
    """One entry point, or one file given by hand: what became of it."""

    distribution: str
    version: str
    entry_point: str
    namespace: str
    status: str = "ok"  # ok | broken | incompatible | duplicate | disabled
    reason: str = ""
    ms: float = 0.0
    heavy: tuple[str, ...] = ()
    module: ModuleType | None = field(default=None, repr=False, compare=False)  # the manifest, of one that is ok

    @property
    def who(self) -> str:
        """How messages call it: `plugin aigc-zoo-acme 0.2 (unets)`."""
        if self.distribution.endswith(".py"):
            return f"plugin file {self.distribution}"
        name = f" ({self.entry_point})" if self.entry_point not in ("", self.namespace) else ""
        return f"plugin {self.distribution} {self.version}{name}"

    def __str__(self) -> str:
        return f"{self.who} is {self.status}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Entry:
    """A component, the distribution that it comes from, and the recipe that it extends, if any."""

    component: Component
    namespace: str
    distribution: str
    version: str
    base: Entry | None = None

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
        """Import the target. Whatever it raises becomes a ConfigError that says whose it is and what to install."""
        module, _, attribute = self.target.partition(":")
        try:
            with redirect_stdout(sys.stderr):
                target = getattr(importlib.import_module(module), attribute)
            if not callable(target):
                raise TypeError(f"{self.target} is a {type(target).__name__}, nothing that can be called")
        except (Exception, SystemExit) as error:
            extra = self.component.extra if self.namespace != "local" else ""
            raise ConfigError(
                f"{self.kind} {self.id} of {self.distribution} {self.version} cannot be loaded: {in_a_line(error)}"
                + (f'\nit needs more: python -m pip install "{self.distribution}[{extra}]"' if extra else "")
            ) from error
        return target  # type: ignore[no-any-return]


class _Refused(Exception):
    """A plugin is not taken: (status, reason)."""


class Manager(pluggy.PluginManager):
    """pluggy, with every plugin by itself: whatever one does costs that plugin, never the command."""

    def __init__(self) -> None:
        super().__init__(GROUP)
        self.add_hookspecs(Hooks)
        self.records: list[Record] = []
        self.registered: dict[str, Record] = {}
        self.entries: dict[tuple[str, str], Entry] = {}

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """Only hooks that stand in the module: pluggy 1.6 would read, and so import, all its lazy attributes."""
        if not name.startswith("zoo_") or name not in vars(plugin):
            return None
        opts = super().parse_hookimpl_opts(plugin, name)
        if opts is None:
            if name in HOOKS:
                raise pluggy.PluginValidationError(plugin, f"{name} lacks its decorator, @hookimpl")
            return None
        hook = opts.get("specname") or name
        if hook not in HOOKS:
            raise pluggy.PluginValidationError(plugin, f"unknown hook {hook!r}{did_you_mean(hook, HOOKS)}")
        if opts.get("wrapper") or opts.get("hookwrapper"):
            raise pluggy.PluginValidationError(plugin, f"{name} wraps other plugins, which are called one by one")
        return opts

    def load_setuptools_entrypoints(self, group: str = GROUP, name: str | None = None) -> int:
        """Take the plugins of all distributions, ours first, then by name: the order never depends on `sys.path`."""
        before = len(self.registered)
        points = [(*_identity(point.dist), point) for point in self._scan(group)]
        points.sort(key=lambda found: (found[0] != OURS, found[0], found[2].name))
        off = {part.strip() for part in os.environ.get("ZOO_DISABLE_PLUGINS", "").split(",") if part.strip()}
        off |= {canonical(part) for part in off}
        present = {distribution for distribution, _, _ in points if not off & {"*", distribution}}
        for distribution, version, point in points:
            if name not in (None, point.name):
                continue
            record = Record(distribution, version, point.name, namespace_of(distribution))
            if off & {"*", distribution, point.name}:
                record.status, record.reason = "disabled", "ZOO_DISABLE_PLUGINS names it"
                self.records.append(record)
            else:
                self._add(record, partial(_import, record, point, present))
        return len(self.registered) - before

    def load_file(self, path: Path) -> None:
        """Take a single file, in the namespace `local`; what is wrong with it is raised, not recorded."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"plugin file {path}: {error.strerror}") from error
        import hashlib

        version = hashlib.sha256(content).hexdigest()[:12]
        self._add(Record(path.name, version, path.stem, "local"), lambda: _import_file(path), raising=True)

    def _scan(self, group: str) -> list[EntryPoint]:
        """All entry points of the group, from one pass over the installed distributions."""
        try:
            return list(importlib.metadata.entry_points(group=group))
        except Exception:  # someone's entry_points.txt cannot be read: then one distribution after the other
            points: list[EntryPoint] = []
            for distribution in importlib.metadata.distributions():
                try:
                    points += distribution.entry_points.select(group=group)
                except Exception as error:
                    if f"[{group}]" in (distribution.read_text("entry_points.txt") or ""):
                        name, version = _identity(distribution)
                        reason = f"its entry_points.txt cannot be read: {in_a_line(error)}"
                        self._fail(Record(name, version, "", namespace_of(name)), _Refused("broken", reason))
            return points

    def _add(self, record: Record, load: Callable[[], object], raising: bool = False) -> None:
        """Import, check, register and ask one plugin; a failure of any kind is kept in its record."""
        loaded, start = HEAVY & sys.modules.keys(), perf_counter()
        key = f"{record.distribution}:{record.entry_point}"
        while key in self.registered:  # what has a name that is taken, pluggy would drop without a word
            key += "+"
        try:
            with redirect_stdout(sys.stderr):
                module = self._checked(load())
                self.register(module, name=key)
                self.entries |= self._ask(module, record)
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
        refused = isinstance(error, _Refused)
        record.status, record.reason = error.args if refused else ("broken", in_a_line(error))
        self.records.append(record)
        if raising or os.environ.get("ZOO_STRICT") == "1":
            raise ConfigError(str(record)) from (error.__cause__ if refused else error)

    def _checked(self, module: object) -> ModuleType:
        if not isinstance(module, ModuleType):
            raise _Refused("broken", f"the entry point names a {type(module).__name__}, not a module")
        if module in self.get_plugins():
            owner = self.registered[str(self.get_name(module))]
            raise _Refused("duplicate", f"{module.__name__} is {owner.distribution}'s {owner.entry_point} already")
        api = vars(module).get("ZOO_API")  # not getattr: a module's __getattr__ must not run
        if api != API:
            states = "no ZOO_API" if api is None else f"ZOO_API = {api!r}"
            raise _Refused("incompatible", f"{module.__name__} states {states}, this is API {API}")
        return module

    def _ask(self, module: ModuleType, record: Record) -> dict[tuple[str, str], Entry]:
        """The components of one plugin; one that is not right, and none is taken."""
        found: dict[tuple[str, str], Entry] = {}
        try:
            hooks = [hook for hook in self.hook.zoo_components.get_hookimpls() if hook.plugin is module]
            for hook in hooks:
                items: Any = hook.function()
                for item in items or ():
                    if not isinstance(item, Component):
                        raise TypeError(f"{item!r:.60} is a {type(item).__name__}, not a Component")
                    entry = Entry(item, record.namespace, record.distribution, record.version)
                    if (entry.kind, entry.id) in found.keys() | self.entries.keys():
                        raise ValueError(f"{entry.kind} {entry.id} is there twice")
                    found[entry.kind, entry.id] = entry
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise _Refused("broken", f"zoo_components: {in_a_line(error)}") from error
        return found


# --- names and words -------------------------------------------------------------------------------------------------


def canonical(distribution: str) -> str:
    """A distribution's name as package indices compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def namespace_of(distribution: str) -> str:
    """The namespace of a canonical distribution name: `aigc-zoo-acme` and `acme` have `acme`, ours has `zoo`."""
    return "zoo" if distribution == OURS else distribution.removeprefix(f"{OURS}-")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x' or 'y'?`, or nothing where nothing is close."""
    from difflib import get_close_matches

    close = [repr(match) for match in get_close_matches(word.lower(), list(dict.fromkeys(known)))]
    return f"; did you mean {' or '.join(filter(None, (', '.join(close[:-1]), close[-1])))}?" if close else ""


def in_a_line(error: BaseException) -> str:
    """An error's type and whole message; the first line of a PluginValidationError alone would say nothing."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}" if text else type(error).__name__


# --- what is done before and while a plugin is imported ---------------------------------------------------------------


def _identity(distribution: Distribution | None) -> tuple[str, str]:
    """Canonical name and version, both "?" where METADATA is missing or cannot be read."""
    try:
        data = distribution.metadata  # type: ignore[union-attr]
        return canonical(data["Name"]), data["Version"] or "?"
    except Exception:
        return "?", "?"


def _import(record: Record, point: EntryPoint, present: set[str]) -> object:
    """Import an entry point's module, unless its distribution alone already tells that it cannot work here."""
    if record.distribution == "?":
        raise _Refused("broken", "its METADATA cannot be read or states no name")
    if record.distribution != OURS:
        if record.namespace in RESERVED:
            raise _Refused("incompatible", f"the namespace {record.namespace}/ is reserved")
        if record.distribution == record.namespace and f"{OURS}-{record.namespace}" in present:
            raise _Refused("duplicate", f"{OURS}-{record.namespace} has the namespace {record.namespace}/ already")
        for text in _requirements(point.dist):
            raise _Refused("incompatible", f"requires {text}, but {OURS} {__version__} is installed")
    return point.load()


def _requirements(distribution: Distribution | None) -> Iterator[str]:
    """The requirements on aigc-zoo that this version does not meet; `packaging` is imported (12 ms) for these only."""
    lines = (distribution.requires if distribution is not None else None) or []
    ours = [line for line in lines if canonical(re.split(r"[^\w.-]", line.strip())[0]) == OURS]
    if ours:
        from packaging.requirements import Requirement

        for requirement in map(Requirement, ours):
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and not requirement.specifier.contains(__version__, prereleases=True):
                yield f"{OURS}{requirement.specifier}"


def _import_file(path: Path) -> ModuleType:
    """Execute a file as a module that targets such as f"{__name__}:make" can name."""
    from importlib.util import module_from_spec, spec_from_file_location

    name = "zoo_local_" + re.sub(r"\W", "_", path.stem)
    while name in sys.modules and sys.modules[name].__file__ != str(path):
        name += "_"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise _Refused("broken", "it is not a Python file")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        _blame(path, error)
    return module


def _blame(path: Path, error: BaseException) -> NoReturn:
    """Raise what went wrong in a file with the line where it did."""
    line, frame = 0, error.__traceback__
    while frame is not None:
        line = frame.tb_lineno if frame.tb_frame.f_code.co_filename == str(path) else line
        frame = frame.tb_next
    raise _Refused("broken", (f"line {line}: " if line else "") + in_a_line(error)) from error
