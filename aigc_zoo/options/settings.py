"""The settings of a run: one typed dataclass, the source of the command line options and the card's `run` part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

from aigc_zoo.options.signatures import signature_options
from aigc_zoo.options.values import Option, Value
from aigc_zoo.spec import Range


class Numbered:
    """A mark of choices that an index may follow, as in cuda:1."""

    def __init__(self, *choices: str) -> None:
        self.choices = choices


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings that every recipe has beside its own options.

    Each field is an option: its type and `Range` are the validation, its line below is the help text, and a text in
    `Annotated` is the placeholder that help shows for the value. None means that the recipe, the dataset or the length
    of the run provides the value; `resolve` fills in what the recipe provides.

    data: dataset name, or path to a folder or zip of images, sounds, clips or texts, .npy, .npz or IDX; the recipe's
        dataset by default. The options of a named dataset, and those that files are read with, are --data.OPTION.
    modality: modality that files at --data are read as, and that a dataset must be of; by default the first that reads
        any of the files, of image, audio, video and text.
    entry: folder of an entry at --data, for recipes that read several; folders called like the entries by default.
    size: side in pixels to which images and frames are center-cropped and resized; unchanged by default.
    skip_bad: maximum number of unreadable files to leave out before failing.
    steps: number of training steps, instead of --images; the recipe's length by default.
    images: number of real samples to train on, repetitions included, instead of --steps; the recipe's length by
        default.
    batch_size: samples per training step, summed over all ranks; the recipe's batch size by default.
    seed: random seed for weights, noise and data order.
    device: device to train on; auto takes CUDA where it is available, else the CPU.
    precision: arithmetic inside the networks; auto takes bf16 autocast where the hardware supports it.
    engine: run steps operation by operation (eager) or as CUDA graphs (graph); auto takes graphs where possible.
    accumulate: gradient accumulation; split each batch into N micro-batches.
    sync_batch_norm: compute batch normalization statistics over all ranks; slower.
    log_every: steps between log lines; a hundredth of the run by default, 1 to 100.
    sample_every: steps between sample grids; a twentieth of the run by default, 5 to 1,000.
    save_every: steps between checkpoints; a twentieth of the run by default, 50 to 1,000.
    keep: number of most recent checkpoints to keep, beside the checkpoint with the best metric.
    eval_every: steps between evaluations; a tenth of the run by default, 50 to 10,000.
    until: stop training when the metric meets this target; no target by default.
    extractor: feature extractor for the metrics; the dataset's own by default.
    extractor_weights: file with the extractor's weights, instead of a download.
    metrics: comma-separated metrics, as in zoo eval; the first selects the best generator. By default fid (modes for
        points), variance-ratio and duplicates, and modes where they are known; images without an extractor have no fid.
    eval_num: samples per evaluation; by default the larger of 2,048 and twice the feature dimension, 2,500 for
        points, and 512 for images without an extractor.
    deterministic: refuse operations whose results vary between executions.
    init: checkpoint or generator file from which the initial weights are loaded; random weights by default.
    """

    data: Annotated[str | None, "ID|PATH"] = None
    modality: Annotated[str | None, "NAME"] = None
    entry: Annotated[tuple[str, ...], "ENTRY=FOLDER"] = ()
    size: Annotated[int | None, Range(1), "PIXELS"] = None
    skip_bad: Annotated[int, Range(0), "N"] = 0
    steps: Annotated[int | None, Range(1), "N"] = None
    images: Annotated[int | None, Range(1), "N"] = None
    batch_size: Annotated[int | None, Range(1), "N"] = None
    seed: Annotated[int, Range(0), "N"] = 0
    device: Annotated[Literal["auto", "cpu", "cuda", "mps", "xpu"], Numbered("cuda", "xpu")] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    engine: Literal["auto", "eager", "graph"] = "auto"
    accumulate: Annotated[int, Range(1), "N"] = 1
    sync_batch_norm: bool = False
    log_every: Annotated[int | None, Range(1), "STEPS"] = None
    sample_every: Annotated[int | None, Range(1), "STEPS"] = None
    save_every: Annotated[int | None, Range(1), "STEPS"] = None
    keep: Annotated[int, Range(1), "N"] = 2
    eval_every: Annotated[int | None, Range(1), "STEPS"] = None
    until: Annotated[str | None, '"fid<=X"'] = None
    extractor: Annotated[str | None, "NAME"] = None
    extractor_weights: Annotated[Path | None, "FILE"] = None
    metrics: Annotated[str | None, "NAMES"] = None
    eval_num: Annotated[int | None, Range(2), "N"] = None
    deterministic: bool = False
    init: Annotated[Path | None, "FILE"] = None

    @classmethod
    def from_values(cls, values: Mapping[str, Value]) -> Self:
        """The settings among checked option values (`Option` keeps a path as text); other keys are ignored."""
        own: dict[str, Any] = {key: values[key] for key in RUN_SETTINGS}
        for key, option in RUN_SETTINGS.items():
            if option.type is Path and own[key] is not None:
                own[key] = Path(own[key])
        return cls(**own)

    def card(self) -> dict[str, Any]:
        """All settings as JSON values, in the order of the fields: the `run` part of a card."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


def _run_settings() -> dict[str, Option]:
    hints = get_type_hints(RunSettings, include_extras=True)
    found = {}
    for option in signature_options(RunSettings):
        marks = getattr(hints[option.key], "__metadata__", ())
        metavar = next((mark for mark in marks if isinstance(mark, str)), "")
        numbered = next((mark.choices for mark in marks if isinstance(mark, Numbered)), ())
        found[option.key] = replace(option, metavar=metavar, numbered=numbered)
    return found


RUN_SETTINGS: Mapping[str, Option] = _run_settings()
"""The fields of RunSettings as options, by key."""

RESERVED = (
    *("config", "out", "fresh", "dry_run", "help", "json", "debug", "plugin"),
    *("allow_inexact_resume", "extend", "allow_low_memory"),
)
"""Other options of commands, whose names a recipe's options cannot have."""
