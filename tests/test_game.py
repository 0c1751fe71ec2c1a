"""The vocabulary of recipes: losses by step, recipes, schedules and optimizers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aigc_zoo.game import (
    Batch,
    Every,
    Nets,
    Player,
    Recipe,
    Samples,
    Spec,
    Terms,
    Until,
    adam,
    clipped,
    cosine,
    count_parameters,
    linear,
    play_at,
    rmsprop,
)

# --- losses by step ---------------------------------------------------------------------------------------------------


def one(nets: Nets, batch: Batch) -> Terms:
    return {}


def two(nets: Nets, batch: Batch) -> Terms:
    return {}


def three(nets: Nets, batch: Batch) -> Terms:
    return {}


def test_every_starts_at_step_zero() -> None:
    assert [play_at(Every(3, one, two), step) for step in range(7)] == [one, two, two, one, two, two, one]
    assert [play_at(Every(1, one, two), step) for step in range(3)] == [one, one, one]


def test_until_switches_once() -> None:
    assert [play_at(Until(2, one, two), step) for step in range(5)] == [one, one, two, two, two]
    assert play_at(Until(0, one, two), 0) is two


def test_every_and_until_nest_and_none_skips_the_turn() -> None:
    loss = Until(4, Every(2, None, one), Every(3, Until(7, two, None), three))
    assert [play_at(loss, step) for step in range(10)] == [None, one, None, one, three, three, two, three, three, None]
    assert play_at(None, 0) is None
    assert play_at(one, 9) is one


def test_an_interval_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="interval of at least 1, not 0"):
        Every(0, one, two)


# --- recipes ----------------------------------------------------------------------------------------------------------


def player(**settings: Any) -> Player:
    return Player(**{"controls": ("D",), "loss": one, "optimizer": adam(1e-3), **settings})


def recipe(**settings: Any) -> Recipe:
    defaults = {
        "networks": lambda spec: {},
        "players": {"discriminator": player()},
        "generate": lambda nets, batch: {},
        "steps": 1,
    }
    return Recipe(**{**defaults, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"players": {}}, "at least one player"),
        ({"players": {"D": player(turns=0)}}, "player D needs at least one turn, not 0"),
        ({"players": {"D": player(controls=())}}, "player D controls no network"),
        ({"steps": 1, "images": 1}, "either steps or images"),
        ({"generate": None}, "generate must be a function, not None"),
        ({"draw": 3}, "draw must be a function, not 3"),
        ({"networks": {"G": 1}}, "networks must be a function"),
        ({"generators": ["G"]}, "generators must be a tuple of names"),
        ({"generators": ()}, "at least one network in generators"),
        ({"inputs": ("a", {})}, "inputs must be a tuple of names"),
        ({"dataset": None}, "dataset must be a name, not None"),
        ({"imitates": 3}, "imitates must be a name, not 3"),
        ({"players": [player()]}, "players must be a dict of Player by name"),
        ({"players": {"D": "player"}}, "players must be a dict of Player by name"),
    ],
)
def test_invalid_recipes_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(**settings)


def test_rounds_is_the_largest_number_of_turns() -> None:
    assert recipe().rounds == 1
    assert recipe(players={"a": player(turns=2), "b": player(turns=5), "c": player()}).rounds == 5


def test_recipes_and_players_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        recipe().steps = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        player().turns = 2  # type: ignore[misc]


def test_nets_are_attributes() -> None:
    net = nn.Linear(1, 1)
    nets = Nets({"G": net})
    assert nets.G is nets["G"] is net
    with pytest.raises(AttributeError, match="X"):
        nets.X


def test_samples_are_counted_by_their_first_group() -> None:
    fields = {"real": torch.zeros(7, 1), "label": torch.zeros(7), "other": torch.zeros(3)}
    samples = Samples(
        name="a", split="train", spec=Spec(shape=(1,)), fields=fields, decode=lambda rows, draw: rows, digest=""
    )
    assert len(samples) == 7


def test_parameters_are_counted() -> None:
    assert count_parameters(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1, bias=False))) == 9 + 3


# --- schedules and optimizers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("t", "linear_value", "cosine_value"), [(0.0, 2.0, 2.0), (0.5, 1.5, 1.5), (0.25, 1.75, 1.853553)]
)
def test_schedules_are_functions_of_progress(t: float, linear_value: float, cosine_value: float) -> None:
    batch = {"t": torch.tensor(t, dtype=torch.float64)}
    assert float(linear(2.0, 1.0)(Nets(), batch)) == linear_value
    assert float(cosine(2.0, 1.0)(Nets(), batch)) == pytest.approx(cosine_value, abs=1e-6)


def test_schedules_end_at_their_last_value() -> None:
    batch = {"t": torch.tensor(1.0, dtype=torch.float64)}
    assert float(linear(2.0, 0.5)(Nets(), batch)) == 0.5
    assert float(cosine(2.0, 0.5)(Nets(), batch)) == pytest.approx(0.5, abs=1e-15)


GRADIENTS = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def optimized(build: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> Tensor:
    """The weights after a step for each of `GRADIENTS`."""
    weight = nn.Parameter(torch.linspace(-1, 1, 5, dtype=torch.float64))
    optimizer = build([weight])
    for gradient in GRADIENTS:
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (adam(2e-4, 0.5), lambda w: torch.optim.Adam(w, lr=2e-4, betas=(0.5, 0.999))),
        (adam(3e-2, 0.0, 0.9, eps=1e-6), lambda w: torch.optim.Adam(w, lr=3e-2, betas=(0.0, 0.9), eps=1e-6)),
        (adam(1e-1, 0.9, weight_decay=0.1), lambda w: torch.optim.AdamW(w, lr=1e-1, weight_decay=0.1)),
        (rmsprop(1e-2), lambda w: torch.optim.RMSprop(w, lr=1e-2)),
        (rmsprop(1e-2, 0.9, eps=1e-4), lambda w: torch.optim.RMSprop(w, lr=1e-2, alpha=0.9, eps=1e-4)),
    ],
    ids=["adam", "adam-0.9", "adamw", "rmsprop", "rmsprop-0.9"],
)
def test_optimizers_equal_those_of_torch(
    ours: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    plain: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
) -> None:
    """Compared in float64: rounding the learning rate of 2e-4 to float32 would be a relative error of 2.5e-8."""
    torch.testing.assert_close(optimized(ours), optimized(plain), rtol=0, atol=1e-15)


def test_the_learning_rate_is_a_tensor_that_can_be_changed() -> None:
    weight = nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = adam(1.0, 0.0, 0.0)([weight])
    optimizer.param_groups[0]["lr"].fill_(0.25)
    weight.grad = torch.ones((), dtype=torch.float64)
    optimizer.step()
    assert weight.item() == pytest.approx(-0.25)


def test_clipping_bounds_the_weights_after_each_step() -> None:
    assert optimized(clipped(adam(0.5), 0.1)).abs().max() == 0.1
    unclipped = optimized(rmsprop(1e-3))
    torch.testing.assert_close(optimized(clipped(rmsprop(1e-3), 2.0)), unclipped, rtol=0, atol=0)
