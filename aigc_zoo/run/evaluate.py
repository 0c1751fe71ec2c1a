"""`zoo eval`: metrics of a run, a generator file or a folder of images against a dataset."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.data import resolve
from aigc_zoo.data.entries import Wanted, wanted_entries
from aigc_zoo.errors import ConfigError, DataError, UsageError
from aigc_zoo.game import Samples, Spec
from aigc_zoo.metrics.evaluate import SILENT, Evaluator, dataset_batches
from aigc_zoo.metrics.features import Extractor, coordinates, extractor_advice, load_extractor
from aigc_zoo.metrics.kinds import groups_of
from aigc_zoo.metrics.reference import Progress
from aigc_zoo.metrics.shortage import EVALUATION
from aigc_zoo.options import reader_of, references
from aigc_zoo.options.values import flag_of, shown
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.arguments import argument
from aigc_zoo.run.default_metrics import default_metrics
from aigc_zoo.run.evaluation_samples import evaluation_samples, evaluation_seed
from aigc_zoo.run.generator import Generator, load_generator
from aigc_zoo.run.held_out import held_out_split, inputs_of
from aigc_zoo.text import zoo_command

FILES = (".zip", ".npy", ".npz")
"""Suffixes of files with samples."""

Note = Callable[[str], None]


def evaluate(
    catalogue: Catalogue,
    source: Path,
    against: Any = None,
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
    against_options: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = SILENT,
    note: Note = lambda text: None,
) -> list[dict[str, Any]]:
    """Metrics of a run, a generator file or a folder of images, as `zoo eval` documents them, each with its protocol.

    `against` is a name, a path, or data in memory; `against_options` are options of the dataset, over those of the run.
    Raises DataError, ConfigError, UsageError.
    """
    size, num, seed = argument("--size", size), argument("--num", num), argument("--seed", seed)
    groups = groups_of(metrics) if metrics else ()
    generator = None if is_images(catalogue, source) else load_generator(catalogue, source, device=device)
    if generator is not None:  # what its card names means what it meant in training
        catalogue = catalogue.remembering(generator.card)
    splits, size = _load_splits(catalogue, source, generator, against, size, split, against_options)
    for text in splits[split].notes:
        note(text)
    images = (
        None if generator is not None else _own_images(catalogue, source, splits[split].spec, size, allow_lossy, note)
    )
    network = _extractor(catalogue, extractor, splits[split], generator, extractor_weights, device, note)
    held_out = held_out_split(splits) if split == "train" else splits[split]
    advice = EVALUATION if images is None or num is not None else EVALUATION._replace(more="more images")
    settings: dict[str, Any] = {
        "num": num,
        "held_out": held_out,
        "allow_few": allow_few,
        "advice": advice,
        "progress": progress,
    }
    evaluator, memorization = (Evaluator(network, splits[name], metrics=(), **settings) for name in (split, "train"))
    if images is not None:
        evaluator.num = memorization.num = _count(source, len(images[0]), num, evaluator.num)
    evaluator.choose(_measurable(evaluator, groups, note) if "all" in metrics else groups)
    if split != "train" and "memorization" in evaluator.metrics:  # it compares with what was trained on
        memorization.choose(("memorization",))
    if images is not None:
        return _evaluate_images(evaluator, memorization, *images)
    assert generator is not None
    return _evaluate_generator(evaluator, memorization, generator, seed)


def source_of(catalogue: Catalogue, source: Path, best: bool = False) -> Path:
    """The path to evaluate: `source`, or the best generator of that run. Raises DataError if it does not exist."""
    if not source.exists():
        raise DataError(
            f"{source}: no such run, file or folder\n"
            "give a run directory, a generator file, a folder of images or RECIPE@NAME"
        )
    if source.is_file() and source.suffix.lower() not in (".safetensors", "") and not is_images(catalogue, source):
        raise DataError(
            f"{source}: files of type {source.suffix} cannot be evaluated\n"
            f"give a run directory, a folder of images, a .safetensors file, or samples as {', '.join(FILES)}"
        )
    if not best:
        return source
    generator = source / "generator-best.safetensors"
    if not generator.exists():
        raise DataError(
            f"{generator}: no best generator, because the run was not evaluated in training\n"
            "leave out --best to evaluate the final generator"
        )
    return generator


def _load_splits(
    catalogue: Catalogue,
    source: Path,
    generator: Generator | None,
    against: Any,
    size: int | None,
    split: str,
    options: Mapping[str, Any] | None,
) -> tuple[Mapping[str, Samples], int | None]:
    """The splits of the dataset to compare with, by default that of the run, and the size that images are read at."""
    splits: Mapping[str, Samples]
    folders = () if generator is None else generator.card["data"].get("entry") or ()
    wanted = None if generator is None else wanted_entries(generator.recipe, folders)
    if against is not None:
        splits = resolve.load(catalogue, against, size=size, options=options, wanted=wanted)
    elif generator is None:
        raise UsageError(f"{source}: use --against DATA to name the dataset that these images are compared with")
    else:
        against, splits = _load_own(catalogue, source, generator.card["data"], size, options, wanted)
        size = size or generator.card["data"]["size"]
    if split not in splits:
        raise DataError(f"{splits['train'].name} has no split {split!r}; it has {', '.join(splits)} (--split)")
    return splits, size


def _load_own(
    catalogue: Catalogue,
    source: Path,
    data: Mapping[str, Any],
    size: int | None,
    options: Mapping[str, Any] | None,
    wanted: Wanted | None,
) -> tuple[str, Mapping[str, Samples]]:
    """The reference and the splits of the data that a run was trained on. DataError where they are gone or others."""
    reference, read_with = str(data["reference"]), data.get("options") or {}
    against = zoo_command("eval", source, "--against")
    if references.is_path(catalogue, reference) and not references.exists(Path(reference)):
        raise DataError(
            f"{source}: its data {reference} are not there any more\nif they have moved, use {against} PATH"
        )
    splits = resolve.load(
        catalogue,
        reference,
        size=size or data["size"],
        modality=data.get("modality") or "",
        wanted=wanted,
        options={**read_with, **(options or {})},
        skip_bad=len(data.get("skipped") or ()) or None,  # the run left out as many unreadable images of this dataset
    )
    if size not in (None, data["size"]) or options:
        return reference, splits
    if splits["train"].digest != data["digest"]:
        words = [word for key, value in read_with.items() for word in _words(f"against.{key}", value)]
        raise DataError(
            f"{source}: {reference} is not what it was trained on, as the digest of the data differs\n"
            f"to compare with it nevertheless: {zoo_command('eval', source, '--against', reference, *words)}"
        )
    # Equal data that have another name now keep that of the run, which is part of the protocol of its metrics.
    return reference, {name: replace(samples, name=str(data["name"])) for name, samples in splits.items()}


def _words(key: str, value: Any) -> tuple[str, ...]:
    """An option as it is typed."""
    flag = flag_of(key)
    if isinstance(value, bool):
        return (flag if value else f"--no-{flag[2:]}",)
    return flag, shown(value)


def _extractor(
    catalogue: Catalogue,
    requested: str,
    reference: Samples,
    generator: Generator | None,
    weights: Path | None,
    device: torch.device | str,
    note: Note,
) -> Extractor:
    """The extractor requested, else the dataset's own, else the run's; points are their own features."""
    if reference.spec.modality == "points" and not requested:
        return coordinates()
    name = requested or reference.extractor or (generator.card["extractor"] if generator else "")
    if not name:
        advice = extractor_advice(catalogue, reference.spec, "evaluate images or points")
        raise ConfigError(f"{reference.name} has no feature extractor of its own\n{advice}")
    extractor = load_extractor(catalogue, name, weights=weights, device=torch.device(device))
    if extractor.note:
        note(extractor.note)
    return extractor


def _measurable(evaluator: Evaluator, groups: tuple[str, ...], note: Note) -> tuple[str, ...]:
    """The metric groups that can be measured here; `note` receives the reason for each other one."""
    reasons = {group: evaluator.unavailable_reason(group) or evaluator.shortage(group) for group in groups}
    for group, reason in reasons.items():
        if reason:
            note(f"left out {group}: {reason.splitlines()[0]}")
    return tuple(group for group, reason in reasons.items() if not reason)


def _score(
    evaluator: Evaluator, memorization: Evaluator, chunks: Iterable[Tensor], num: int, weights: str, seed: int | None
) -> list[dict[str, Any]]:
    """The metrics of `evaluator`; where `memorization` has a metric, it measures that one, against the training split.

    A held-out split is as near to itself as can be, so it says nothing about memorization of training samples.
    """
    features = evaluator.extract_features(chunks, num)
    records = memorization.score(features, weights=weights, seed=seed)
    evaluator.choose(tuple(group for group in evaluator.metrics if group not in memorization.metrics))
    return evaluator.score(features, weights=weights, seed=seed) + records


def _evaluate_generator(
    evaluator: Evaluator, memorization: Evaluator, generator: Generator, seed: int
) -> list[dict[str, Any]]:
    if not evaluator.metrics:
        evaluator.choose(default_metrics("evaluation", evaluator))
    _check_shape(generator.spec.shape, evaluator.reference)
    inputs = inputs_of(generator.recipe, evaluator.reference, evaluator.extractor.device)
    chunks = evaluation_samples(
        generator.sampler(seed=evaluation_seed(seed), inputs=inputs), evaluator.reference, evaluator.num
    )
    return _score(evaluator, memorization, chunks, evaluator.num, generator.weights, seed)


def _own_images(
    catalogue: Catalogue, source: Path, like: Spec, size: int | None, allow_lossy: bool, note: Note
) -> tuple[Samples, str]:
    """The samples of a folder or an archive, read like those that they are compared with, and whether they are lossy.

    Raises DataError.
    """
    lossy = _lossy(source)
    if lossy and not allow_lossy:
        raise DataError(
            f"{source} holds {lossy}: JPEG compression changes distances by more than models differ\n"
            "write samples as PNG, or use --allow-lossy, which the protocol records"
        )
    own = os.path.join(".", source)
    fakes = resolve.load(catalogue, own, size=size, modality=like.modality, like=like)["train"]
    for text in fakes.notes:
        note(text)
    if size is None and fakes.resize != "none":
        raise DataError(f"{source} holds images of several sizes: use --size PIXELS to crop and resize all of them")
    return fakes, "lossy files" if lossy else "files"


def _count(source: Path, available: int, requested: int | None, usual: int) -> int:
    """The number of images to evaluate, by default all of them up to the usual number of samples."""
    if requested is not None and requested > available:
        raise UsageError(f"--num {requested}: {source} has {available} images")
    return requested or min(usual, available)


def _evaluate_images(
    evaluator: Evaluator, memorization: Evaluator, fakes: Samples, weights: str
) -> list[dict[str, Any]]:
    _check_shape(fakes.spec.shape, evaluator.reference)
    if not evaluator.metrics:
        evaluator.choose(default_metrics("evaluation", evaluator))
    return _score(evaluator, memorization, dataset_batches(fakes, evaluator.num), evaluator.num, weights, None)


def is_images(catalogue: Catalogue, source: Path) -> bool:
    """True for a path to data, False for a run or a generator file."""
    if source.is_dir():
        return not (source / "card.json").exists()
    return source.suffix.lower() in FILES or reader_of(catalogue, str(source)) is not None


def _lossy(source: Path) -> str:
    """The first JPEG file of a folder or a zip; "" where there is none."""
    if source.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(source) as archive:
                names = archive.namelist()
        except (OSError, zipfile.BadZipFile):
            return ""  # resolve.load reports it
    else:
        names = [str(path.relative_to(source)) for path in source.rglob("*")] if source.is_dir() else []
    return next((name for name in sorted(names) if name.lower().endswith((".jpg", ".jpeg"))), "")


def _check_shape(shape: tuple[int, ...], reference: Samples) -> None:
    if shape != reference.spec.shape:
        raise ConfigError(
            f"samples of shape {shape} cannot be compared with {reference.name} of shape {reference.spec.shape}"
        )
