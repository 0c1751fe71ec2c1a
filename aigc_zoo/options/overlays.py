"""Overlays of option values: the values of one origin, and those of a preset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError, UsageError, ZooError

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue

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
        return (UsageError if self.origin in ("cli", "python") else ConfigError)(message + self.where)

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
