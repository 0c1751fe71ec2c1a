"""Checks of datasets: their batches match what they state. Nothing is downloaded."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr
from pathlib import Path

import torch
from torch import Tensor

from aigc_zoo.data.pool import Pool
from aigc_zoo.data.resolve import where
from aigc_zoo.errors import ConfigError, DataError, StorageError
from aigc_zoo.game import Samples, Spec
from aigc_zoo.testing.assertions import equal, offline, require, require_finite
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.fixtures import target_of
from aigc_zoo.testing.subjects import ComponentSubject

ABSENT = "its files are not on this machine: only its error message is checked"
LARGE = 100 << 20
"""Bytes above which a dataset is not read a second time."""


def _splits(subject: ComponentSubject) -> Mapping[str, Samples] | None:
    """The splits, read once; None if its files are not on this machine."""
    if "splits" not in subject.cache:
        subject.cache["splits"] = _read(subject, where(subject.entry.name, subject.entry.namespace))
    return subject.cache["splits"]  # type: ignore[return-value]


def _read(subject: ComponentSubject, directory: Path) -> Mapping[str, Samples] | None:
    target = target_of(subject)
    with offline(), redirect_stderr(io.StringIO()), tempfile.TemporaryDirectory(prefix="zoo-check-") as empty:
        place = directory if directory.is_dir() else Path(empty) / subject.entry.name
        try:
            splits = target(place)
        except (DataError, StorageError) as error:
            lines = len(str(error).splitlines())
            require(lines <= 3, f"the error message for missing files has more than three lines: {error}")
            # An empty hidden file is a lock, which cannot be mistaken for data.
            files = (path for path in Path(empty).rglob("*") if path.is_file())
            left = [path.name for path in files if path.stat().st_size or not path.name.startswith(".")]
            require(not left, f"a failed download leaves {', '.join(left)}")
            return None
        except (ConfigError, OSError) as error:
            raise CheckFailed(
                f"without its files it fails ({error}): raise DataError or use aigc_zoo.data.download"
            ) from error
    require(isinstance(splits, Mapping), f"it returns a {type(splits).__name__}, not a mapping of splits")
    return splits  # type: ignore[no-any-return]


@check("T-SPLITS", needs="cpu", kinds=("dataset",))
def has_splits(subject: ComponentSubject) -> str | None:
    """It returns a mapping from split to game.Samples with a split "train", and the fields of a group have equal
    lengths.
    """
    splits = _splits(subject)
    if splits is None:
        return ABSENT
    require("train" in splits, f"it has no split train, only {', '.join(splits) or 'none'}")
    for name, samples in splits.items():
        require(isinstance(samples, Samples), f"split {name} is a {type(samples).__name__}, not a game.Samples")
        require(samples.split == name, f"split {name} has the name {samples.split}")
        for group in samples.groups:
            lengths = {len(samples.fields[field]) for field in group}
            require(
                len(lengths) == 1 and min(lengths) > 0,
                f"the fields {', '.join(group)} of {name} have lengths {lengths}",
            )
    return f"{', '.join(f'{name} {len(samples):,}' for name, samples in splits.items())}"


@check("T-BATCH", needs="cpu", kinds=("dataset",))
def batches_match_the_spec(subject: ComponentSubject) -> str | None:
    """Decoded samples are finite and have the shape, range and dtype of `spec`, and so have the entries that
    `spec.entries` describes; labels are one-hot.
    """
    splits = _splits(subject)
    if splits is None:
        return ABSENT
    for samples in splits.values():
        spec, batch = samples.spec, Pool(samples, "cpu").batch(0, 0, min(64, len(samples)))
        fitting = (name for name, value in batch.items() if value.shape[1:] == spec.shape)
        _require_spec(samples.split, "samples", spec, batch["real" if "real" in batch else next(fitting)])
        for name, entry in spec.entries.items():
            require(name in batch, f"spec.entries describes {name}, which decode does not return")
            _require_spec(samples.split, name, entry, batch[name])
        if spec.classes:
            _require_labels(samples, batch.get("label"))
    return None


def _require_spec(split: str, name: str, spec: Spec, values: Tensor) -> None:
    """Raises CheckFailed unless the values of an entry have the shape, dtype and range of its spec."""
    require(values.shape[1:] == spec.shape, f"{name} have shape {tuple(values.shape[1:])}, but spec.shape {spec.shape}")
    require(str(values.dtype) == f"torch.{spec.dtype}", f"{name} are {values.dtype}, but spec.dtype {spec.dtype}")
    if values.is_floating_point():
        require_finite(values, f"{name} of {split}")
    if spec.range is not None:
        low, high = spec.range
        inside = values.min() >= low and values.max() <= high
        require(inside, f"{name} span {values.min()} to {values.max()}, but spec.range is {spec.range}")


def _require_labels(samples: Samples, label: Tensor | None) -> None:
    """Raises CheckFailed unless labels are one-hot, and class names and frequencies fit their number."""
    classes = samples.spec.classes
    if label is None or label.shape[1:] != (classes,):
        raise CheckFailed(f"it has {classes} classes, but its labels are not one-hot")
    require(((label == 0) | (label == 1)).all() and (label.sum(1) == 1).all(), "labels are not one-hot")
    require(len(samples.classes) == classes, f"it has {len(samples.classes)} class names for {classes} classes")
    total = sum(samples.frequencies)
    require(abs(total - 1) < 1e-6, f"its class frequencies sum to {total}")


@check("T-SAME", needs="cpu", kinds=("dataset",))
def is_deterministic(subject: ComponentSubject) -> str | None:
    """Read again with another seed, it has the same digests and samples; the digests of its splits differ."""
    splits = _splits(subject)
    if splits is None:
        return ABSENT
    digests = {samples.digest for samples in splits.values()}
    require(len(digests) == len(splits), "two of its splits have the same digest")
    if sum(field.nbytes for samples in splits.values() for field in samples.fields.values()) > LARGE:
        return "it is large and not read a second time"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        again = _read(subject, where(subject.entry.name, subject.entry.namespace))
    assert again is not None
    for name, samples in splits.items():
        require(samples.digest == again[name].digest, f"its split {name} has another digest each time it is read")
        for field, value in samples.fields.items():
            unchanged = equal(value[:64], again[name].fields[field][:64])
            require(unchanged, f"its split {name} has other samples each time it is read")
    return None
