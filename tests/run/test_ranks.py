"""Two ranks under torchrun leave what one rank leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aigc_zoo.artefacts.runs import RunFolder, read_lines

from .conftest import TINY


def run(ranks: int, blobs: Path, out: Path) -> RunFolder:
    settings = {
        **TINY,
        "steps": 2,
        "eval_every": 1,
        "discriminator.norm": "none",
        "generator.norm": "none",
        "precision": "fp32",
    }
    flags = [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    train = ["-m", "aigc_zoo", "train", "dcgan", "--data", str(blobs), "--out", str(out), *flags]
    start = [sys.executable, *train]
    if ranks > 1:
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), *train]
    done = subprocess.run(
        start, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return RunFolder(out)


@pytest.fixture(scope="module")
def both(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    folder = tmp_path_factory.mktemp("ranks")
    return run(1, blobs, folder / "one"), run(2, blobs, folder / "two")


def test_two_ranks_sample_and_evaluate_exactly_what_one_does(both: tuple[RunFolder, RunFolder]) -> None:
    """From the same weights, which both have at step 0; 192 samples are three chunks, more than one each."""
    one, two = both
    assert one.sample_path(0).read_bytes() == two.sample_path(0).read_bytes()
    (first, *_), (second, *_) = (read_lines(folder.metrics_path) for folder in both)
    assert first["step"] == second["step"] == 0
    assert first["value"] == second["value"]
    assert first["protocol"] == second["protocol"]


def test_two_ranks_train_to_the_same_weights(both: tuple[RunFolder, RunFolder]) -> None:
    """In float32 to its rounding; the test of the engine shows 1e-12 in float64."""
    one, two = (folder.newest_valid() for folder in both)
    assert one is not None
    assert two is not None
    assert one.tensors.keys() == two.tensors.keys()
    for name, tensor in one.tensors.items():
        assert torch.allclose(tensor, two.tensors[name], rtol=1e-3, atol=1e-6), name
    assert [line["images"] for line in read_lines(both[1].log_path)] == [16]
    assert two.card["run"]["world"] == 2
