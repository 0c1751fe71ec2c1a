"""The trainer: frozen helpers, initialization from another run, the length of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from sketch import components
from sketch.families import FAMILIES
from sketch.toy import Weight, linear_loss, player, toy, weight_of
from sketch.training import snapshot, train
from torch import Tensor, nn

from aigc_zoo.engine.stages import steps_for
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Batch, Nets, Recipe, Spec, Terms, count_parameters

# --- frozen helpers ---------------------------------------------------------------------------------------------------


class Helper(nn.Module):
    """Stands for a pretrained network; its random weight is the same whenever it is built."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(()))


def trainer_with_helper(**settings: object) -> Trainer:
    def loss(nets: Nets, batch: Batch) -> Terms:
        return {"loss": (nets.D.w - nets.helper.w).square(), "_training": torch.tensor(float(nets.helper.training))}

    return toy({"discriminator": player("D", loss=loss)}, frozen={"helper": Helper}, **settings)


def test_frozen_helpers_are_used_but_neither_trained_nor_saved() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a = trainer_with_helper()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    b = trainer_with_helper()
    kept = weight_of(a, "helper")
    assert kept == weight_of(b, "helper")
    assert not a.nets.helper.w.requires_grad
    (terms,) = train(a, 1)
    assert weight_of(a, "D") != 1.0
    assert weight_of(a, "helper") == kept
    assert float(terms["discriminator/_training"]) == 0.0
    tensors, scalars = snapshot(a)
    assert not [name for name in tensors if "helper" in name]
    b.load(tensors, scalars)
    train(a, 1)
    train(b, 1)
    assert weight_of(a, "D") == weight_of(b, "D")


def test_samples_are_generated_with_frozen_helpers_that_are_generators() -> None:
    a = toy({"discriminator": player("D", loss=linear_loss("D"))}, frozen={"helper": Helper, "other": Helper})
    assert list(a.sampler().nets) == ["G", "H"]
    a.recipe = replace(a.recipe, generators=("helper", "G"))
    assert a.sampler().nets.helper is a.frozen["helper"]
    assert set(a.sampler().nets) == {"G", "helper"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frozen": {"D": Helper}}, "calls a network and a frozen one D"),
        ({"frozen": {"helper": Helper}, "generators": ("G", "none")}, "generators name none, but .* D, helper"),
        ({"frozen": {"helper": Helper}, "ema": {"helper": 0.9}}, "ema name helper, but the networks are G, H, D$"),
    ],
)
def test_names_of_frozen_helpers_are_checked(settings: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        toy({"discriminator": player("D", loss=linear_loss("D"))}, **settings)


def test_a_frozen_helper_cannot_be_controlled() -> None:
    with pytest.raises(ConfigError, match="player discriminator controls helper, but the networks are G, H, D"):
        toy({"discriminator": player("helper", loss=linear_loss("D"))}, frozen={"helper": Helper})


# --- initialization from another run ----------------------------------------------------------------------------------


def other_networks(spec: Spec) -> Mapping[str, nn.Module]:
    return {"G": Weight(2.0), "H": Weight(0.5), "D": nn.Linear(1, 1), "new": Weight()}


def noisy_loss(name: str) -> Callable[[Nets, Batch], Terms]:
    return lambda nets, batch: {"loss": nets[name].w * batch["z"].mean()}


def test_matching_networks_are_initialized_from_another_run() -> None:
    players = {"a": player("G", loss=noisy_loss("G")), "b": player("H", loss=noisy_loss("H"))}
    old = toy(players, ema={"G": 0.5})
    train(old, 3)
    tensors, _ = snapshot(old)

    new = toy(players, networks=other_networks, ema={"G": 0.5, "H": 0.5})
    assert new.initialize_from(tensors) == ["G", "H"]  # D has other shapes, and "new" is not in the other run
    assert new.step == 0
    assert (weight_of(new, "G"), weight_of(new, "H")) == (weight_of(old, "G"), weight_of(old, "H"))
    assert new.ema.G.w.item() == old.ema.G.w.item() != weight_of(old, "G")
    assert new.ema.H.w.item() == weight_of(old, "H")  # without a saved EMA, it starts at the weights


def test_initialization_reports_that_no_network_matches() -> None:
    assert toy({"a": player("G", loss=linear_loss("G"))}).initialize_from({"nets/X.w": torch.ones(1)}) == []


# --- length of a run --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("defaults", "steps", "images", "expected"),
    [
        ({"steps": 70}, None, None, 70),
        ({"steps": 70}, 5, None, 5),
        ({"steps": 70}, None, 1000, 34),  # 1000 / (10 samples x 3 batches per step), rounded up
        ({"images": 60}, None, None, 2),
        ({"images": 60}, 9, None, 9),
        ({"images": 1}, None, None, 1),
    ],
)
def test_steps_for(defaults: Mapping[str, int], steps: int | None, images: int | None, expected: int) -> None:
    recipe = Recipe(
        networks=lambda spec: {},
        players={"discriminator": player("D", loss=linear_loss("D"), turns=3)},
        generate=lambda nets, batch: {},
        **defaults,
    )
    assert steps_for(recipe, 10, steps, images) == expected


def test_parameters_are_counted() -> None:
    assert count_parameters(nn.Linear(3, 4)) == 16


def test_initial_weights_are_a_function_of_the_seed() -> None:
    family = FAMILIES["stylegan2"]()

    def weights(seed: int) -> Tensor:
        a = Trainer(family.recipe, family.spec, family.source, batch_size=components.SIZE, steps=1, seed=seed)
        return torch.cat([weight.detach().flatten() for weight in a.nets.parameters()])

    torch.manual_seed(0)
    first = weights(3)
    torch.manual_seed(1)
    assert torch.equal(first, weights(3))
    assert not torch.equal(first, weights(4))
