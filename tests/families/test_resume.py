"""Every recipe that is shipped continues from a checkpoint's file to the same weights, bit for bit."""

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
MOMENTS = {"1": 1, "mid-epoch": 2, "first of an epoch": 3, "last of an epoch": 5, "last - 1": STEPS - 1}
"""After so many steps, of three batches an epoch where a step takes one; penalties come every second and third step."""


def reals(tmp_path: Path, mapped: bool) -> Samples:
    images = torch.randint(256, (SAMPLES, 1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    if mapped:
        np.save(tmp_path / "real.npy", images.numpy())
        images = torch.from_numpy(np.load(tmp_path / "real.npy", mmap_mode="r+"))
    return Samples(
        name="noise", split="train", spec=Spec(shape=(1, 28, 28)), fields={"real": images}, digest="none",
        decode=lambda rows, draw: {"real": rows["real"].float() / 127.5 - 1}, groups=(("real",),),
    )  # fmt: skip


def resumes(tmp_path: Path, name: str, mapped: bool = False, accumulate: int = 1, **given: Any) -> None:
    samples = reals(tmp_path, mapped)

    def trainer() -> Trainer:
        pool = Pool(samples, "cpu", budget=0 if mapped else None)  # 0: what is mapped is fetched by a thread
        recipe, spec = small(name, **given), Spec(shape=(1, 28, 28))

        def source(n: int) -> dict[str, Tensor]:
            return pool.batch(0, n, N)

        return Trainer(recipe, spec, source, batch_size=N, steps=STEPS, accumulate=accumulate)

    straight = trainer()
    for step in range(1, STEPS + 1):
        straight.train_step()
        if step in MOMENTS.values():
            checkpoint.save(tmp_path / f"{step}.safetensors", *straight.state())
    undisturbed = trainer()
    train(undisturbed, STEPS)
    whole = snapshot(undisturbed)[0]
    assert difference(snapshot(straight)[0], whole) == 0.0, "saving itself changes nothing"
    for moment, step in MOMENTS.items():
        again = trainer()
        again.load(*checkpoint.load(tmp_path / f"{step}.safetensors"))
        train(again, STEPS - step)
        assert difference(snapshot(again)[0], whole) == 0.0, f"{name}, {moment}"


@pytest.mark.promise("R13", len(MOMENTS), len(MOMENTS))
@pytest.mark.parametrize("name", RECIPES)
def test_resume_is_exact(name: str, tmp_path: Path, promise: Any) -> None:
    lazily = {"penalty": ("r1", "gp"), "penalty__r1__every": 2, "penalty__gp__every": 3}
    given = {} if name in ("dcgan", "lsgan", "hinge", "wgan") else lazily
    resumes(tmp_path, name, augmentation="diffaugment", **given)
    promise.kept(resumes=promise.count, identical=promise.count)


@pytest.mark.promise("R15", len(MOMENTS), len(MOMENTS))
@pytest.mark.parametrize(
    "how",
    [
        {"mapped": True},
        {"accumulate": 2},
        {"mapped": True, "accumulate": 2, "augmentation": "diffaugment"},
        {"discriminator_turns": 3, "penalty": ("lp",), "penalty__lp__every": 2},
        {"name": "rpgan-r1r2", "accumulate": 2},
    ],
    ids=lambda how: ", ".join(f"{key} {value}" for key, value in how.items()),
)
def test_resume_is_exact_in_every_mode(how: dict[str, Any], tmp_path: Path, promise: Any) -> None:
    resumes(tmp_path, **{"name": "wgan-gp", **how})
    promise.kept(resumes=promise.count, identical=promise.count)
