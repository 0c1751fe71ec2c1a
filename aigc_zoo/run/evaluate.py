"""`zoo eval`: metrics of a run, a generator file or a folder of samples against a dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from aigc_zoo.data import resolve
from aigc_zoo.data.channels import with_channels_of
from aigc_zoo.data.entries import wanted_entries
from aigc_zoo.data.lossy import lossy_file
from aigc_zoo.data.modalities import kinds
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.errors import ConfigError, DataError, UsageError
from aigc_zoo.game import Samples
from aigc_zoo.metrics.choice import choose_extractor, coarse_note, nothing_measured
from aigc_zoo.metrics.evaluate import REFERENCE_NUM, SILENT, Evaluator, HasEntry, dataset_batches
from aigc_zoo.metrics.features import Extractor
from aigc_zoo.metrics.generated import Generated
from aigc_zoo.metrics.known import MORE_SAMPLES, Metrics, installed
from aigc_zoo.metrics.reference import Progress
from aigc_zoo.options import reader_of
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.arguments import argument
from aigc_zoo.run.default_metrics import evaluation_metrics
from aigc_zoo.run.evaluation_samples import entries_of, evaluation_seed, generated_samples
from aigc_zoo.run.generator import Generator, load_generator
from aigc_zoo.run.held_out import held_out_split, inputs_of
from aigc_zoo.run.own_data import own_splits
from aigc_zoo.run.shared_extractor import marked, warning

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
    """Metrics of a run, a generator file or a folder of samples, as `zoo eval` documents them, each with its protocol.

    `against` is a name, a path, or data in memory; `against_options` are options of the dataset, over those of the run.
    Without `metrics`: FID, and KID from 1,000 samples on; modes of points; variance ratio and near-duplicates of images
    that have no extractor. Raises DataError, ConfigError, UsageError.
    """
    size, num, seed = argument("--size", size), argument("--num", num), argument("--seed", seed)
    generator = None if is_images(catalogue, source) else load_generator(catalogue, source, device=device)
    if generator is not None:  # what its card names means what it meant in training
        catalogue = catalogue.remembering(generator.card)
    splits, size = _load_splits(catalogue, source, generator, against, size, split, against_options)
    for text in splits[split].notes:
        note(text)
    files = None if generator else _load_images(catalogue, source, splits[split], size, num, allow_lossy, note)
    sampler = None if generator is None else _sampler(generator, splits[split], seed, torch.device(device))
    known = installed(catalogue)
    names = known.named(metrics, splits[split].spec) if metrics else ()
    name = extractor or splits[split].extractor or (generator.card["extractor"] if generator else "")
    network = choose_extractor(catalogue, splits[split], name, weights=extractor_weights, device=device)
    if network is not None and (text := coarse_note(network, bool(metrics))):
        note(text)
    evaluators = _evaluators(
        network, splits, split, num=num, available=len(files[0]) if files else None, few=allow_few, progress=progress,
        has_entry=_has_entry(sampler, splits[split]), installed=known,
    )  # fmt: skip
    names = _measurable(source, evaluators[0], names, note) if "all" in metrics else names
    _choose(*evaluators, names)
    # One of all metrics whose plugin fails is left out; one that was named is an error.
    failed = (
        (lambda name, error: note(f"left out {name}: {' '.join(str(error).split())}")) if "all" in metrics else None
    )
    if sampler is None:
        assert files is not None
        samples, weights = files
        chunks = evaluators[0].generated(lambda: ({"fake": one} for one in dataset_batches(samples, evaluators[0].num)))
        return _score(*evaluators, chunks, weights, None, failed)
    assert generator is not None
    if text := warning((one.id for each in evaluators for one in each.extractors), generator.card):
        note(text)
    records = _score(*evaluators, generated_samples(sampler, *evaluators), generator.weights, seed, failed)
    return marked(records, generator.card)


def source_of(catalogue: Catalogue, source: Path, best: bool = False) -> Path:
    """The path to evaluate: `source`, or the best generator of that run. Raises DataError if it does not exist."""
    if not source.exists():
        raise DataError(
            f"{source}: no such run, file or folder\n"
            "give a run directory, a generator file, a folder of samples or RECIPE@NAME"
        )
    if source.is_file() and source.suffix.lower() not in (".safetensors", "") and not is_images(catalogue, source):
        raise DataError(
            f"{source}: files of type {source.suffix} cannot be evaluated\n"
            f"give a run directory, a folder of samples, a .safetensors file, or samples as {', '.join(FILES)}"
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
    network: Extractor | None,
    splits: Mapping[str, Samples],
    split: str,
    *,
    num: int | None,
    available: int | None,
    few: bool,
    progress: Progress,
    has_entry: HasEntry,
    installed: Metrics,
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
            available=available, more=more, progress=progress, has_entry=has_entry, installed=installed,
        )
        for name, count in ((split, None), ("train", REFERENCE_NUM))
    )  # fmt: skip
    return first, second


def _choose(evaluator: Evaluator, memorization: Evaluator, names: tuple[str, ...]) -> None:
    """Set the metrics of both evaluators, by default those of an evaluation. Raises ConfigError, DataError."""
    names = names or evaluation_metrics(evaluator)
    if not names:
        raise ConfigError(nothing_measured(evaluator.reference))
    evaluator.choose(names)
    compared = tuple(name for name in names if "held_out" in evaluator.installed.find(name).metric.needs)
    memorization.choose(compared)
    evaluator.choose(tuple(name for name in names if name not in compared))


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


def _sampler(generator: Generator, reference: Samples, seed: int, device: torch.device) -> Sampler:
    """The sampler of what is evaluated, from inputs of the split that it is compared with."""
    _check_shape(generator.spec.shape, reference)
    inputs = inputs_of(generator.recipe, reference, device)
    return generator.sampler(seed=evaluation_seed(seed), inputs=inputs)


def _has_entry(sampler: Sampler | None, reference: Samples) -> HasEntry:
    if sampler is None:
        return lambda name: False  # samples in files come alone
    return entries_of(sampler.recipe, reference, lambda: sampler)


def _measurable(source: Path, evaluator: Evaluator, groups: tuple[str, ...], note: Note) -> tuple[str, ...]:
    """Those of the metrics that can be measured here; `note` receives the reasons for the others."""
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
    evaluator: Evaluator,
    memorization: Evaluator,
    generated: Generated,
    weights: str,
    seed: int | None,
    failed: Callable[[str, ConfigError], None] | None,
) -> list[dict[str, Any]]:
    """The metrics of both evaluators."""
    how: dict[str, Any] = {"weights": weights, "seed": seed, "failed": failed}
    return [record for one in (evaluator, memorization) for record in one.score(generated, **how)]


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
