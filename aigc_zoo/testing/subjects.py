"""What is checked: plugins and their components, as they were discovered. Imports no torch."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType

from aigc_zoo.discovery import Entry, Record
from aigc_zoo.distributions import canonical
from aigc_zoo.errors import ConfigError, did_you_mean
from aigc_zoo.plugins import Catalogue
from aigc_zoo.spec import API
from aigc_zoo.testing.checks import PLUGIN, TIERS, Check, Tier, all_checks

DECLARED = "ZOO_EXPECTED_FAILURES"
"""A manifest's own list of checks that it fails, with reasons: {"R-RESUME": "stateful sampler, acme#12"}."""


@dataclass(frozen=True)
class Plugin:
    """A distribution, or a file: all its entry points and components."""

    catalogue: Catalogue
    name: str
    records: tuple[Record, ...]
    entries: tuple[Entry, ...]

    @property
    def label(self) -> str:
        return self.name

    @property
    def local(self) -> bool:
        """Whether it is a file given by hand, which has no metadata."""
        return self.name.endswith(".py")

    @cached_property
    def modules(self) -> tuple[ModuleType, ...]:
        """The manifests that could be imported."""
        return tuple(record.module for record in self.records if record.module is not None)

    @property
    def api(self) -> int:
        """The API number that it states; the current one where nothing could be imported."""
        return min((getattr(module, "ZOO_API", API) for module in self.modules), default=API)

    @cached_property
    def distribution(self) -> importlib.metadata.Distribution:
        """What pip knows of it."""
        return importlib.metadata.distribution(self.name)

    @property
    def declared(self) -> Mapping[str, str]:
        """The failures that its manifests declare."""
        found: dict[str, str] = {}
        for module in self.modules:
            found |= vars(module).get(DECLARED, {})
        return found


@dataclass(frozen=True)
class Part:
    """One component under test."""

    catalogue: Catalogue
    entry: Entry
    api: int = API
    cache: dict[str, object] = field(default_factory=dict, repr=False, compare=False)

    @property
    def label(self) -> str:
        return f"{self.entry.kind} {self.entry.id}"

    @property
    def reference(self) -> str:
        """How it is tried: as its preset `test` (or `test-...`) where it has one, which keeps a large one small."""
        tests = [name for name in self.entry.component.presets if name == "test" or name.startswith("test-")]
        return f"{self.entry.id}.{min(tests)}" if tests else self.entry.id


@dataclass(frozen=True)
class Case:
    """One check of one subject. Called, it raises what the check raises: this is a test of pytest's."""

    check: Check
    subject: Plugin | Part
    expected: str | None = None

    @property
    def name(self) -> str:
        """`G-RANGE generator acme/unet`, as it is reported and declared."""
        return f"{self.check.id} {self.subject.label}"

    def unavailable(self) -> str:
        """Why it cannot be run on this machine, or nothing."""
        if self.check.needs != "gpu":
            return ""
        import torch

        return "" if torch.cuda.is_available() else "torch sees no CUDA device here"

    def __call__(self) -> None:
        """Judges the case for pytest: fails, is skipped, or is an expected failure."""
        import pytest

        from aigc_zoo.testing.checks import judge

        result = judge(self)
        if result.bad:
            pytest.fail(f"{self.name}: {result.reason}", pytrace=False)
        if result.status == "skipped":
            pytest.skip(result.reason)
        if result.status == "expected":
            pytest.xfail(result.reason)
        if result.status == "warned":
            import warnings

            warnings.warn(f"{self.name}: {result.reason}", FutureWarning, stacklevel=1)


def plugins_of(catalogue: Catalogue) -> dict[str, Plugin]:
    """All that are installed and not disabled, by the name of their distribution or file."""
    found: dict[str, Plugin] = {}
    for name in dict.fromkeys(record.distribution for record in catalogue.records if record.status != "disabled"):
        records = tuple(record for record in catalogue.records if record.distribution == name)
        entries = tuple(entry for entry in catalogue.items() if entry.distribution == name)
        found[name] = Plugin(catalogue, name, records, entries)
    return found


def subjects_of(catalogue: Catalogue, reference: str | None) -> list[Plugin | Part]:
    """What a reference means: a distribution or a file with all its components, a component's id, or everything."""
    plugins = plugins_of(catalogue)
    if reference is None:
        return [subject for plugin in plugins.values() for subject in _whole(plugin)]
    name = reference if reference in plugins else canonical(reference)
    if name in plugins:
        return list(_whole(plugins[name]))
    if any(entry.name == reference.rpartition("/")[2] for entry in catalogue.items()):
        entry = catalogue.find_any(reference).entry
        named = [one for one in catalogue.items() if one.id == entry.id]
        return [Part(catalogue, one, plugins[one.distribution].api) for one in named]
    known = [*plugins, *(entry.id for entry in catalogue.items()), *(entry.name for entry in catalogue.items())]
    raise ConfigError(
        f"{reference!r} is no distribution and no component that is installed{did_you_mean(reference, known)}\n"
        "zoo plugins lists the former, zoo list --kind all the latter; a path is checked as well"
    )


def _whole(plugin: Plugin) -> Iterator[Plugin | Part]:
    yield plugin
    yield from (Part(plugin.catalogue, entry, plugin.api) for entry in plugin.entries)


def cases_of(
    catalogue: Catalogue,
    reference: str | None,
    *,
    tiers: Sequence[Tier] = TIERS,
    expected: Mapping[str, str] | None = None,
) -> list[Case]:
    """Every check that concerns these subjects. `expected` declares failures beside those of the manifests.

    A key is a check's id, or the id and the subject: "R-RESUME" or "R-RESUME recipe acme/unet". Raises ConfigError for
    one that meets no check.
    """
    checks = all_checks(tuple(tiers))
    plugins = plugins_of(catalogue)
    used: set[str] = set()
    found = []
    given = dict(expected or {})
    for subject in subjects_of(catalogue, reference):
        owner = subject.name if isinstance(subject, Plugin) else subject.entry.distribution
        declared = {**plugins[owner].declared, **given}
        for check in checks:
            if (PLUGIN if isinstance(subject, Plugin) else subject.entry.kind) not in check.kinds:
                continue
            if isinstance(subject, Plugin) and subject.local and check.id in NOT_OF_FILES:
                continue
            keys = [key for key in (f"{check.id} {subject.label}", check.id) if key in declared]
            used |= set(keys)
            found.append(Case(check, subject, declared[keys[0]] if keys else None))
    if unknown := given.keys() - used:
        raise ConfigError(f"expected failure {min(unknown)!r} is no check of {reference or 'any plugin'}")
    return found


NOT_OF_FILES = ("S-HEAVY", "S-LICENCE", "S-REQUIRES", "S-TIME", "S-WHEEL")
"""Checks that a single file is spared: it has no metadata, and its networks stand beside its manifest."""


def import_path() -> str:
    """This process's import path, for a process that is to find the same plugins."""
    import os

    return os.pathsep.join(path for path in sys.path if path and Path(path).exists())
