"""The plugin API: what a distribution says of the components that it brings. Standard library and pluggy only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pluggy

API = 1
"""The API number that a plugin states as `ZOO_API = 1`. Within a number, hooks and fields are only added."""

GROUP = "aigc_zoo"
"""The entry-point group; each entry point names a module that imports neither torch nor numpy."""

KINDS = ("recipe", "generator", "discriminator", "loss", "penalty", "augmentation", "dataset", "extractor")

Scalar = bool | int | float | str

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A trained generator that a recipe publishes: the `generator.safetensors` of a run, as `zoo export` writes it.

    `sha256` (of the file, in hexadecimal) and `bytes` are what is fetched from `url`, and nothing else is; `licence`
    says what may be done with it; `metrics` are records of metrics.jsonl, each with its protocol.
    """

    url: str
    sha256: str
    bytes: int
    licence: str
    metrics: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.url, str) or not self.url.startswith(("https://", "http://127.0.0.1:")):
            raise ValueError(f"weights are fetched by https, not from {self.url!r}")
        if not isinstance(self.sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"weights at {self.url}: a SHA-256 in hexadecimal is missing")
        if not isinstance(self.bytes, int) or self.bytes < 1:
            raise ValueError(f"weights at {self.url}: their size in bytes is missing")
        if not isinstance(self.licence, str) or not self.licence:
            raise ValueError(f"weights at {self.url}: their licence is missing")
        for record in self.metrics:
            if not isinstance(record, Mapping) or not {"name", "value", "protocol"} <= record.keys():
                raise ValueError(
                    f"weights at {self.url}: a metric has a name, a value and a protocol, not {record!r:.60}"
                )


@dataclass(frozen=True, kw_only=True)
class Component:
    """One thing that a plugin brings: data only, so that listing it imports nothing.

    `target` is "package.module:callable", imported when the component is built; its keyword-only parameters are the
    component's options. `presets` maps a preset's name to option values. `extra` names the optional dependency group
    that the target needs. `shapes` are samples' shapes, without the batch, that it promises to serve; `zoo check` tries
    all of them, and the usual ones where none is stated. `weights` are trained generators of a recipe, by name:
    `zoo sample RECIPE@NAME` fetches and samples one.
    """

    kind: str
    name: str
    target: str
    summary: str
    paper: str = ""
    tags: tuple[str, ...] = ()
    extra: str = ""
    presets: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    shapes: tuple[tuple[int, ...], ...] = ()
    weights: Mapping[str, Weights] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is not one of {', '.join(KINDS)}")
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r} does not match [a-z0-9][a-z0-9_-]*")
        if not isinstance(self.target, str) or not _TARGET.fullmatch(self.target):
            raise ValueError(f"{self.name}: target {self.target!r} is not 'package.module:callable'")
        if not isinstance(self.summary, str) or not self.summary:
            raise ValueError(f"{self.name}: a summary in one sentence is missing")
        texts = (self.paper, self.extra, *self.tags) if isinstance(self.tags, tuple | list) else (None,)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{self.name}: paper and extra are text, tags a tuple of texts")
        if not isinstance(self.shapes, tuple) or not all(
            isinstance(shape, tuple) and shape and all(isinstance(side, int) and side > 0 for side in shape)
            for shape in self.shapes
        ):
            raise ValueError(f"{self.name}: shapes {self.shapes!r} are not a tuple of shapes such as (1, 28, 28)")
        if not isinstance(self.weights, Mapping) or not isinstance(self.presets, Mapping):
            raise ValueError(f"{self.name}: presets and weights are mappings from names")
        for name, weights in self.weights.items():
            if (
                not isinstance(name, str)
                or not _NAME.fullmatch(name)
                or not isinstance(weights, Weights)
                or self.kind != "recipe"
            ):
                raise ValueError(f"{self.name}: weights {name!r} are not a recipe's Weights under a plain name")
        for preset, values in self.presets.items():
            if not isinstance(preset, str) or not _NAME.fullmatch(preset) or not isinstance(values, Mapping):
                raise ValueError(
                    f"{self.name}: preset {preset!r} is no mapping under a name that matches [a-z0-9][a-z0-9_-]*"
                )
            for key, value in values.items():
                if not isinstance(value, bool | int | float | str):
                    raise ValueError(f"{self.name}.{preset}: {key} is a {type(value).__name__}, not a number or text")


@dataclass(frozen=True)
class Slot:
    """Marks a parameter that takes another component: `generator: Annotated[Any, Slot("generator")] = "dcgan"`.

    The parameter receives the chosen component's target with its options bound, never a name.
    """

    kind: str


@dataclass(frozen=True)
class Range:
    """Bounds of a numeric option, both included; None leaves a side open."""

    low: float | None = None
    high: float | None = None


class Hooks:
    """What a plugin may implement, with `@hookimpl`. The last four are called while training, on rank 0 only."""

    @hookspec
    def zoo_components(self) -> Iterable[Component]:
        """The components of this plugin; constant, and without importing what they need."""
        raise AssertionError("a specification, never called")

    @hookspec
    def zoo_run_start(self, run: Path) -> None:
        """A run starts or continues in the folder `run`."""

    @hookspec
    def zoo_log(self, run: Path, step: int, scalars: Mapping[str, float]) -> None:
        """A line was logged: terms as "player/term", metrics under their own names."""

    @hookspec
    def zoo_checkpoint_saved(self, run: Path, path: Path) -> None:
        """A checkpoint stands, whole, at `path`."""

    @hookspec
    def zoo_run_end(self, run: Path, error: BaseException | None) -> None:
        """The run ended; `error` is None when it reached its end or its target."""


HOOKS = tuple(name for name in vars(Hooks) if name.startswith("zoo_"))

__all__ = [
    "API",
    "GROUP",
    "HOOKS",
    "KINDS",
    "Component",
    "Hooks",
    "Range",
    "Scalar",
    "Slot",
    "Weights",
    "hookimpl",
    "hookspec",
]
