"""What a card records of its components: the full ids that short names stood for, and the packages of these ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aigc_zoo.distributions import namespace_of

Packages = Mapping[str, Mapping[str, Any]]
"""Distribution or plugin file -> {"version", "api"}, and "file" for the path of a plugin file."""


@dataclass(frozen=True)
class Recorded:
    """A component of a card: its kind ("" in a slot, whose kind a card does not state), and the ids that it can have.

    A card of an earlier version may state a short name, which can be an id in `zoo/` or in the recipe's own namespace.
    """

    kind: str
    ids: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.ids[0].rpartition("/")[2]


@dataclass(frozen=True)
class Provenance:
    """The components and packages of a card, and the data of its run as the settings state them.

    `readers` are the packages of the dataset that reads the data, which can be at a path.
    """

    components: tuple[Recorded, ...] = ()
    packages: Mapping[str, Packages] = field(default_factory=dict)  # by namespace
    data: str = ""
    readers: Packages = field(default_factory=dict)

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Provenance:
        """That of the card of a run or a generator, or of a configuration file, which may be of any form."""
        data, run = _mapping(card.get("data")), _mapping(card.get("run"))
        packages: dict[str, dict[str, Mapping[str, Any]]] = {}
        for section in (card.get("plugins"), data.get("plugins"), card.get("extractor_plugins")):
            for name, about in _mapping(section).items():
                space = "local" if name.endswith(".py") else namespace_of(name)
                packages.setdefault(space, {})[name] = _mapping(about)
        readers = {name: _mapping(about) for name, about in _mapping(data.get("plugins")).items()}
        return cls(tuple(_components(card, data)), packages, str(run.get("data") or ""), readers)

    def named(self, kind: str, name: str) -> Iterator[Recorded]:
        """The components of a short name that are, or may be, of this kind."""
        return (one for one in self.components if one.kind in (kind, "") and one.name == name)


def _components(card: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[Recorded]:
    recipe = card.get("recipe")
    space = recipe.rpartition("/")[0] if isinstance(recipe, str) else ""
    slots = _mapping(card.get("slots")).values()
    references = [("recipe", recipe), ("dataset", data.get("reference")), ("extractor", card.get("extractor"))]
    metrics = _mapping(card.get("run")).get("metrics")
    references += [("metric", one) for one in (metrics.split(",") if isinstance(metrics, str) else ()) if "/" in one]
    references += [("", one) for chosen in slots for one in (chosen if isinstance(chosen, list | tuple) else (chosen,))]
    for kind, reference in references:
        if not isinstance(reference, str) or reference.startswith((".", "~", "/")):
            continue  # nothing, or data at a path
        home, _, rest = reference.rpartition("/")
        name = rest.partition(".")[0]  # without a preset
        spaces = (
            (home,) if home else dict.fromkeys(("zoo", space)) if kind in ("dataset", "extractor") and space else ()
        )
        if name and spaces:
            yield Recorded(kind, tuple(f"{one}/{name}" for one in spaces))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
