"""One turn, and the order of turns in a step: who plays on what, what is lowered, what is only logged."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from sketch.play import play
from sketch.toy import Weight, at, game, number_of, player, pull, sgd
from torch import Tensor, nn

from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Batch, Every, Nets, Player, Terms, Until

Make = Callable[[Nets, Batch], Mapping[str, Tensor]]


class Counted:
    """A `generate` that remembers for which batches it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, nets: Nets, batch: Batch) -> Mapping[str, Tensor]:
        self.asked.append(number_of(batch))
        return {"fake": nets.G.w * batch["z"] + nets.H.w}


def looks(name: str, seen: list[Tensor]) -> Callable[[Nets, Batch], Terms]:
    """A loss of `name`'s weight that keeps the fakes it was shown."""

    def loss(nets: Nets, batch: Batch) -> Terms:
        seen.append(batch["fake"])
        return {"loss": (nets[name].w * batch["fake"]).mean()}

    return loss


# --- fakes ------------------------------------------------------------------------------------------------------------


def test_fakes_are_made_once_a_batch_whoever_looks() -> None:
    generate, seen = Counted(), []
    players = {
        "critic": player("D", loss=looks("D", seen), turns=3),
        "generator": player("G", loss=looks("D", seen)),
        "late": player("D", loss=looks("D", seen)),
    }
    play(game(players, generate=generate), 2)
    assert generate.asked == [0, 1, 2, 3, 4, 5]
    assert len(seen) == 2 * (3 + 1 + 1)


def test_fakes_that_nobody_looks_at_are_not_made() -> None:
    generate = Counted()
    critic = player("D", loss=pull("D"), turns=3)
    play(game({"critic": critic}, generate=generate), 1)
    assert generate.asked == []
    play(game({"critic": critic, "generator": player("G", loss=looks("D", []))}, generate=generate), 1)
    assert generate.asked == [2]


def test_fakes_come_detached_but_for_those_who_make_them() -> None:
    critic, generator, late = [], [], []
    players = {
        "critic": player("D", loss=looks("D", critic)),
        "generator": player("G", loss=looks("D", generator)),
        "late": player("D", loss=looks("D", late)),
    }
    play(game(players), 1)
    assert [fakes[0].requires_grad for fakes in (critic, generator, late)] == [False, True, False]
    assert torch.equal(critic[0], generator[0])
    assert torch.equal(critic[0], late[0])  # shared, though the generator has moved since


def test_a_second_maker_gets_fakes_of_the_weights_as_they_are_now() -> None:
    generate, first, between, second = Counted(), [], [], []
    players = {
        "first": player("G", loss=looks("D", first)),
        "critic": player("D", loss=looks("D", between)),
        "second": player("H", loss=looks("D", second)),
    }
    a = game(players, generate=generate)
    z = a.batch(0)["z"]
    play(a, 1)
    assert generate.asked == [0, 0]
    moved = 2.0 - 0.1 * z.mean()
    torch.testing.assert_close(first[0], 2.0 * z + 0.5)
    torch.testing.assert_close(between[0], 2.0 * z + 0.5)
    torch.testing.assert_close(second[0], moved * z + 0.5)


def test_a_maker_with_two_turns_is_shown_its_own_last_move() -> None:
    generate, seen = Counted(), []
    a = game({"generator": player("G", loss=looks("D", seen), turns=2)}, generate=generate)
    z = [a.batch(i)["z"] for i in range(2)]
    play(a, 1)
    assert generate.asked == [0, 1]
    torch.testing.assert_close(seen[1], (2.0 - 0.1 * z[0].mean()) * z[1] + 0.5)


def test_a_maker_after_a_critic_that_looked_ahead_makes_the_second_batch_anew() -> None:
    generate, critic, generator = Counted(), [], []
    players = {
        "critic": player("D", loss=looks("D", critic), turns=2),
        "generator": player("G", loss=looks("D", generator), turns=2),
    }
    play(game(players, generate=generate), 1)
    assert generate.asked == [0, 1, 1]  # the second time after the generator's first move
    assert torch.equal(critic[0], generator[0])
    assert not torch.equal(critic[1], generator[1])


def test_a_key_that_nobody_provides_is_named_with_those_that_are_there() -> None:
    a = game({"critic": player("D", loss=lambda nets, batch: {"loss": nets.D.w * batch["fakes"].mean()})})
    with pytest.raises(KeyError, match=r"'fakes' is not in this batch, which has fake, images, real, t, z"):
        a.train_step()


# --- whose turn, on which batch ---------------------------------------------------------------------------------------


def test_a_player_plays_on_the_last_batches() -> None:
    seen: dict[str, list[int]] = {"one": [], "two": [], "three": []}

    def noting(who: str) -> Callable[[Nets, Batch], Terms]:
        def loss(nets: Nets, batch: Batch) -> Terms:
            seen[who].append(number_of(batch))
            return {"loss": nets.D.w.square()}

        return loss

    players = {who: player("D", loss=noting(who), turns=turns) for turns, who in enumerate(seen, 1)}
    a = game(players)
    assert a.recipe.rounds == 3
    play(a, 2)
    assert seen == {"one": [2, 5], "two": [1, 2, 4, 5], "three": [0, 1, 2, 3, 4, 5]}


def test_plays_are_chosen_by_step() -> None:
    nested = Until(2, None, Every(3, pull("D", by=10.0), Until(4, None, pull("D"))))
    a = game({"critic": player("D", loss=nested, optimizer=sgd(1.0)), "other": player("G", loss=pull("G"))})
    pulls = [terms.get("critic/pull") for terms in play(a, 7)]
    assert [None if value is None else int(value) for value in pulls] == [None, None, None, 10, -9, -10, -110]
    assert at(a, "D") == 1 - 10 - 1 - 1 - 10


def test_who_sits_out_moves_nothing_and_logs_nothing() -> None:
    a = game({"critic": player("D", loss=Until(3, None, pull("D"))), "generator": player("G", loss=pull("G"))})
    terms = play(a, 3)
    assert all(set(found) == {"generator/pull"} for found in terms)
    assert at(a, "D") == 1.0
    assert set(a.train_step()) == {"critic/pull", "generator/pull"}
    assert at(a, "D") == 0.9


def test_a_player_moves_only_what_it_controls() -> None:
    def everything(nets: Nets, batch: Batch) -> Terms:
        return {"loss": nets.G.w * nets.H.w * nets.D.w}

    a = game({"pair": player("G", "D", loss=everything)})
    play(a, 1)
    assert (at(a, "G"), at(a, "H"), at(a, "D")) == (2.0 - 0.1 * 0.5, 0.5, 1.0 - 0.1 * 1.0)


def test_weights_that_a_network_wants_left_alone_are() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.still = nn.Parameter(torch.tensor(3.0), requires_grad=False)
            self.w = nn.Parameter(torch.tensor(1.0))

    critic = player("D", loss=lambda nets, batch: {"loss": nets.D.w * nets.D.still})
    a = game({"critic": critic}, networks=lambda spec: {"D": Half(), "G": Weight(), "H": Weight()})
    play(a, 1)
    assert a.nets.D.still.item() == 3.0
    assert at(a, "D") == pytest.approx(0.7)


# --- terms ------------------------------------------------------------------------------------------------------------


def test_terms_are_summed_and_those_with_an_underscore_only_logged() -> None:
    def loss(nets: Nets, batch: Batch) -> Terms:
        w = nets.D.w
        return {"a": 2 * w, "b": 3 * w, "_c": 100 * w, "_d": torch.tensor(7.0)}

    a = game({"critic": player("D", loss=loss)})
    (terms,) = play(a, 1)
    assert {name: float(value) for name, value in terms.items()} == {
        "critic/a": 2.0,
        "critic/b": 3.0,
        "critic/_c": 100.0,
        "critic/_d": 7.0,
    }
    assert not any(value.requires_grad for value in terms.values())
    assert at(a, "D") == 1.0 - 0.1 * (2 + 3)


def test_a_logged_buffer_is_what_it_was_then() -> None:
    def loss(nets: Nets, batch: Batch) -> Terms:
        nets.D.level.add_(1)
        return {"loss": nets.D.w.square(), "_level": nets.D.level}

    a = game({"critic": player("D", loss=loss)})
    assert [float(terms["critic/_level"]) for terms in play(a, 3)] == [1.0, 2.0, 3.0]


def test_of_several_turns_the_last_terms_are_returned() -> None:
    a = game({"critic": player("D", loss=pull("D"), turns=3)})
    (terms,) = play(a, 1)
    assert float(terms["critic/pull"]) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (lambda w: {"good": w, "lost": w.detach()}, r"term 'lost' has no graph.*_lost"),
        (lambda w: {"good": w, "wide": w * torch.ones(3)}, r"term 'wide' has shape \(3,\): a term is one number"),
        (lambda w: {"_only": w}, "no term to lower"),
        (lambda w: {}, "no term to lower"),
    ],
)
def test_a_term_that_cannot_be_lowered_is_named(terms: Callable[[Tensor], Terms], message: str) -> None:
    a = game({"critic": player("D", loss=lambda nets, batch: terms(nets.D.w))})
    with pytest.raises(ConfigError, match=rf"^player critic, step 0: .*{message}") as caught:
        a.train_step()
    assert str(caught.value).count("\n") < 3


@pytest.mark.parametrize(
    ("players", "settings", "message"),
    [
        ({"critic": player("E", loss=pull("D"))}, {}, "player critic controls E, but the networks are G, H, D"),
        (
            {"critic": player("D", loss=pull("D"))},
            {"generators": ("X",)},
            "generators name X, but the networks are G, H, D",
        ),
        ({"critic": player("D", loss=pull("D"))}, {"ema": {"X": 0.9}}, "ema name X, but the networks are"),
        (
            {"critic": player("D", loss=pull("D"))},
            {"networks": lambda spec: {"D": nn.Identity(), "G": Weight(), "H": Weight()}},
            "player critic controls no weights: D have none",
        ),
    ],
)
def test_names_that_do_not_fit_are_refused(
    players: Mapping[str, Player], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        game(players, **settings)


def test_a_refusal_of_the_networks_is_a_configuration_error() -> None:
    def networks(spec: object) -> Mapping[str, nn.Module]:
        raise ValueError("cannot make 3x5: try 4x4")

    with pytest.raises(ConfigError, match="cannot make 3x5: try 4x4"):
        game({"critic": player("D", loss=pull("D"))}, networks=networks)
