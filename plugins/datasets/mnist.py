"""MNIST (LeCun, Cortes and Burges, 1998) and Fashion-MNIST, which has the same format: four IDX files each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from aigc_zoo.data.download import fetch
from aigc_zoo.data.idx import read_idx
from aigc_zoo.data.samples import image_samples
from aigc_zoo.errors import DataError, StorageError
from aigc_zoo.game import Samples

COUNTS = {"train": 60_000, "test": 10_000}


class Published(NamedTuple):
    """Download locations of four files, tried in order, and their SHA-256 and size in bytes by name.

    `unpacked` says that the checksums are those of the unpacked content: mirrors of MNIST compress the same bytes to
    different gzip files, and files in `$ZOO_DATA` may not be compressed at all.
    """

    mirrors: tuple[str, ...]
    files: Mapping[str, tuple[str, int]]
    unpacked: bool


MNIST = Published(
    (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    {
        "train-images-idx3-ubyte": ("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 12_000_000),
        "train-labels-idx1-ubyte": ("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 100_000),
        "t10k-images-idx3-ubyte": ("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 3_000_000),
        "t10k-labels-idx1-ubyte": ("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 100_000),
    },
    unpacked=True,
)

# The published checksums are those of the compressed files; existing files are validated by their shapes.
FASHION = Published(
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
    ),
    {
        "train-images-idx3-ubyte": ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26_421_880),
        "train-labels-idx1-ubyte": ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 29_515),
        "t10k-images-idx3-ubyte": ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4_422_102),
        "t10k-labels-idx1-ubyte": ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 5_148),
    },
    unpacked=False,
)

CLOTHES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip


def mnist(where: Path) -> Mapping[str, Samples]:
    """Handwritten digits (N, 1, 28, 28) uint8, in the order of the original files, whose SHA-256 is verified."""
    return _splits("mnist", where, MNIST, tuple(str(digit) for digit in range(10)))


def fashion_mnist(where: Path) -> Mapping[str, Samples]:
    """Images of clothes (N, 1, 28, 28) uint8 (Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747)."""
    return _splits("fashion-mnist", where, FASHION, CLOTHES)


def _splits(name: str, where: Path, published: Published, classes: tuple[str, ...]) -> dict[str, Samples]:
    splits = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images = _read(where, published, f"{prefix}-images-idx3-ubyte", (COUNTS[split], 28, 28))
        labels = _read(where, published, f"{prefix}-labels-idx1-ubyte", (COUNTS[split],))
        # The grey extractor was trained on digits, but also separates clothes well enough to monitor a run.
        splits[split] = image_samples(
            name, split, images[:, None], labels.to(torch.int64), classes, extractor="zoo-grey28"
        )
    return splits


def _read(where: Path, published: Published, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    path = _file(where, published, name)
    values = read_idx(path, f"sha256:{published.files[name][0]}" if published.unpacked else "")
    if values.dtype != "uint8" or values.shape != shape:
        raise DataError(
            f"{path} holds {values.dtype} of shape {values.shape}, not uint8 of {shape}\nreplace or remove it"
        )
    return torch.from_numpy(values)


def _file(where: Path, published: Published, name: str) -> Path:
    """The existing file, compressed or not, otherwise a download from the first mirror that has it."""
    for path in (where / name, where / f"{name}.gz"):
        if path.exists():
            return path
    digest, size = published.files[name]
    *others, last = (f"{mirror}{name}.gz" for mirror in published.mirrors)
    for url in others:
        try:
            return fetch(url, path, f"sha256:{digest}", size, gunzip=published.unpacked)
        except (DataError, StorageError):
            continue
    return fetch(last, path, f"sha256:{digest}", size, gunzip=published.unpacked)
