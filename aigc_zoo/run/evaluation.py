"""Judging what exists already: a run, a generator's file or a folder of images, against a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from aigc_zoo.data import resolve
from aigc_zoo.errors import ConfigError, DataError, UsageError
from aigc_zoo.game import Samples
from aigc_zoo.metrics.evaluate import Judge, stored
from aigc_zoo.metrics.features import load_extractor
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.export import load_generator
from aigc_zoo.run.monitor import evaluation_seed, judged

METRICS = ("fid",)


def evaluate(
    catalogue: Catalogue,
    source: Path,
    against: str | None = None,
    *,
    split: str = "train",
    size: int | None = None,
    metrics: tuple[str, ...] = METRICS,
    num: int | None = None,
    seed: int = 0,
    extractor: str = "",
    extractor_weights: Path | None = None,
    device: torch.device | str = "cpu",
) -> list[dict[str, Any]]:
    """Metrics of a run, a generator or a folder of images against one split of a dataset, each with its protocol.

    `against` is a dataset's id or a path; a run knows its own. Images are brought to `size` where it is given. `seed`
    is that of the noise. Raises DataError, ConfigError, UsageError.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise UsageError(f"--metrics {metric}: not known; there is {', '.join(METRICS)}")
    generator = None if _is_images(source) else load_generator(catalogue, source, device=device)
    skipped = 0
    if against is None:
        if generator is None:
            raise UsageError(f"{source}: say --against DATA, what these images are to be compared with")
        own = generator.card["data"]
        against, size = str(own["reference"]), size or own["size"]
        skipped = len(own.get("skipped") or ())  # of the same data the run left out as many
    splits = resolve.load(catalogue, against, size=size, skip_bad=skipped)
    if split not in splits:
        raise DataError(f"{against} has no split {split!r}; it has {', '.join(splits)} (--split)")
    reference = splits[split]
    name = extractor or reference.extractor or (generator.card["extractor"] if generator else "")
    if not name:
        raise ConfigError(f"no extractor judges {reference.name} by default: choose one with --extractor")
    judge = Judge(
        load_extractor(catalogue, name, weights=extractor_weights, device=torch.device(device)), reference, num=num
    )
    if generator is None:
        fakes = resolve.load(catalogue, str(source), size=size)["train"]
        count = min(judge.num, len(fakes)) if num is None else num
        if count > len(fakes):
            raise UsageError(f"--num {num}: {source} has {len(fakes)} images")
        _need_equal(fakes.spec.shape, reference)
        return judge.measure(stored(fakes, count), weights="files", seed=None, num=count)
    _need_equal(generator.spec.shape, reference)
    chunks = judged(generator.sampler(seed=evaluation_seed(seed)), generator.spec, judge.num)
    return judge.measure(chunks, weights=generator.weights, seed=seed)


def _is_images(source: Path) -> bool:
    """Whether a path is data rather than a run or a generator."""
    if source.is_dir():
        return not (source / "card.json").exists()
    return source.suffix.lower() in (".zip", ".npy", ".npz")


def _need_equal(shape: tuple[int, ...], reference: Samples) -> None:
    if shape != reference.spec.shape:
        raise ConfigError(
            f"samples of shape {shape} cannot be compared with {reference.name} of shape {reference.spec.shape}"
        )
