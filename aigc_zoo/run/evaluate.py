"""Judging what exists already: a run, a generator's file or a folder of images, against a dataset."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from aigc_zoo.data import resolve
from aigc_zoo.errors import ConfigError, DataError, UsageError
from aigc_zoo.game import Samples
from aigc_zoo.metrics.evaluate import SILENT, Evaluator, dataset_batches
from aigc_zoo.metrics.features import Extractor, coordinates, load_extractor
from aigc_zoo.metrics.fidelity import KID_LEAST
from aigc_zoo.metrics.kinds import groups_of
from aigc_zoo.metrics.reference import Progress
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.generator import Generator, load_generator
from aigc_zoo.run.monitor import evaluation_seed, judged

HELD_OUT = ("test", "val")
"""Splits that are not trained on, the first that there is."""


def evaluate(
    catalogue: Catalogue,
    source: Path,
    against: str | None = None,
    *,
    split: str = "train",
    size: int | None = None,
    metrics: tuple[str, ...] = (),
    num: int | None = None,
    seed: int = 0,
    extractor: str = "",
    extractor_weights: Path | None = None,
    allow_few: bool = False,
    allow_lossy: bool = False,
    device: torch.device | str = "cpu",
    progress: Progress = SILENT,
    note: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Metrics of a run, a generator or a folder of images against one split of a dataset, each with its protocol.

    `against` is a dataset's id or a path; a run knows its own. Images are brought to `size` where it is given. `seed`
    is that of the noise. Without `metrics` the Frechet and, from 1,000 samples on, the kernel distance are measured, of
    points the modes; "all" means all that can be measured here, and `note` is told what cannot.
    Raises DataError, ConfigError, UsageError.
    """
    groups = groups_of(metrics) if metrics else ()
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
    evaluator = Evaluator(
        _extractor(catalogue, extractor, reference, generator, extractor_weights, torch.device(device), note),
        reference,
        metrics=(),
        num=num,
        held_out=next((splits[name] for name in HELD_OUT if name in splits), None),
        allow_few=allow_few,
        progress=progress,
    )
    if not metrics:
        groups = ("modes",) if reference.spec.modality == "points" else ("fid",)
        if groups == ("fid",) and min(evaluator.num, evaluator.reference_num) >= KID_LEAST and generator is not None:
            groups = ("fid", "kid")
    if "all" in metrics:
        for group in groups:
            if reason := evaluator.unavailable_reason(group):
                note(f"left out {group}: {reason}")
        groups = tuple(group for group in groups if not evaluator.unavailable_reason(group))
    evaluator.choose(groups)
    if generator is None:
        lossy = _lossy(source)
        if lossy and not allow_lossy:
            raise DataError(
                f"{source} holds {lossy}: what JPEG loses moves distances by more than models differ\n"
                "write samples as PNG, or say --allow-lossy, which the protocol tells"
            )
        fakes = resolve.load(catalogue, str(source), size=size)["train"]
        if size is None and fakes.resize != "none":
            raise DataError(f"{source} holds images of several sizes: say --size PIXELS to crop and resize all of them")
        count = min(evaluator.num, len(fakes)) if num is None else num
        if count > len(fakes):
            raise UsageError(f"--num {num}: {source} has {len(fakes)} images")
        _need_equal(fakes.spec.shape, reference)
        if not metrics and count >= KID_LEAST and evaluator.reference_num >= KID_LEAST:
            evaluator.choose(("fid", "kid"))
        what = "lossy files" if lossy else "files"
        return evaluator.measure(dataset_batches(fakes, count), weights=what, seed=None, num=count)
    _need_equal(generator.spec.shape, reference)
    chunks = judged(generator.sampler(seed=evaluation_seed(seed)), generator.spec, evaluator.num)
    return evaluator.measure(chunks, weights=generator.weights, seed=seed)


def _extractor(
    catalogue: Catalogue,
    chosen: str,
    reference: Samples,
    generator: Generator | None,
    weights: Path | None,
    device: torch.device,
    note: Callable[[str], None],
) -> Extractor:
    """The one asked for, else the data's own, else the run's; points need none."""
    if reference.spec.modality == "points" and not chosen:
        return coordinates()
    name = chosen or reference.extractor or (generator.card["extractor"] if generator else "")
    if not name:
        known = ", ".join(entry.name for entry in catalogue.items("extractor"))
        raise ConfigError(f"no extractor judges {reference.name} by default: choose one with --extractor ({known})")
    made = load_extractor(catalogue, name, weights=weights, device=device)
    if made.note:
        note(made.note)
    return made


def _is_images(source: Path) -> bool:
    """Whether a path is data rather than a run or a generator."""
    if source.is_dir():
        return not (source / "card.json").exists()
    return source.suffix.lower() in (".zip", ".npy", ".npz")


def _lossy(source: Path) -> str:
    """The first file of a folder or a zip that was compressed with loss; empty where there is none."""
    if source.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(source) as archive:
                names = archive.namelist()
        except (OSError, zipfile.BadZipFile):
            return ""  # whoever opens it next says so
    else:
        names = [str(path.relative_to(source)) for path in source.rglob("*")] if source.is_dir() else []
    return next((name for name in sorted(names) if name.lower().endswith((".jpg", ".jpeg"))), "")


def _need_equal(shape: tuple[int, ...], reference: Samples) -> None:
    if shape != reference.spec.shape:
        raise ConfigError(
            f"samples of shape {shape} cannot be compared with {reference.name} of shape {reference.spec.shape}"
        )
