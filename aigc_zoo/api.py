"""The Python API: the functions behind the command line, for notebooks and scripts.

Errors are those of the commands: the same class, exit code and words.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigc_zoo import devices, options, plugins
from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.data import memory
from aigc_zoo.errors import DataError, UsageError
from aigc_zoo.metrics.evaluate import SILENT
from aigc_zoo.options import RUN_SETTINGS
from aigc_zoo.options.references import IN_MEMORY
from aigc_zoo.options.values import spelling
from aigc_zoo.report.write import write_report
from aigc_zoo.run import previews
from aigc_zoo.run.arguments import argument, public
from aigc_zoo.run.bars import bars, tell
from aigc_zoo.run.device import choose_device
from aigc_zoo.run.evaluate import evaluate, source_of
from aigc_zoo.run.export import RECORD, export_generator, export_to
from aigc_zoo.run.generation import Sampling, open_sampling
from aigc_zoo.run.generator import Generator, load_generator
from aigc_zoo.run.loop import train as _train
from aigc_zoo.run.prepare import prepare
from aigc_zoo.run.progress import Progress, Result
from aigc_zoo.run.published import resolve_source
from aigc_zoo.run.recorded import recorded_card, run_directory
from aigc_zoo.run.sample_tensor import SampleTensor
from aigc_zoo.run.terminal import EvaluationProgress, ReadingProgress, TerminalProgress
from aigc_zoo.text import zoo_command

if TYPE_CHECKING:
    import torch
    from PIL import Image


@public
def list_models(pattern: str = "*", *, kind: str = "recipe") -> list[str]:
    """Sorted names of the installed components of a kind, or of "all"; those of other packages have full ids."""
    kind = argument("--kind", kind)
    entries = plugins.catalogue().items(None if kind == "all" else kind, pattern)
    return [entry.name if entry.namespace == "zoo" else entry.id for entry in entries]


@public
def create(name: str, *arguments: Any, kind: str = "recipe", **settings: Any) -> Any:
    """Builds a component with its options: `create("dcgan")` returns a Recipe.

    Other kinds take their positional arguments first: `create("dcgan", Spec(shape=(1, 28, 28)), 100, kind="generator",
    width=32)` returns a module, and `create("gp", kind="penalty")` a Penalty. Slots and their options are keywords:
    `**{"generator.width": 32}`.
    """
    catalogue = plugins.catalogue()
    if kind == "recipe":
        return options.build(catalogue, options.resolve(catalogue, name, given=settings, origin="python"))
    _, target = options.bind(catalogue, kind, name, settings)
    if callable(target):
        return target(*arguments)
    if arguments:
        raise UsageError(f"{kind} {name} takes no positional arguments")
    return target


class Run:
    """A run directory or a generator file: its card and logs, samples of its generator, and what commands do with it.

    `device` is that of sampling and evaluation, as of `--device`. `data` are the splits of a run on data in memory.
    """

    @public
    def __init__(
        self, path: Path | str, result: Result | None = None, *, device: str = "auto", data: Any = None
    ) -> None:
        self.path, self.result = Path(path), result
        self._device, self._data = device, data

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    @public
    def card(self) -> Mapping[str, Any]:
        """The card of the run, or of the generator file."""
        if self.path.is_dir():
            return RunDirectory(self.path).read_card()
        return self.generator.card

    @cached_property
    @public
    def generator(self) -> Generator:
        """The final generator, or the one of the newest checkpoint while the run is unfinished."""
        return load_generator(plugins.catalogue(), self.path, device=self._chosen_device())

    @public
    def sample(
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        label: int | str | None = None,
        inputs: Mapping[str, Any] | None = None,
        data: Any = None,
        tile: int | None = None,
        **keywords: Any,
    ) -> SampleTensor:
        """`n` samples (n, *shape) in the range of the data, which a notebook shows as an image; by default 64, or one
        for each input.

        The first k samples of a seed do not depend on `n`. `label` is the name of a class, or its index where no class
        is called by a number, as of `zoo sample --class`. A recipe that reads inputs takes them from `inputs`, paths,
        texts or tensors by entry, such as `{"source": "photo.png"}`; from the dataset `data`; or from the held-out
        split of the run's own data. `tile` is the largest side that networks get at once; `keywords` are the recipe's
        own sampling options.
        """
        more = {"seed": seed, "label": label, "inputs": inputs, "data": data, "tile": tile}
        with self._sampling(**more, **keywords) as sampling:
            samples, spec = sampling.all(sampling.count(None if n is None else argument("-n", n), each=True))
        return SampleTensor.of(samples, spec, self.generator.modality)

    @public
    def grid(self, n: int | None = None, **keywords: Any) -> Image.Image:
        """The preview of samples, beside their inputs where they have some, by default of as many as training previews;
        `keywords` as of `sample`."""
        with self._sampling(**keywords) as sampling:
            most = previews.count(self.generator.modality, sampling.sampler)
            count = most if n is None else argument("-n", n)
            return sampling.preview(min(count, sampling.count(None)) if n is None and sampling.inputs else count)

    @contextmanager
    def _sampling(self, **keywords: Any) -> Iterator[Sampling]:
        def note(text: str) -> None:
            if _shows(None):
                tell(f"note: {text}")

        with ExitStack() as stack:
            how = {"own": self._data, "note": note}
            yield open_sampling(stack, plugins.catalogue(), self.generator, **how, **keywords)

    @public
    def evaluate(
        self,
        against: Any = None,
        *,
        split: str = "train",
        metrics: str | Sequence[str] = (),
        num: int | None = None,
        size: int | None = None,
        seed: int = 0,
        extractor: str = "",
        extractor_weights: Path | str | None = None,
        allow_few: bool = False,
        best: bool = False,
        progress: bool | None = None,
    ) -> list[dict[str, Any]]:
        """Metrics of the generator, each with its protocol, as of `zoo eval`.

        `against` is a dataset: a name, a path, or data in memory; by default that of the run. `progress` as of `train`.
        """
        source = source_of(plugins.catalogue(), self.path, best)
        names = metrics.split(",") if isinstance(metrics, str) else metrics
        shows = _shows(progress)
        with EvaluationProgress() as evaluating:
            return evaluate(
                plugins.catalogue(),
                source,
                self._data if against is None else against,
                split=split,
                size=size,
                metrics=tuple(name.strip() for name in names if name.strip()),
                num=num,
                seed=seed,
                extractor=extractor,
                extractor_weights=None if extractor_weights is None else Path(extractor_weights),
                allow_few=allow_few,
                device=self._chosen_device(),
                progress=evaluating if shows else SILENT,
                note=lambda text: tell(f"note: {text}") if shows else None,
            )

    @public
    def report(self, out: Path | str | None = None, *, format: str = "html", title: str = "") -> Path:
        """Writes a report of the run, by default report.html in its directory, as of `zoo report`; returns its path."""
        return write_report((self.path,), None if out is None else Path(out), suffix=format, title=title)

    @public
    def export(self, to: Path | str | None = None, *, onnx: bool = False, licence: str = "") -> list[Path]:
        """Exports the generator, by default to RUN/export, as of `zoo export`; returns the paths of the files."""
        folder = export_to(self.path, to)
        files = export_generator(plugins.catalogue(), self.path, folder, onnx=onnx, licence=licence)
        return [*(path for path, _ in files), folder / RECORD]

    def _chosen_device(self) -> torch.device:
        """The device; where progress is shown, a note says if the project has not tested it."""
        device = choose_device(self._device)
        if (note := devices.untested(device)) and _shows(None):
            tell(f"note: {note}")
        return device

    @property
    @public
    def log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl."""
        return read_lines(RunDirectory(self.path).log_path)

    @property
    @public
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return read_lines(RunDirectory(self.path).metrics_path)


@public
def train(
    recipe: str,
    data: Any = None,
    *,
    out: Path | str | None = None,
    fresh: bool = False,
    allow_inexact_resume: bool = False,
    extend: bool = False,
    allow_low_memory: bool = False,
    progress: Progress | bool | None = None,
    **settings: Any,
) -> Run:
    """Trains a recipe as `zoo train` does: `train("dcgan", "mnist", steps=500, **{"generator.width": 32})`.

    `data` is a name or a path, or data in memory: a tensor or array, `(samples, labels)`, a Dataset, or any of these by
    split. `progress` shows a bar, or lines where there is neither a notebook nor a terminal; by default it is shown in
    these two only. A Progress receives it instead. Resumes a run in the same run directory; more steps or images or
    another target continue a finished one, with `extend` also where its steps depend on its length. Returns the run;
    `run.result` says how it ended.
    """
    catalogue = plugins.catalogue()
    reference = data if data is None or memory.is_reference(data) else IN_MEMORY
    if not fresh:  # short names keep the meaning that they had when the run started
        catalogue = catalogue.remembering(recorded_card(catalogue, out, recipe, reference))
    _refuse_unknown(catalogue, recipe, reference, settings)
    configuration = options.resolve(catalogue, recipe, data=reference, given=settings, origin="python")
    shows = not isinstance(progress, Progress) and _shows(progress)
    given, what = (None, ReadingProgress()) if reference is data else (data, ReadingProgress("samples", ""))
    prepared = prepare(catalogue, configuration, given, progress=what if shows else None)
    shown = progress if isinstance(progress, Progress) else TerminalProgress() if shows else Progress()
    if not prepared.ranks.first:
        shown = Progress()
    for note in configuration.notes:
        shown.say(note)
    directory = run_directory(out, configuration.recipe, prepared.reference)
    how: dict[str, Any] = {"fresh": fresh, "inexact": allow_inexact_resume, "extend": extend}
    result = _train(prepared, directory, **how, allow_low_memory=allow_low_memory, progress=shown)
    for note in result.notes:
        shown.say(note)
    splits = None if given is None else prepared.splits
    return Run(directory, result, device=configuration.run.device, data=splits)


@public
def load_run(path: Path | str, *, device: str = "auto") -> Run:
    """Opens a run directory, a generator file, or weights that a plugin publishes, such as "acme/dcgan@mnist"."""
    path = resolve_source(plugins.catalogue(), path)
    if not path.exists():
        raise DataError(f"{path}: no such run or file")
    return Run(path, device=device)


def _shows(progress: bool | None) -> bool:
    return bars() is not None if progress is None else progress


def _refuse_unknown(
    catalogue: plugins.Catalogue, recipe: str, data: str | os.PathLike[str] | None, settings: Mapping[str, Any]
) -> None:
    """Raises UsageError for a keyword that is no option, as `zoo train` does for a flag."""
    name = None if data is None else os.fspath(data)
    brought = options.options_of(catalogue, recipe, data=name, automatic=True)
    keys = {spelling(option.key) for option in brought if option.slot}
    slots = {key: value for key, value in settings.items() if spelling(key) in keys}
    if slots:
        brought = options.options_of(catalogue, recipe, slots, data=name, automatic=True)
    known = {*RUN_SETTINGS, *(spelling(option.key) for option in brought)}
    unknown = [key for key in settings if spelling(key) not in known]
    if unknown:
        also = ("out", "fresh", "allow_inexact_resume", "progress")
        text = options.unknown_option(catalogue, recipe, unknown[0], slots, data=name, also=also)
        raise UsageError(f"{text}\n{zoo_command('train', recipe, '--help')} shows all")
