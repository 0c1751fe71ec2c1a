"""A small image dataset on disk, the settings of a small run, and digests of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory

from .packages import Packages


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 labeled 28x28 images of a blob in the upper or the lower half."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    y, x = np.mgrid[0:28, 0:28]
    centres = np.stack([8 + 12 * labels + rng.normal(0, 1.5, 200), rng.uniform(8, 20, 200)], axis=1)
    distance = (y - centres[:, 0, None, None]) ** 2 + (x - centres[:, 1, None, None]) ** 2
    path = tmp_path_factory.mktemp("data") / "blobs.npz"
    np.savez(path, images=(255 * np.exp(-distance / 18)).astype(np.uint8)[..., None], labels=labels)
    return path


TINY = {
    "generator.width": 4,
    "discriminator.width": 4,
    "latent": 8,
    "batch_size": 8,
    "steps": 12,
    "log_every": 2,
    "sample_every": 4,
    "save_every": 3,
    "eval_every": 6,
    "eval_num": 192,
    "extractor": "zoo-grey28",
}
"""Settings of a run of the recipe dcgan that takes a second."""


def digests_of(folder: Path) -> dict[str, str]:
    """Digests of the grids, weights and metrics of a run, and its log without times."""
    files = [*sorted((folder / "samples").iterdir()), folder / "generator.safetensors", folder / "metrics.jsonl"]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    restored = RunDirectory(folder).newest_valid()
    assert restored is not None
    found["weights"] = checkpoint.digest(restored.tensors, {})
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return found | {"log": str([(line["step"], line["images"], line["terms"]) for line in log])}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """No distribution yet; the command runs in an empty folder."""
    made = Packages(tmp_path / "site")
    made.folder.mkdir()
    work = tmp_path / "here"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.syspath_prepend(made.folder)
    made.forget()
    yield made
    made.forget()
