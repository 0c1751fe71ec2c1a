"""Every recipe that is shipped continues from a checkpoint's file to the same weights, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sketch.play import difference, play, snapshot
from tiny import RECIPES, small
from torch import Tensor

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Spec

N, STEPS = 4, 5


def reals(number: int) -> dict[str, Tensor]:
    return {"real": torch.rand(N, 1, 28, 28, generator=torch.Generator().manual_seed(number)) * 2 - 1}


def trainer(name: str) -> Trainer:
    lazily = {"penalty": ("r1", "gp"), "penalty__r1__every": 2, "penalty__gp__every": 3}
    augmented = {"augmentation": "diffaugment"}
    recipe = small(name, **augmented, **({} if name in ("dcgan", "lsgan", "hinge", "wgan") else lazily))
    return Trainer(recipe, Spec(shape=(1, 28, 28)), reals, batch_size=N, steps=STEPS)


@pytest.mark.parametrize("name", RECIPES)
def test_resume_differs_by_nothing(name: str, tmp_path: Path) -> None:
    straight = trainer(name)
    play(straight, STEPS)
    whole = snapshot(straight)[0]
    for after in (1, 2, STEPS - 1):  # on, between and after the intervals of lazy penalties
        begun = trainer(name)
        play(begun, after)
        path = checkpoint.save(tmp_path / f"{after}.safetensors", *begun.state())
        tensors, card = checkpoint.load(tmp_path / f"{after}.safetensors")
        again = trainer(name)
        again.load(tensors, card)
        play(again, STEPS - after)
        assert difference(snapshot(again)[0], whole) == 0.0, (name, after, path)
