"""Turns: shared fakes, the batches of each player, updated parameters, minimized and logged terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from sketch.toy import Weight, batch_number, linear_loss, player, sgd, toy, weight_of
from sketch.training import train
from torch import Tensor, nn

from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Batch, Every, Nets, Player, Terms, Until

Generate = Callable[[Nets, Batch], Mapping[str, Tensor]]


class CountingGenerate:
    """A `generate` that records the numbers of its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, nets: Nets, batch: Batch) -> Mapping[str, Tensor]:
        self.batches.append(batch_number(batch))
        return {"fake": nets.G.w * batch["z"] + nets.H.w}


def recording_loss(name: str, fakes: list[Tensor]) -> Callable[[Nets, Batch], Terms]:
    """A loss of the network `name` that records the fakes of its batch."""

    def loss(nets: Nets, batch: Batch) -> Terms:
        fakes.append(batch["fake"])
        return {"loss": (nets[name].w * batch["fake"]).mean()}

    return loss


# --- fakes ------------------------------------------------------------------------------------------------------------


def test_fakes_are_generated_once_per_batch() -> None:
    generate, fakes = CountingGenerate(), []
    players = {
        "discriminator": player("D", loss=recording_loss("D", fakes), turns=3),
        "generator": player("G", loss=recording_loss("D", fakes)),
        "late": player("D", loss=recording_loss("D", fakes)),
    }
    train(toy(players, generate=generate), 2)
    assert generate.batches == [0, 1, 2, 3, 4, 5]
    assert len(fakes) == 2 * (3 + 1 + 1)


def test_unused_fakes_are_not_generated() -> None:
    generate = CountingGenerate()
    discriminator = player("D", loss=linear_loss("D"), turns=3)
    train(toy({"discriminator": discriminator}, generate=generate), 1)
    assert generate.batches == []
    train(
        toy(
            {"discriminator": discriminator, "generator": player("G", loss=recording_loss("D", []))}, generate=generate
        ),
        1,
    )
    assert generate.batches == [2]


def test_fakes_are_detached_for_players_without_a_generator() -> None:
    discriminator, generator, late = [], [], []
    players = {
        "discriminator": player("D", loss=recording_loss("D", discriminator)),
        "generator": player("G", loss=recording_loss("D", generator)),
        "late": player("D", loss=recording_loss("D", late)),
    }
    train(toy(players), 1)
    assert [fakes[0].requires_grad for fakes in (discriminator, generator, late)] == [False, True, False]
    assert torch.equal(discriminator[0], generator[0])
    assert torch.equal(discriminator[0], late[0])  # shared, although the generator has been updated since


def test_a_second_generator_player_gets_fakes_of_the_updated_weights() -> None:
    generate, first, between, second = CountingGenerate(), [], [], []
    players = {
        "first": player("G", loss=recording_loss("D", first)),
        "discriminator": player("D", loss=recording_loss("D", between)),
        "second": player("H", loss=recording_loss("D", second)),
    }
    a = toy(players, generate=generate)
    z = a.batch(0)["z"]
    train(a, 1)
    assert generate.batches == [0, 0]
    updated = 2.0 - 0.1 * z.mean()
    torch.testing.assert_close(first[0], 2.0 * z + 0.5)
    torch.testing.assert_close(between[0], 2.0 * z + 0.5)
    torch.testing.assert_close(second[0], updated * z + 0.5)


def test_a_generator_with_two_turns_gets_fakes_of_its_own_update() -> None:
    generate, fakes = CountingGenerate(), []
    a = toy({"generator": player("G", loss=recording_loss("D", fakes), turns=2)}, generate=generate)
    z = [a.batch(i)["z"] for i in range(2)]
    train(a, 1)
    assert generate.batches == [0, 1]
    torch.testing.assert_close(fakes[1], (2.0 - 0.1 * z[0].mean()) * z[1] + 0.5)


def test_fakes_are_generated_again_after_an_update_of_the_generator() -> None:
    generate, discriminator, generator = CountingGenerate(), [], []
    players = {
        "discriminator": player("D", loss=recording_loss("D", discriminator), turns=2),
        "generator": player("G", loss=recording_loss("D", generator), turns=2),
    }
    train(toy(players, generate=generate), 1)
    assert generate.batches == [0, 1, 1]  # again after the first update of the generator
    assert torch.equal(discriminator[0], generator[0])
    assert not torch.equal(discriminator[1], generator[1])


def test_a_missing_key_is_named_with_the_existing_ones() -> None:
    a = toy({"discriminator": player("D", loss=lambda nets, batch: {"loss": nets.D.w * batch["fakes"].mean()})})
    with pytest.raises(KeyError, match=r"'fakes' is not in this batch, which has fake, images, real, t, z"):
        a.train_step()


# --- players and their batches ----------------------------------------------------------------------------------------


def test_a_player_with_fewer_turns_uses_the_last_batches() -> None:
    batches: dict[str, list[int]] = {"one": [], "two": [], "three": []}

    def recording_batch(player_name: str) -> Callable[[Nets, Batch], Terms]:
        def loss(nets: Nets, batch: Batch) -> Terms:
            batches[player_name].append(batch_number(batch))
            return {"loss": nets.D.w.square()}

        return loss

    players = {name: player("D", loss=recording_batch(name), turns=turns) for turns, name in enumerate(batches, 1)}
    a = toy(players)
    assert a.recipe.rounds == 3
    train(a, 2)
    assert batches == {"one": [2, 5], "two": [1, 2, 4, 5], "three": [0, 1, 2, 3, 4, 5]}


def test_losses_are_selected_by_step() -> None:
    nested = Until(2, None, Every(3, linear_loss("D", by=10.0), Until(4, None, linear_loss("D"))))
    a = toy(
        {"discriminator": player("D", loss=nested, optimizer=sgd(1.0)), "other": player("G", loss=linear_loss("G"))}
    )
    losses = [terms.get("discriminator/loss") for terms in train(a, 7)]
    assert [None if value is None else int(value) for value in losses] == [None, None, None, 10, -9, -10, -110]
    assert weight_of(a, "D") == 1 - 10 - 1 - 1 - 10


def test_a_player_without_a_loss_changes_and_logs_nothing() -> None:
    a = toy(
        {
            "discriminator": player("D", loss=Until(3, None, linear_loss("D"))),
            "generator": player("G", loss=linear_loss("G")),
        }
    )
    terms = train(a, 3)
    assert all(set(found) == {"generator/loss"} for found in terms)
    assert weight_of(a, "D") == 1.0
    assert set(a.train_step()) == {"discriminator/loss", "generator/loss"}
    assert weight_of(a, "D") == 0.9


def test_a_player_updates_only_the_networks_that_it_controls() -> None:
    def everything(nets: Nets, batch: Batch) -> Terms:
        return {"loss": nets.G.w * nets.H.w * nets.D.w}

    a = toy({"pair": player("G", "D", loss=everything)})
    train(a, 1)
    assert (weight_of(a, "G"), weight_of(a, "H"), weight_of(a, "D")) == (2.0 - 0.1 * 0.5, 0.5, 1.0 - 0.1 * 1.0)


def test_parameters_without_requires_grad_are_not_updated() -> None:
    class PartlyFrozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen = nn.Parameter(torch.tensor(3.0), requires_grad=False)
            self.w = nn.Parameter(torch.tensor(1.0))

    discriminator = player("D", loss=lambda nets, batch: {"loss": nets.D.w * nets.D.frozen})
    a = toy({"discriminator": discriminator}, networks=lambda spec: {"D": PartlyFrozen(), "G": Weight(), "H": Weight()})
    train(a, 1)
    assert a.nets.D.frozen.item() == 3.0
    assert weight_of(a, "D") == pytest.approx(0.7)


# --- terms ------------------------------------------------------------------------------------------------------------


def test_terms_are_summed_and_those_with_an_underscore_are_only_logged() -> None:
    def loss(nets: Nets, batch: Batch) -> Terms:
        w = nets.D.w
        return {"a": 2 * w, "b": 3 * w, "_c": 100 * w, "_d": torch.tensor(7.0)}

    a = toy({"discriminator": player("D", loss=loss)})
    (terms,) = train(a, 1)
    assert {name: float(value) for name, value in terms.items()} == {
        "discriminator/a": 2.0,
        "discriminator/b": 3.0,
        "discriminator/_c": 100.0,
        "discriminator/_d": 7.0,
    }
    assert not any(value.requires_grad for value in terms.values())
    assert weight_of(a, "D") == 1.0 - 0.1 * (2 + 3)


def test_a_logged_buffer_keeps_its_value() -> None:
    def loss(nets: Nets, batch: Batch) -> Terms:
        nets.D.level.add_(1)
        return {"loss": nets.D.w.square(), "_level": nets.D.level}

    a = toy({"discriminator": player("D", loss=loss)})
    assert [float(terms["discriminator/_level"]) for terms in train(a, 3)] == [1.0, 2.0, 3.0]


def test_the_terms_of_the_last_turn_are_returned() -> None:
    a = toy({"discriminator": player("D", loss=linear_loss("D"), turns=3)})
    (terms,) = train(a, 1)
    assert float(terms["discriminator/loss"]) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (lambda w: {"good": w, "detached": w.detach()}, r"term 'detached' has no graph.*_detached"),
        (lambda w: {"good": w, "wide": w * torch.ones(3)}, r"term 'wide' has shape \(3,\): a term is one number"),
        (lambda w: {"_only": w}, "no term to minimize"),
        (lambda w: {}, "no term to minimize"),
    ],
)
def test_a_term_that_cannot_be_minimized_is_named(terms: Callable[[Tensor], Terms], message: str) -> None:
    a = toy({"discriminator": player("D", loss=lambda nets, batch: terms(nets.D.w))})
    with pytest.raises(ConfigError, match=rf"^player discriminator, step 0: .*{message}") as caught:
        a.train_step()
    assert str(caught.value).count("\n") < 3


@pytest.mark.parametrize(
    ("players", "settings", "message"),
    [
        (
            {"discriminator": player("E", loss=linear_loss("D"))},
            {},
            "player discriminator controls E, but the networks are G, H, D",
        ),
        (
            {"discriminator": player("D", loss=linear_loss("D"))},
            {"generators": ("X",)},
            "generators name X, but the networks are G, H, D",
        ),
        (
            {"discriminator": player("D", loss=linear_loss("D"))},
            {"ema": {"X": 0.9}},
            "ema name X, but the networks are",
        ),
        (
            {"discriminator": player("D", loss=linear_loss("D"))},
            {"networks": lambda spec: {"D": nn.Identity(), "G": Weight(), "H": Weight()}},
            "player discriminator controls no weights: D have none",
        ),
    ],
)
def test_unknown_network_names_are_refused(
    players: Mapping[str, Player], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        toy(players, **settings)


def test_a_value_error_of_the_networks_is_a_configuration_error() -> None:
    def networks(spec: object) -> Mapping[str, nn.Module]:
        raise ValueError("cannot make 3x5: try 4x4")

    with pytest.raises(ConfigError, match="cannot make 3x5: try 4x4"):
        toy({"discriminator": player("D", loss=linear_loss("D"))}, networks=networks)
