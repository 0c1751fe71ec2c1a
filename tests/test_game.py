"""The vocabulary by itself: plays, recipes, schedules, optimisers."""

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

# --- plays ------------------------------------------------------------------------------------------------------------


def one(nets: Nets, batch: Batch) -> Terms:
    return {}


def two(nets: Nets, batch: Batch) -> Terms:
    return {}


def three(nets: Nets, batch: Batch) -> Terms:
    return {}


def test_every_begins_at_step_zero() -> None:
    assert [play_at(Every(3, one, two), step) for step in range(7)] == [one, two, two, one, two, two, one]
    assert [play_at(Every(1, one, two), step) for step in range(3)] == [one, one, one]


def test_until_changes_once() -> None:
    assert [play_at(Until(2, one, two), step) for step in range(5)] == [one, one, two, two, two]
    assert play_at(Until(0, one, two), 0) is two


def test_plays_nest_and_none_sits_out() -> None:
    play = Until(4, Every(2, None, one), Every(3, Until(7, two, None), three))
    assert [play_at(play, step) for step in range(10)] == [None, one, None, one, three, three, two, three, three, None]
    assert play_at(None, 0) is None
    assert play_at(one, 9) is one


def test_an_interval_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="interval of at least 1, not 0"):
        Every(0, one, two)


# --- recipes ----------------------------------------------------------------------------------------------------------


def player(**settings: Any) -> Player:
    return Player(**{"controls": ("D",), "loss": one, "optimizer": adam(1e-3), **settings})


def recipe(**settings: Any) -> Recipe:
    given = {
        "networks": lambda spec: {},
        "players": {"critic": player()},
        "generate": lambda nets, batch: {},
        "steps": 1,
    }
    return Recipe(**{**given, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"players": {}}, "at least one player"),
        ({"players": {"critic": player(turns=0)}}, "player critic needs at least one turn, not 0"),
        ({"players": {"critic": player(controls=())}}, "player critic controls no network"),
        ({"steps": 1, "images": 1}, "either steps or images"),
    ],
)
def test_recipes_that_say_nothing_sensible_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(**settings)


def test_rounds_are_the_largest_number_of_turns() -> None:
    assert recipe().rounds == 1
    assert recipe(players={"a": player(turns=2), "b": player(turns=5), "c": player()}).rounds == 5


def test_recipes_and_players_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        recipe().steps = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        player().turns = 2  # type: ignore[misc]


def test_nets_are_reached_by_name() -> None:
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


# --- schedules and optimisers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("t", "straight", "curved"), [(0.0, 2.0, 2.0), (0.5, 1.5, 1.5), (0.25, 1.75, 1.853553)])
def test_schedules_of_progress(t: float, straight: float, curved: float) -> None:
    batch = {"t": torch.tensor(t, dtype=torch.float64)}
    assert float(linear(2.0, 1.0)(Nets(), batch)) == straight
    assert float(cosine(2.0, 1.0)(Nets(), batch)) == pytest.approx(curved, abs=1e-6)


def test_schedules_end_where_they_say() -> None:
    batch = {"t": torch.tensor(1.0, dtype=torch.float64)}
    assert float(linear(2.0, 0.5)(Nets(), batch)) == 0.5
    assert float(cosine(2.0, 0.5)(Nets(), batch)) == pytest.approx(0.5, abs=1e-15)


GRADIENTS = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def walked(make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> Tensor:
    weight = nn.Parameter(torch.linspace(-1, 1, 5, dtype=torch.float64))
    optimizer = make([weight])
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
def test_optimisers_walk_as_torch_documents_them(
    ours: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    plain: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
) -> None:
    """In float64 to the last digits: the rate of 2e-4, rounded to float32, would be off by 2.5e-8 of itself."""
    torch.testing.assert_close(walked(ours), walked(plain), rtol=0, atol=1e-15)


def test_the_rate_is_a_tensor_that_can_be_moved() -> None:
    weight = nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = adam(1.0, 0.0, 0.0)([weight])
    optimizer.param_groups[0]["lr"].fill_(0.25)
    weight.grad = torch.ones((), dtype=torch.float64)
    optimizer.step()
    assert weight.item() == pytest.approx(-0.25)


def test_clipping_bounds_the_weights_after_each_step() -> None:
    assert walked(clipped(adam(0.5), 0.1)).abs().max() == 0.1
    unbound = walked(rmsprop(1e-3))
    torch.testing.assert_close(walked(clipped(rmsprop(1e-3), 2.0)), unbound, rtol=0, atol=0)
