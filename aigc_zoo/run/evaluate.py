"""`zoo eval`: metrics of a run, a generator file or a folder of images against a dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.data import resolve
from aigc_zoo.data.channels import with_channels_of
from aigc_zoo.data.entries import wanted_entries
from aigc_zoo.data.lossy import lossy_file
from aigc_zoo.data.modalities import kinds
from aigc_zoo.errors import ConfigError, DataError, UsageError
from aigc_zoo.game import Samples
from aigc_zoo.metrics.evaluate import REFERENCE_NUM, SILENT, Evaluator, dataset_batches
from aigc_zoo.metrics.features import Extractor, load_extractor
from aigc_zoo.metrics.kinds import MORE_SAMPLES, groups_of
from aigc_zoo.metrics.own_features import PIXELS, no_features, own_features
from aigc_zoo.metrics.reference import Progress
from aigc_zoo.options import reader_of
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.arguments import argument
from aigc_zoo.run.default_metrics import default_metrics
from aigc_zoo.run.evaluation_samples import evaluation_samples, evaluation_seed, require_memory
from aigc_zoo.run.generator import Generator, load_generator
from aigc_zoo.run.held_out import held_out_split, inputs_of
from aigc_zoo.run.own_data import own_splits

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
    Without `metrics`: FID, and KID from 1,000 samples on; modes of points; variance ratio and near-duplicates of images
    that have no extractor. Raises DataError, ConfigError, UsageError.
    """
    size, num, seed = argument("--size", size), argument("--num", num), argument("--seed", seed)
    groups = groups_of(metrics) if metrics else ()
    generator = None if is_images(catalogue, source) else load_generator(catalogue, source, device=device)
    if generator is not None:  # what its card names means what it meant in training
        catalogue = catalogue.remembering(generator.card)
    splits, size = _load_splits(catalogue, source, generator, against, size, split, against_options)
    for text in splits[split].notes:
        note(text)
    files = None if generator else _load_images(catalogue, source, splits[split], size, num, allow_lossy, note)
    network = _extractor(catalogue, extractor, splits[split], generator, extractor_weights, device)
    if network.note and not (network.groups and metrics):
        note(f"{PIXELS if network.groups else ''}{network.note}")
    available = len(files[0]) if files else None
    evaluators = _evaluators(network, splits, split, num=num, available=available, few=allow_few, progress=progress)
    groups = _measurable(source, evaluators[0], groups, note) if "all" in metrics else groups
    _choose(*evaluators, groups)
    if files:
        return _score(*evaluators, dataset_batches(files[0], evaluators[0].num), files[1], None)
    assert generator is not None
    return _evaluate_generator(*evaluators, generator, seed)


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


def _evaluators(
    network: Extractor,
    splits: Mapping[str, Samples],
    split: str,
    *,
    num: int | None,
    available: int | None,
    few: bool,
    progress: Progress,
) -> tuple[Evaluator, Evaluator]:
    """One evaluator for the split, and one for memorization, which compares with all of the training split.

    A held-out split is as near to itself as can be, so it says nothing about memorization of training samples.
    """
    all_used = available is not None and num in (None, available)
    more = "use more images" if all_used else MORE_SAMPLES
    held_out = held_out_split(splits) if split == "train" else splits[split]
    first, second = (
        Evaluator(
            network, splits[name], metrics=(), num=num, reference_num=count, held_out=held_out, allow_few=few,
            available=available, more=more, progress=progress,
        )
        for name, count in ((split, None), ("train", REFERENCE_NUM))
    )  # fmt: skip
    return first, second


def _choose(evaluator: Evaluator, memorization: Evaluator, groups: tuple[str, ...]) -> None:
    """Set the metric groups of both evaluators, by default those of an evaluation. Raises ConfigError, DataError."""
    groups = groups or default_metrics("evaluation", evaluator)
    evaluator.choose(groups)
    memorization.choose(tuple(group for group in groups if group == "memorization"))
    evaluator.choose(tuple(group for group in groups if group != "memorization"))


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
        command = "eval", "against"
        own = generator.card["data"]
        against, splits = own_splits(catalogue, source, own, wanted, command, size=size, options=options)
        size = size or generator.card["data"]["size"]
    if split not in splits:
        raise DataError(f"{splits['train'].name} has no split {split!r}; it has {', '.join(splits)} (--split)")
    return splits, size


def _extractor(
    catalogue: Catalogue,
    requested: str,
    reference: Samples,
    generator: Generator | None,
    weights: Path | None,
    device: torch.device | str,
) -> Extractor:
    """The extractor requested, else the dataset's own, else the run's; without any, points or pixels themselves."""
    name = requested or reference.extractor or (generator.card["extractor"] if generator else "")
    own = None if name else own_features(catalogue, reference, weights)
    if not name and own is None:
        raise ConfigError(no_features(reference, "evaluate images or points"))
    return own or load_extractor(catalogue, name, weights=weights, device=torch.device(device))


def _measurable(source: Path, evaluator: Evaluator, groups: tuple[str, ...], note: Note) -> tuple[str, ...]:
    """The metric groups that can be measured here; `note` receives the reasons for the others."""
    short = {group: evaluator.shortage(group) or ("", "") for group in groups}
    reasons = {group: evaluator.unavailable_reason(group) or short[group][0] for group in groups}
    found = tuple(group for group, reason in reasons.items() if not reason)
    for reason in dict.fromkeys(filter(None, reasons.values())):
        note(f"left out {', '.join(group for group in groups if reasons[group] == reason)}: {reason}")
    if not found:
        fixes = (fix for group, (reason, fix) in short.items() if reason and reason == reasons[group])
        fix = next(fixes, "choose another extractor with --extractor")
        raise DataError(f"{source}: none of these metrics can be measured\n{fix}")
    return found


def _score(
    evaluator: Evaluator, memorization: Evaluator, chunks: Iterable[Tensor], weights: str, seed: int | None
) -> list[dict[str, Any]]:
    """The metrics of both evaluators."""
    features = evaluator.extract_features(chunks)
    return [record for one in (evaluator, memorization) for record in one.score(features, weights=weights, seed=seed)]


def _evaluate_generator(
    evaluator: Evaluator, memorization: Evaluator, generator: Generator, seed: int
) -> list[dict[str, Any]]:
    _check_shape(generator.spec.shape, evaluator.reference)
    require_memory(evaluator)
    inputs = inputs_of(generator.recipe, evaluator.reference, evaluator.extractor.device)
    chunks = evaluation_samples(
        generator.sampler(seed=evaluation_seed(seed), inputs=inputs), evaluator.reference, evaluator.num
    )
    return _score(evaluator, memorization, chunks, generator.weights, seed)


def _load_images(
    catalogue: Catalogue,
    source: Path,
    reference: Samples,
    size: int | None,
    num: int | None,
    allow_lossy: bool,
    note: Note,
) -> tuple[Samples, str]:
    """The samples of a folder or an archive, read like those of the reference, and their `weights` for the protocol.

    Raises DataError, UsageError, ConfigError.
    """
    lossy, kind = lossy_file(source, kinds(catalogue))
    if lossy and not allow_lossy:
        raise DataError(
            f"{source} holds {lossy} ({kind}): lossy compression changes distances by more than models differ\n"
            "write samples as PNG, or use --allow-lossy, which the protocol records"
        )
    own = os.path.join(".", source)
    like = reference.spec
    fakes = resolve.load(catalogue, own, size=size, modality=like.modality, like=like)["train"]
    for text in fakes.notes:
        note(text)
    if size is None and fakes.resize != "none":
        raise DataError(f"{source} holds images of several sizes: use --size PIXELS to crop and resize all of them")
    if num is not None and num > len(fakes):
        raise UsageError(f"--num {num}: {source} has {len(fakes)} image{'' if len(fakes) == 1 else 's'}")
    fakes = with_channels_of(fakes, reference)
    _check_shape(fakes.spec.shape, reference)
    return fakes, "lossy files" if lossy else "files"


def is_images(catalogue: Catalogue, source: Path) -> bool:
    """True for a path to data, False for a run or a generator file."""
    if source.is_dir():
        return not (source / "card.json").exists()
    return source.suffix.lower() in FILES or reader_of(catalogue, str(source)) is not None


def _check_shape(shape: tuple[int, ...], reference: Samples) -> None:
    wanted = reference.spec.shape
    if shape == wanted:
        return
    got, known = ("x".join(map(str, sides)) for sides in (shape, wanted))
    grey = shape[1:] == wanted[1:] and shape[0] > wanted[0] == 1
    fix = f"{'save them in grey, or ' if grey else ''}choose other data with --against"
    if len(shape) == len(wanted) == 3 and shape[1:] != wanted[1:]:
        fix = f"pass --size PIXELS, or {fix}"
    raise ConfigError(f"samples of {got} cannot be compared with {reference.name} of {known}\n{fix}")
