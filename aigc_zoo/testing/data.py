"""Checks of datasets: what they say of themselves is what their batches are. Nothing is downloaded."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch

from aigc_zoo.data.pool import Pool
from aigc_zoo.data.resolve import where
from aigc_zoo.errors import ConfigError, DataError, StorageError
from aigc_zoo.game import Samples
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.probes import need, need_finite, offline, same, target_of
from aigc_zoo.testing.subjects import Part

ABSENT = "its files are not on this machine: checked is how it says so"


def _splits(part: Part) -> Mapping[str, Samples] | None:
    """The splits, read once; None where its files are not here."""
    if "splits" not in part.cache:
        part.cache["splits"] = _read(part, where(part.entry.name))
    return part.cache["splits"]  # type: ignore[return-value]


def _read(part: Part, folder: Path) -> Mapping[str, Samples] | None:
    target = target_of(part)
    with offline(), redirect_stderr(io.StringIO()), tempfile.TemporaryDirectory(prefix="zoo-check-") as empty:
        place = folder if folder.is_dir() else Path(empty) / part.entry.name
        try:
            found = target(place)
        except (DataError, StorageError) as error:
            need(
                len(str(error).splitlines()) <= 3,
                f"that its files are missing is told in more than three lines: {error}",
            )
            # An empty hidden file is a lock: it holds nothing that anyone could take for data.
            files = (path for path in Path(empty).rglob("*") if path.is_file())
            left = [path.name for path in files if path.stat().st_size or not path.name.startswith(".")]
            need(not left, f"a download that failed leaves {', '.join(left)}")
            return None
        except (ConfigError, OSError) as error:
            raise CheckFailed(
                f"without its files it fails ({error}): raise DataError or use aigc_zoo.data.download"
            ) from error
    need(isinstance(found, Mapping), f"it returns a {type(found).__name__}, not a mapping of splits")
    return found  # type: ignore[no-any-return]


@check("T-SPLITS", needs="cpu", kinds=("dataset",))
def has_splits(part: Part) -> str | None:
    """A mapping from split to game.Samples, "train" among them, with fields of equal length in each group."""
    splits = _splits(part)
    if splits is None:
        return ABSENT
    need("train" in splits, f"it has no split train, only {', '.join(splits) or 'none'}")
    for name, samples in splits.items():
        need(isinstance(samples, Samples), f"split {name} is a {type(samples).__name__}, not a game.Samples")
        need(samples.split == name, f"split {name} calls itself {samples.split}")
        for group in samples.groups:
            lengths = {len(samples.fields[field]) for field in group}
            need(
                len(lengths) == 1 and min(lengths) > 0,
                f"the fields {', '.join(group)} of {name} have lengths {lengths}",
            )
    return f"{', '.join(f'{name} {len(samples):,}' for name, samples in splits.items())}"


@check("T-BATCH", needs="cpu", kinds=("dataset",))
def batches_are_as_stated(part: Part) -> str | None:
    """Decoded samples have the shape, the range and the type of `spec`, labels are one-hot, and all is finite."""
    splits = _splits(part)
    if splits is None:
        return ABSENT
    for samples in splits.values():
        spec, batch = samples.spec, Pool(samples, "cpu").batch(0, 0, min(64, len(samples)))
        entry = (
            "real" if "real" in batch else next(name for name, value in batch.items() if value.shape[1:] == spec.shape)
        )
        real = batch[entry]
        need(real.shape[1:] == spec.shape, f"samples have shape {tuple(real.shape[1:])}, spec says {spec.shape}")
        need(str(real.dtype) == f"torch.{spec.dtype}", f"samples are {real.dtype}, spec says {spec.dtype}")
        if real.is_floating_point():
            need_finite(real, f"a sample of {samples.split}")
        if spec.range is not None:
            low, high = spec.range
            need(
                real.min() >= low and real.max() <= high,
                f"samples reach from {real.min()} to {real.max()}, not {spec.range}",
            )
        if spec.classes:
            label: Any = batch.get("label")
            need(
                label is not None and label.shape[1:] == (spec.classes,),
                f"{spec.classes} classes, but no one-hot labels",
            )
            need(((label == 0) | (label == 1)).all() and (label.sum(1) == 1).all(), "labels are not one-hot")
            need(len(samples.classes) == spec.classes, f"{len(samples.classes)} names for {spec.classes} classes")
            need(
                abs(sum(samples.frequencies) - 1) < 1e-6,
                f"frequencies of the classes sum to {sum(samples.frequencies)}",
            )
    return None


@check("T-SAME", needs="cpu", kinds=("dataset",))
def is_the_same_each_time(part: Part) -> str | None:
    """Read again under another seed its digests and samples are the same, and those of its splits differ."""
    splits = _splits(part)
    if splits is None:
        return ABSENT
    if sum(field.nbytes for samples in splits.values() for field in samples.fields.values()) > MUCH:
        digests = {name: samples.digest for name, samples in splits.items()}
        need(len(set(digests.values())) == len(digests), "two of its splits have one digest")
        return "it is large: not read a second time"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        again = _read(part, where(part.entry.name))
    assert again is not None
    for name, samples in splits.items():
        need(samples.digest == again[name].digest, f"its split {name} has another digest each time it is read")
        for field, value in samples.fields.items():
            need(same(value[:64], again[name].fields[field][:64]), f"its split {name} is another each time it is read")
    need(len({samples.digest for samples in splits.values()}) == len(splits), "two of its splits have one digest")
    return None


MUCH = 100 << 20
