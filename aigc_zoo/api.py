"""The Python API: the functions behind the command line, for notebooks and scripts."""

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
from aigc_zoo.run.prepare import default_directory, prepare
from aigc_zoo.run.progress import Progress, Result
from aigc_zoo.run.published import resolve_source


def list_models(pattern: str = "*", *, kind: str = "recipe") -> list[str]:
    """Sorted names of the installed components of a kind, or of "all"; those of other packages have full ids."""
    entries = plugins.catalogue().items(None if kind == "all" else kind, pattern)
    return [entry.name if entry.namespace == "zoo" else entry.id for entry in entries]


def create(name: str, *arguments: Any, kind: str = "recipe", **settings: Any) -> Any:
    """Builds a component with its options: `create("dcgan")` returns a Recipe.

    Other kinds take their positional arguments first: `create("dcgan", Spec(shape=(1, 28, 28)), 100, kind="generator",
    width=32)` returns a module. Slots and their options are keywords: `**{"generator.width": 32}`.
    """
    catalogue = plugins.catalogue()
    if kind == "recipe":
        return options.build(catalogue, options.resolve(catalogue, name, given=settings, origin="python"))
    _, target = options.bind(catalogue, kind, name, settings)
    return target(*arguments)


class Run:
    """A run directory or a generator file: its card, its logs and samples of its generator."""

    def __init__(self, path: Path | str, result: Result | None = None) -> None:
        self.path, self.result = Path(path), result
        self._generator: Generator | None = None

    @property
    def card(self) -> Mapping[str, Any]:
        """The card of the run, or of the generator file."""
        if self.path.is_dir():
            return RunDirectory(self.path).read_card()
        return self.generator.card

    @property
    def generator(self) -> Generator:
        """The final generator, or the one of the newest checkpoint while the run is unfinished."""
        if self._generator is None:
            self._generator = load_generator(plugins.catalogue(), self.path)
        return self._generator

    def sample(self, n: int = 64, *, seed: int = 0, label: int | str | None = None, **keywords: Any) -> Tensor:
        """`n` samples (n, *shape) in the range of the data; the first k samples of a seed do not depend on `n`.

        `label` is the name of a class, or its index where no class is called by a number, as of `zoo sample --class`.
        """
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
    allow_low_memory: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> Run:
    """Trains a recipe as `zoo train` does: `train("dcgan", "mnist", steps=500, **{"generator.width": 32})`.

    Resumes an unfinished run in the same run directory. Returns the run; `run.result` says how it ended.
    """
    catalogue = plugins.catalogue()
    configuration = options.resolve(catalogue, recipe, data=data, given=settings, origin="python")
    prepared = prepare(catalogue, configuration)
    directory = Path(out) if out is not None else default_directory(configuration, prepared.recipe)
    result = _train(
        prepared,
        directory,
        fresh=fresh,
        inexact=allow_inexact_resume,
        allow_low_memory=allow_low_memory,
        progress=progress,
    )
    return Run(directory, result)


def load_run(path: Path | str) -> Run:
    """Opens a run directory, a generator file, or weights that a plugin publishes, such as "acme/dcgan@mnist"."""
    path = resolve_source(plugins.catalogue(), path)
    if not path.exists():
        raise DataError(f"{path}: no such run or file")
    return Run(path)
