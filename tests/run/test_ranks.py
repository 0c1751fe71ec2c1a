"""Two ranks under torchrun leave what one rank leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aigc_zoo.artefacts.runs import RunDirectory, read_lines

from .conftest import TINY

LISTENER = """
import os

from aigc_zoo.spec import hookimpl

ZOO_API = 1


def note(run, what):
    with run.with_name(run.name + ".heard").open("a") as file:
        file.write(f"{os.environ.get('RANK', '0')} {what}\\n")


@hookimpl
def zoo_run_start(run):
    note(run, "start")


@hookimpl
def zoo_log(run, step, scalars):
    note(run, f"log {step}")


@hookimpl
def zoo_checkpoint_saved(run, path):
    note(run, f"saved {path.name}")


@hookimpl
def zoo_run_end(run, error):
    note(run, f"end {error}")
"""


def run(ranks: int, blobs: Path, out: Path) -> RunDirectory:
    settings = {
        **TINY,
        "steps": 2,
        "eval_every": 1,
        "eval_num": 150,
        "discriminator.norm": "none",
        "generator.norm": "none",
        "precision": "fp32",
    }
    (out.parent / "hears.py").write_text(LISTENER)
    flags = ["--plugin", str(out.parent / "hears.py")]
    flags += [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    train = ["-m", "aigc_zoo", "train", "dcgan", "--data", str(blobs), "--out", str(out), *flags]
    start = [sys.executable, *train]
    if ranks > 1:
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), *train]
    done = subprocess.run(
        start, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return RunDirectory(out)


@pytest.fixture(scope="module")
def both(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, RunDirectory]:
    folder = tmp_path_factory.mktemp("ranks")
    return run(1, blobs, folder / "one"), run(2, blobs, folder / "two")


def test_two_ranks_sample_and_evaluate_exactly_what_one_does(both: tuple[RunDirectory, RunDirectory]) -> None:
    """From the same weights, which both have at step 0; 150 samples are three chunks, the last of them cut."""
    one, two = both
    assert one.sample_path(0).read_bytes() == two.sample_path(0).read_bytes()
    (first, *_), (second, *_) = (read_lines(folder.metrics_path) for folder in both)
    assert first["step"] == second["step"] == 0
    assert first["value"] == second["value"]
    assert first["protocol"] == second["protocol"]


def test_two_ranks_train_to_the_same_weights(both: tuple[RunDirectory, RunDirectory]) -> None:
    """In float32 to its rounding; the test of the engine shows 1e-12 in float64."""
    one, two = (folder.newest_valid() for folder in both)
    assert one is not None
    assert two is not None
    assert one.tensors.keys() == two.tensors.keys()
    for name, tensor in one.tensors.items():
        assert torch.allclose(tensor, two.tensors[name], rtol=1e-3, atol=1e-6), name
    assert [line["images"] for line in read_lines(both[1].log_path)] == [16]
    assert two.card["run"]["world"] == 2


def test_listeners_hear_the_first_rank_alone(both: tuple[RunDirectory, RunDirectory]) -> None:
    one, two = (folder.path.with_name(f"{folder.path.name}.heard").read_text().splitlines() for folder in both)
    assert two[0] == "0 start"
    assert two[-1] == "0 end None"
    assert two == one, "as often as with one rank, so nobody hears a thing twice"
