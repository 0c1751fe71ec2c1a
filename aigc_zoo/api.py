"""The notebook API: what the command line does, as functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from aigc_zoo import options, plugins
from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.errors import DataError
from aigc_zoo.run.generator import Generator, load_generator
from aigc_zoo.run.loop import train as _train
from aigc_zoo.run.prepare import default_folder, prepare
from aigc_zoo.run.progress import Result, Screen
from aigc_zoo.run.published import located


def list_models(pattern: str = "*", *, kind: str = "recipe") -> list[str]:
    """Names of what is installed, sorted naturally; `kind="all"` for every kind. Ours are short, others full ids."""
    entries = plugins.catalogue().items(None if kind == "all" else kind, pattern)
    return [entry.name if entry.namespace == "zoo" else entry.id for entry in entries]


def create(name: str, *arguments: Any, kind: str = "recipe", **settings: Any) -> Any:
    """One component, built with its options: `create("dcgan")` is a Recipe.

    Other kinds are called with what their kind needs first: `create("dcgan", Spec(shape=(1, 28, 28)), 100,
    kind="generator", width=32)` is a module. Slots and their options go by keyword: `**{"generator.width": 32}`.
    """
    catalogue = plugins.catalogue()
    if kind == "recipe":
        return options.build(catalogue, options.resolve(catalogue, name, given=settings, origin="python"))
    _, target = options.bind(catalogue, kind, name, settings)
    return target(*arguments)


class Run:
    """A run on disk: its card, its logs, and samples of its generator."""

    def __init__(self, path: Path | str, result: Result | None = None) -> None:
        self.path, self.result = Path(path), result
        self._generator: Generator | None = None

    @property
    def card(self) -> Mapping[str, Any]:
        """What the run was started with, or what its generator's file says."""
        if self.path.is_dir():
            return RunDirectory(self.path).read_card()
        return self.generator.card

    @property
    def generator(self) -> Generator:
        """The final generator, or that of the newest checkpoint while the run is unfinished."""
        if self._generator is None:
            self._generator = load_generator(plugins.catalogue(), self.path)
        return self._generator

    def sample(self, n: int = 64, *, seed: int = 0, label: int | None = None, **keywords: Any) -> Tensor:
        """`n` samples (n, *shape) in the data's range; the same seed gives the same samples whatever `n` is."""
        return self.generator.sample(n, seed=seed, label=label, **keywords)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl."""
        return read_lines(RunDirectory(self.path).log_path)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return read_lines(RunDirectory(self.path).metrics_path)


def train(
    recipe: str,
    data: str | None = None,
    *,
    out: Path | str | None = None,
    fresh: bool = False,
    allow_inexact_resume: bool = False,
    screen: Screen | None = None,
    **settings: Any,
) -> Run:
    """`zoo train` as a function: `train("dcgan", "mnist", steps=500, **{"generator.width": 32})`.

    Continues an unfinished run in the same folder. Returns the run; `run.result` says how it ended.
    """
    catalogue = plugins.catalogue()
    configuration = options.resolve(catalogue, recipe, data=data, given=settings, origin="python")
    prepared = prepare(catalogue, configuration)
    folder = Path(out) if out is not None else default_folder(configuration, prepared.recipe)
    return Run(folder, _train(prepared, folder, fresh=fresh, inexact=allow_inexact_resume, screen=screen))


def load_run(path: Path | str) -> Run:
    """A run's folder, a generator's file, or weights that a plugin publishes: "acme/dcgan@mnist"."""
    path = located(plugins.catalogue(), path)
    if not path.exists():
        raise DataError(f"{path}: no such run or file")
    return Run(path)
