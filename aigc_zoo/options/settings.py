"""The settings of a run: what can be set beside a recipe's own options, on the command line, in cards and presets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aigc_zoo.options.values import Option


def _setting(key: str, kind: type, metavar: str, text: str, low: float | None = None) -> Option:
    return Option(key, kind, None, low=low, optional=True, help=text, metavar=metavar)


_ALL = (
    _setting("data", str, "ID|PATH", "a dataset's name, a folder or zip of images, .npy, .npz or IDX."),
    _setting("size", int, "PIXELS", "centre-crop and resize images to squares of this side.", 1),
    _setting("steps", int, "N", "how many steps to train; instead of --images.", 1),
    _setting("images", int, "N", "how many real images to train on, repetitions included; instead of --steps.", 1),
    _setting("batch_size", int, "N", "samples in a batch, of all ranks together.", 1),
    Option("seed", int, 0, low=0, help="of all that is random: weights, noise, the order of the data.", metavar="N"),
    Option("device", str, "auto", choices=("auto", "cpu", "cuda"), help="where to train; auto takes a GPU if any."),
    Option(
        "precision",
        str,
        "auto",
        choices=("auto", "fp32", "bf16"),
        help="of the arithmetic in networks; auto takes bf16 where the hardware has it.",
    ),
    Option(
        "engine",
        str,
        "auto",
        choices=("auto", "eager", "graph"),
        help="steps one operation at a time, or as CUDA graphs; auto takes graphs where it can.",
    ),
    Option(
        "accumulate", int, 1, low=1, help="parts of a batch, one after the other, where all do not fit.", metavar="N"
    ),
    Option("sync_batch_norm", bool, False, help="batch normalisation over all ranks; slower."),
    _setting("log_every", int, "STEPS", "how often to log the losses.", 1),
    _setting("sample_every", int, "STEPS", "how often to draw a grid of samples.", 1),
    _setting("save_every", int, "STEPS", "how often to save a checkpoint.", 1),
    _setting("eval_every", int, "STEPS", "how often to measure the samples.", 1),
    _setting("until", str, '"fid<=X"', "stop as soon as the run's own metric is this good."),
    _setting("extractor", str, "NAME", "the network whose features the metric compares."),
    _setting("extractor_weights", Path, "FILE", "its weights, instead of a download."),
    _setting("eval_num", int, "N", "how many samples each measurement takes.", 2),
    Option("deterministic", bool, False, help="refuse operations whose results vary from run to run."),
    _setting("init", Path, "FILE", "begin with the weights of this file, of a checkpoint or a generator."),
)

RUN_SETTINGS: Mapping[str, Option] = {option.key: option for option in _ALL}
"""By key. Those without a default are left to the recipe or to the run."""

RESERVED = (
    *("config", "out", "fresh", "dry_run", "help", "json", "debug", "plugin"),
    *("skip_bad", "allow_inexact_resume"),
)
"""Other options of commands, which a recipe's cannot be called."""
