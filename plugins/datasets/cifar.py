"""CIFAR-10 (Krizhevsky, 2009) from its binary version, without pickle and without extracting the archive to disk."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from aigc_zoo.data.cache import Plan, cached_pool, file_state
from aigc_zoo.data.download import fetch
from aigc_zoo.data.samples import image_samples
from aigc_zoo.errors import DataError
from aigc_zoo.game import Samples

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
BYTES = 170_052_171
VERSION = 1

FOLDER = "cifar-10-batches-bin"
BATCH = 10_000
ROW = 1 + 3 * 32 * 32
FILES = {f"data_batch_{number + 1}.bin": ("train", number) for number in range(5)} | {"test_batch.bin": ("test", 0)}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar10(where: Path) -> Mapping[str, Samples]:
    """Color images (N, 3, 32, 32) uint8, in the order of the original files.

    They are read from `cifar-10-binary.tar.gz` or its six .bin files, in `where` or the folder `cifar-10-batches-bin`
    in it; otherwise the archive is downloaded.
    """
    files = _files(where)
    state = json.dumps([(path.name, file_state(path.stat())) for path in files])
    pool = cached_pool("cifar10", f"cifar10 {VERSION} {files[0].resolve()}", state, lambda: _plan(files))
    splits = {}
    for split in ("train", "test"):
        fields = pool.split(split)
        splits[split] = image_samples(
            "cifar10",
            split,
            fields["real"],
            fields["label"],
            CLASSES,
            extractor="zoo-rgb32",
            digest=pool.digests[split],
        )
    return splits


def _files(where: Path) -> list[Path]:
    """The archive, or the files that were extracted from it."""
    for folder in (where, where / FOLDER):
        if (folder / "test_batch.bin").exists():
            return [folder / name for name in FILES]
    return [fetch(URL, where / "cifar-10-binary.tar.gz", f"sha256:{SHA256}", BYTES)]


def _plan(files: list[Path]) -> Plan:
    arrays: dict[str, tuple[str, tuple[int, ...]]] = {}
    for split, batches in (("train", 5), ("test", 1)):
        arrays |= {
            f"{split}/real": ("uint8", (batches * BATCH, 3, 32, 32)),
            f"{split}/label": ("int64", (batches * BATCH,)),
        }

    def fill(pool: Mapping[str, np.ndarray]) -> None:
        missing = dict(FILES)
        for source, name, content in _contents(files):
            if len(content) != BATCH * ROW:
                raise DataError(
                    f"{source}: {name} has {len(content):,} bytes, not {BATCH * ROW:,}\nreplace or remove it"
                )
            split, number = missing.pop(name)
            rows = np.frombuffer(content, np.uint8).reshape(BATCH, ROW)
            rows_of_batch = slice(number * BATCH, (number + 1) * BATCH)
            pool[f"{split}/label"][rows_of_batch] = rows[:, 0]
            pool[f"{split}/real"][rows_of_batch] = rows[:, 1:].reshape(BATCH, 3, 32, 32)
        if missing:
            raise DataError(f"{files[0]} lacks {', '.join(missing)}\nreplace or remove it")

    return Plan(arrays, {}, fill)


def _contents(files: list[Path]) -> Iterator[tuple[Path, str, bytes]]:
    """Source file, name and bytes of each batch."""
    if len(files) > 1:
        for path in files:
            yield path, path.name, path.read_bytes() if path.exists() else b""
        return
    path = files[0]
    with path.open("rb") as archive:
        if hashlib.file_digest(archive, "sha256").hexdigest() != SHA256:
            raise DataError(f"{path} is not the published archive: its SHA-256 differs\nreplace or remove it")
    try:
        # Members are read as a stream, and no file is written under a name from the archive.
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name in FILES and member.isreg() and member.size == BATCH * ROW:
                    content = archive.extractfile(member)
                    assert content is not None
                    yield path, name, content.read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}\nreplace or remove it") from error
