"""Opens the dataset at a path: a folder or a zip of files, a file of samples, .npy, .npz or IDX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from aigc_zoo.data import arrays, entries, files, idx
from aigc_zoo.data.download import Progress
from aigc_zoo.data.entries import Wanted
from aigc_zoo.data.kinds import Kinds
from aigc_zoo.data.samples import digest_of
from aigc_zoo.errors import DataError, StorageError
from aigc_zoo.game import Samples
from aigc_zoo.modality import Modality


def open_path(
    path: Path,
    kinds: Kinds,
    *,
    wanted: Wanted | None = None,
    progress: Progress | None = None,
    skip_bad: int | None = None,
) -> dict[str, Samples]:
    """The splits of the dataset at `path`, "train" among them, with the `wanted` entries where there are several.

    Up to `skip_bad` files that cannot be read are left out and recorded.

    Raises DataError for files that are missing, damaged or of an unknown format, StorageError for a lack of permission.
    """
    try:
        suffix = "" if path.is_dir() else path.suffix.lower()
        if suffix in (".zip", *kinds.suffixes) or (path.is_dir() and not idx.standard_files(path)):
            if wanted is not None:
                return entries.open_entries(path, kinds, wanted, progress=progress, skip_bad=skip_bad)
            return files.open_files(path, kinds, progress=progress, skip_bad=skip_bad)
        if suffix in (".npy", ".npz"):
            splits = arrays.open_arrays(path, kinds)
        elif path.is_dir() or idx.is_idx(path):
            splits = idx.open_idx(path, kinds)
        else:
            known = ", ".join((*kinds.suffixes, ".npy", ".npz"))
            raise DataError(f"{path} has no format that can be read: use a folder, a .zip, IDX, {known}")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename or path}: there is no such file or folder") from error
    except OSError as error:
        raise StorageError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
    return resized(splits, kinds.of, kinds.options.get("size"))


def resized(splits: Mapping[str, Samples], modalities: Mapping[str, Modality], size: int | None) -> dict[str, Samples]:
    """The splits with sides of `size`, resized as files are. Raises DataError for samples without a size."""
    return {
        split: samples if size is None else _resized(samples, modalities[samples.spec.modality], size)
        for split, samples in splits.items()
    }


def _resized(samples: Samples, modality: Modality, size: int) -> Samples:
    if samples.spec.shape[1:] == (size, size):
        return samples
    try:
        rows = modality.resize(samples.fields["real"], size)
    except ValueError as error:
        raise DataError(f"--size {size}: {samples.name}: {error}: leave the option out") from error
    fields = {**samples.fields, "real": rows}
    spec = replace(samples.spec, shape=tuple(rows.shape[1:]))
    changed = f"{modality.resizing} to {size}x{size}"
    return replace(samples, fields=fields, spec=spec, digest=digest_of(fields), extractor="", resize=changed)
