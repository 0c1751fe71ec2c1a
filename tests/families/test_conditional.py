"""Class labels in every recipe: generator and discriminator are conditional, and data without labels is refused."""

from __future__ import annotations

import pytest
import torch
from tiny import RECIPES, small
from torch import Tensor

from aigc_zoo.engine.networks import build_networks
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Spec

SPEC = Spec(shape=(1, 28, 28), classes=3)
N = 6


def reals(number: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(number)
    return {"real": torch.rand(N, 1, 28, 28, generator=g) * 2 - 1, "label": torch.eye(3)[torch.arange(N) % 3]}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_conditionally(name: str) -> None:
    trainer = Trainer(small(name, conditional=True), SPEC, reals, batch_size=N, steps=3)
    before = {key: value.clone() for key, value in trainer.nets.named_parameters()}
    for _ in range(3):
        terms = trainer.train_step()
    assert all(torch.isfinite(term) for term in terms.values())
    moved = {key for key, value in trainer.nets.named_parameters() if not torch.equal(value, before[key])}
    assert any(key.startswith("D.") and "embedding" in key for key in moved)
    samples = [trainer.sampler(label=label, ema=False).samples(8) for label in range(3)]
    assert not torch.equal(samples[0], samples[1])


@pytest.mark.parametrize("name", RECIPES)
def test_labels_play_no_part_without_being_asked_for(name: str) -> None:
    trainer = Trainer(small(name), SPEC, reals, batch_size=N, steps=1)
    trainer.train_step()
    assert torch.equal(*(trainer.sampler(label=label).samples(4) for label in (0, 1)))


@pytest.mark.parametrize("name", RECIPES)
def test_no_labels_are_refused_before_the_first_step(name: str) -> None:
    with pytest.raises(ConfigError, match=r"needs labels, and this dataset has none: leave out --conditional"):
        build_networks(small(name, conditional=True), Spec(shape=(1, 28, 28)), seed=0)
