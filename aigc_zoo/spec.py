"""The plugin API: how a distribution describes its components. Imports the standard library and pluggy only."""

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

KINDS = (
    "recipe",
    "generator",
    "discriminator",
    "loss",
    "penalty",
    "augmentation",
    "dataset",
    "extractor",
    "network",
    "modality",
    "metric",
)

GENERATE = ("nets", "batch")
"""The arguments of a recipe's `generate`; its keyword-only parameters are sampling options."""

Scalar = bool | int | float | str

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_SUFFIX = re.compile(r"\.[a-z0-9][a-z0-9._+-]*")
_OURS = (".zip", ".npy", ".npz", ".gz")
_REFERENCE = re.compile(r"([a-z0-9][a-z0-9_-]*/)?[a-z0-9][a-z0-9_-]*")


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
    """One component of a plugin. It is pure data, so listing it imports nothing.

    kind      one of `KINDS`
    name      lower-case letters, digits, hyphens and underscores
    summary   one sentence for `zoo list`
    target    "package.module:callable", imported when the component is built; its keyword-only parameters are the
              component's options. Empty exactly when `extends` is set
    extends   id of another recipe, "zoo/gan", whose target and options a recipe shares: a recipe made of data alone
    defaults  option -> value, over the defaults of the target's signature. A recipe's may set slots, options of what
              the slots hold ("penalty.NAME.weight"), and settings of the run (data, batch_size, steps, images, ...)
    presets   name -> {option: value}, over the defaults. {"preset": "NAME"} in one builds on another preset of this
              component, {"preset": "RECIPE.NAME"} on a preset of another recipe; the other must not build on a third
    notes     provenance and departures from the paper, with citations that a stranger can find
    paper     arXiv number or URL
    tags      words to search by
    extra     optional dependency group of the distribution that the target needs
    shapes    sample shapes (without the batch) that the component supports; `zoo check` tries all of them, or the usual
              ones where none is given. A recipe trains at each of them; its other checks use the first
    weights   trained generators of a recipe by name: `zoo sample RECIPE@NAME` downloads and samples one
    suffixes  suffixes of files that a dataset reads, such as ".xyz": `--data FILE.xyz` calls its target with the path
              of the file. Folders, .zip, .npy, .npz and IDX files are always read by the zoo itself
    classes   names of the classes that an extractor was trained on, in the order of its logits: it counts modes only of
              data whose classes are among them. An extractor that states none counts none
    modality  id of the modality of the samples that an extractor takes, by default that of `game.Spec`

    References in `defaults`, `presets` and `modality` resolve in the namespace of the plugin that states them, then in
    `zoo/`.
    Raises ValueError for a field that is not of this form.
    """

    kind: str
    name: str
    target: str = ""
    summary: str
    extends: str = ""
    defaults: Mapping[str, Scalar] = field(default_factory=dict)
    notes: str = ""
    paper: str = ""
    tags: tuple[str, ...] = ()
    extra: str = ""
    presets: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    shapes: tuple[tuple[int, ...], ...] = ()
    weights: Mapping[str, Weights] = field(default_factory=dict)
    suffixes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    modality: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is not one of {', '.join(KINDS)}")
        if not _is_name(self.name):
            raise ValueError(f"name {self.name!r} does not match {_NAME.pattern}")
        self._check_target()
        if not isinstance(self.summary, str) or not self.summary:
            raise ValueError(f"{self.name}: a summary in one sentence is missing")
        texts = (self.paper, self.extra, self.notes, *self.tags) if isinstance(self.tags, tuple | list) else (None,)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{self.name}: paper, extra and notes must be strings, tags a tuple of strings")
        if not isinstance(self.shapes, tuple) or not all(map(_is_shape, self.shapes)):
            raise ValueError(f"{self.name}: shapes {self.shapes!r} must be a tuple of shapes such as (1, 28, 28)")
        self._check_values()
        self._check_weights()
        self._check_suffixes()
        self._check_classes()
        self._check_modality()

    def _check_target(self) -> None:
        if not isinstance(self.target, str) or not isinstance(self.extends, str):
            raise ValueError(f"{self.name}: target {self.target!r} and extends {self.extends!r} must be strings")
        if self.extends and self.target:
            raise ValueError(f"{self.name}: extends {self.extends!r} brings its own target: leave target out")
        if self.extends and self.kind != "recipe":
            raise ValueError(f"{self.name}: only a recipe can extend another component, not a {self.kind}")
        if self.extends and not _REFERENCE.fullmatch(self.extends):
            raise ValueError(f"{self.name}: extends {self.extends!r} is not '[namespace/]name' of a recipe")
        if not self.extends and not _TARGET.fullmatch(self.target):
            raise ValueError(f"{self.name}: target {self.target!r} is not 'package.module:callable'")

    def _check_values(self) -> None:
        if not all(isinstance(one, Mapping) for one in (self.presets, self.weights, self.defaults)):
            raise ValueError(f"{self.name}: defaults, presets and weights must be mappings")
        for preset, values in self.presets.items():
            if not _is_name(preset) or not isinstance(values, Mapping):
                raise ValueError(f"{self.name}: preset {preset!r} is no mapping under a name like {_NAME.pattern}")
            if preset == "default":
                raise ValueError(f"{self.name}: what always applies is `defaults`, not a preset called default")
        for where, values in {"defaults": self.defaults, **self.presets}.items():
            for key, value in values.items():
                if not isinstance(key, str) or not isinstance(value, bool | int | float | str):
                    kind = type(value).__name__
                    raise ValueError(f"{self.name}.{where}: {key} is a {kind}, not a number or a string")

    def _check_weights(self) -> None:
        for name, weights in self.weights.items():
            if not _is_name(name) or not isinstance(weights, Weights) or self.kind != "recipe":
                raise ValueError(f"{self.name}: weights {name!r} must be a recipe's Weights under a plain name")

    def _check_suffixes(self) -> None:
        if not isinstance(self.suffixes, tuple) or (self.suffixes and self.kind != "dataset"):
            raise ValueError(f"{self.name}: suffixes {self.suffixes!r} must be a tuple of texts, of a dataset only")
        for suffix in self.suffixes:
            if not isinstance(suffix, str) or not _SUFFIX.fullmatch(suffix):
                raise ValueError(f"{self.name}: suffix {suffix!r} is not in lower case with a dot, such as '.xyz'")
            if suffix in _OURS:
                raise ValueError(f"{self.name}: files of suffix {suffix} are read by the zoo itself")

    def _check_classes(self) -> None:
        names = self.classes
        if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"{self.name}: classes must be a tuple of names, not {names!r:.60}")
        if len(set(names)) < len(names):
            raise ValueError(f"{self.name}: two of its {len(names)} classes have the same name")
        if names and self.kind != "extractor":
            raise ValueError(f"{self.name}: only an extractor states classes, not a {self.kind}")

    def _check_modality(self) -> None:
        if not isinstance(self.modality, str) or (self.modality and not _REFERENCE.fullmatch(self.modality)):
            raise ValueError(f"{self.name}: modality {self.modality!r} is not '[namespace/]name' of a modality")
        if self.modality and self.kind != "extractor":
            raise ValueError(f"{self.name}: only an extractor states a modality, not a {self.kind}")


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _is_shape(shape: object) -> bool:
    return isinstance(shape, tuple) and bool(shape) and all(isinstance(side, int) and side > 0 for side in shape)


@dataclass(frozen=True)
class Slot:
    """Marks a parameter whose value is another component: `generator: Annotated[Any, Slot("generator")] = "dcgan"`.

    The parameter receives the chosen component's target with its options bound, never a name. With `like`, only
    components that have this tag fit: `Slot("network", like="translator")`.
    """

    kind: str
    like: str = ""


@dataclass(frozen=True)
class Range:
    """Inclusive bounds of a numeric option; None means unbounded."""

    low: float | None = None
    high: float | None = None


class Hooks:
    """Hooks that a plugin implements with `@hookimpl`. The last four are called during training, on rank 0 only."""

    @hookspec
    def zoo_components(self) -> Iterable[Component]:
        """The components of this plugin: constant data, returned without importing their targets."""
        raise AssertionError("a specification, never called")

    @hookspec
    def zoo_run_start(self, run: Path) -> None:
        """A run starts or resumes in the directory `run`."""

    @hookspec
    def zoo_log(self, run: Path, step: int, scalars: Mapping[str, float]) -> None:
        """A line was logged: terms as "player/term", metrics under their own names."""

    @hookspec
    def zoo_checkpoint_saved(self, run: Path, path: Path) -> None:
        """A checkpoint was saved to `path`."""

    @hookspec
    def zoo_run_end(self, run: Path, error: BaseException | None) -> None:
        """The run ended; `error` is None if it reached its end or its target."""


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
