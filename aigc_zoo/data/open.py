"""Opens the dataset at a path: a folder or a zip of images, .npy, .npz or IDX."""

from __future__ import annotations

from pathlib import Path

from aigc_zoo.data import arrays, idx, images
from aigc_zoo.data.download import Progress
from aigc_zoo.errors import DataError, StorageError
from aigc_zoo.game import Samples


def open_path(
    path: Path, *, size: int | None = None, progress: Progress | None = None, skip_bad: int = 0
) -> dict[str, Samples]:
    """The splits of the dataset at `path`, "train" among them; images become squares of `size` pixels if it is given.

    Up to `skip_bad` image files that cannot be read are left out and recorded.

    Raises DataError for files that are missing, damaged or of an unknown format, StorageError for a lack of permission.
    """
    try:
        kind = "folder" if path.is_dir() else path.suffix.lower()
        if kind == ".zip" or (kind == "folder" and not idx.standard_files(path)):
            return images.open_images(path, size=size, progress=progress, skip_bad=skip_bad)
        if kind in (".npy", ".npz"):
            splits = arrays.open_arrays(path)
        elif kind == "folder" or idx.is_idx(path):
            splits = idx.open_idx(path)
        else:
            raise DataError(f"{path} has no format that can be read: use a folder or .zip of images, .npy, .npz or IDX")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename or path}: there is no such file or folder") from error
    except OSError as error:
        raise StorageError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
    return splits if size is None else {split: images.resized(samples, size) for split, samples in splits.items()}
