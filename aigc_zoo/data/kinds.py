"""The modalities that data are read as, and the options that they are read with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Spec
from aigc_zoo.modality import Modality
from aigc_zoo.options.signatures import signature_options
from aigc_zoo.options.values import Option, checked


@dataclass(frozen=True)
class Kinds:
    """Modalities by id, the preferred ones first, options of the data by name, and the spec of samples that those read
    are compared with.

    Several modalities may have files of one suffix: a folder of .gif files holds images unless the user or the recipe
    asks for clips.
    """

    of: Mapping[str, Modality]
    options: Mapping[str, Any] = field(default_factory=dict)
    like: Spec | None = None

    @property
    def suffixes(self) -> tuple[str, ...]:
        """All suffixes that any of the modalities reads."""
        return tuple(dict.fromkeys(suffix for one in self.of.values() for suffix in one.suffixes))

    def choose(self, suffixes: Collection[str]) -> str:
        """The first modality that reads files of one of these suffixes, else the first one."""
        found = (name for name, one in self.of.items() if set(one.suffixes) & set(suffixes))
        return next(found, next(iter(self.of)))

    def options_of(self, modality: str) -> dict[str, Any]:
        """The options as arguments of the modality's `plan`. Raises ConfigError for one that it does not have."""
        if not self.options:
            return {}
        known = self._known(modality)
        for key in self.options.keys() - {option.key for option in known}:
            having = [name for name in self.of if key in {option.key for option in self._known(name)}]
            fix = f"use --modality {' or --modality '.join(having)}" if having else "leave the option out"
            raise ConfigError(f"{self.of[modality].units} have no option {key}: {fix}")
        return {key: value for key, value in checked(known, self.options).items() if key in self.options}

    def plan(self, modality: str, scans: Sequence[Any]) -> Spec:
        """The spec that files with these scans are read with. Raises ValueError for those that do not fit together."""
        own = self.of[modality]
        spec = replace(own.plan(scans, **self.options_of(modality)), modality=modality)
        return own.alike(spec, self.like) if self.like is not None and self.like.modality == modality else spec

    def _known(self, modality: str) -> Sequence[Option]:
        return signature_options(self.of[modality].plan, ("scans",))
