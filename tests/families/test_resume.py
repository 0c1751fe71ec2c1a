"""Every first-party recipe resumes from a checkpoint file to the same weights, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sketch.training import difference, snapshot, train
from tiny import RECIPES, small
from torch import Tensor

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.data.pool import Pool
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Samples, Spec

N, STEPS, SAMPLES = 4, 8, 12
CHECKPOINTS = {"1": 1, "mid-epoch": 2, "first of an epoch": 3, "last of an epoch": 5, "last - 1": STEPS - 1}
"""Steps of the checkpoints. An epoch has three batches; penalties are evaluated every second and every third step."""


def samples_of_noise(tmp_path: Path, mapped: bool) -> Samples:
    images = torch.randint(256, (SAMPLES, 1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    if mapped:
        np.save(tmp_path / "real.npy", images.numpy())
        images = torch.from_numpy(np.load(tmp_path / "real.npy", mmap_mode="r+"))
    return Samples(
        name="noise", split="train", spec=Spec(shape=(1, 28, 28)), fields={"real": images}, digest="none",
        decode=lambda rows, draw: {"real": rows["real"].float() / 127.5 - 1}, groups=(("real",),),
    )  # fmt: skip


def assert_exact_resume(tmp_path: Path, name: str, mapped: bool = False, accumulate: int = 1, **options: Any) -> None:
    samples = samples_of_noise(tmp_path, mapped)

    def trainer() -> Trainer:
        # With a budget of 0 a thread prefetches the rows.
        pool = Pool(samples, "cpu", budget=0 if mapped else None)
        recipe, spec = small(name, **options), Spec(shape=(1, 28, 28))

        def source(n: int) -> dict[str, Tensor]:
            return pool.batch(0, n, N)

        return Trainer(recipe, spec, source, batch_size=N, steps=STEPS, accumulate=accumulate)

    saving = trainer()
    for step in range(1, STEPS + 1):
        saving.train_step()
        if step in CHECKPOINTS.values():
            checkpoint.save(tmp_path / f"{step}.safetensors", *saving.state())
    uninterrupted = trainer()
    train(uninterrupted, STEPS)
    expected = snapshot(uninterrupted)[0]
    assert difference(snapshot(saving)[0], expected) == 0.0, "saving changes no result"
    for checkpoint_name, step in CHECKPOINTS.items():
        resumed = trainer()
        resumed.load(*checkpoint.load(tmp_path / f"{step}.safetensors"))
        train(resumed, STEPS - step)
        assert difference(snapshot(resumed)[0], expected) == 0.0, f"{name}, {checkpoint_name}"


@pytest.mark.promise("R13", len(CHECKPOINTS), len(CHECKPOINTS))
@pytest.mark.parametrize("name", RECIPES)
def test_resume_is_exact(name: str, tmp_path: Path, promise: Any) -> None:
    lazy_penalties = {"penalty": ("r1", "gp"), "penalty__r1__every": 2, "penalty__gp__every": 3}
    options = {} if name in ("dcgan", "gan", "lsgan", "hinge", "wgan") else lazy_penalties
    assert_exact_resume(tmp_path, name, augmentation="diffaugment", **options)
    promise.kept(resumes=promise.count, identical=promise.count)


@pytest.mark.promise("R15", len(CHECKPOINTS), len(CHECKPOINTS))
@pytest.mark.parametrize(
    "mode",
    [
        {"mapped": True},
        {"accumulate": 2},
        {"mapped": True, "accumulate": 2, "augmentation": "diffaugment"},
        {"discriminator_turns": 3, "penalty": ("lp",), "penalty__lp__every": 2},
        {"name": "rpgan-r1r2", "accumulate": 2},
    ],
    ids=lambda mode: ", ".join(f"{key} {value}" for key, value in mode.items()),
)
def test_resume_is_exact_in_every_mode(mode: dict[str, Any], tmp_path: Path, promise: Any) -> None:
    assert_exact_resume(tmp_path, **{"name": "wgan-gp", **mode})
    promise.kept(resumes=promise.count, identical=promise.count)
