"""`changed` and `plus` derive a play from another one, whatever choices by step it consists of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sketch.toy import linear_loss, player, toy, weight_of
from torch import Tensor

from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Batch, Every, Loss, Nets, Play, Terms, Until, all_losses, changed, play_at, plus


def term(name: str) -> Loss:
    """A loss with one term, the value of the batch's entry x."""
    return lambda nets, batch: {name: batch["x"]}


def terms_at(play: Play, step: int, x: float = 1.0) -> dict[str, float] | None:
    """The terms of a play at a step, None where it skips the turn."""
    loss = play_at(play, step)
    return None if loss is None else {k: float(v) for k, v in loss(Nets(), {"x": torch.tensor(x)}).items()}


def double(nets: Nets, batch: Batch) -> Batch:
    return {**batch, "x": 2 * batch["x"]}


PLAYS: dict[str, Play] = {
    "none": None,
    "a loss": term("a"),
    "every": Every(3, term("a"), term("b")),
    "until": Until(2, term("a"), term("b")),
    "skips first": Until(2, None, term("a")),
    "skips most": Every(4, term("a"), None),
    "nested": Until(3, Every(2, None, term("a")), Every(3, Until(7, term("b"), None), term("c"))),
}


@pytest.mark.parametrize("name", PLAYS)
def test_changed_reaches_every_loss_and_skips_what_is_skipped(name: str) -> None:
    play = PLAYS[name]
    for step in range(12):
        before = terms_at(play, step)
        assert terms_at(changed(play, double), step) == (before and {key: 2 * value for key, value in before.items()})
    assert len(all_losses(changed(play, double))) == len(all_losses(play))


@pytest.mark.parametrize("more", [name for name in PLAYS if name not in ("none", "nested")])
@pytest.mark.parametrize("name", PLAYS)
def test_plus_adds_the_terms_that_are_due(name: str, more: str) -> None:
    play, added = PLAYS[name], changed(PLAYS[more], double)

    def renamed(play: Play) -> Play:
        """The added play with other names, since terms of one name are refused."""

        def rename(loss: Loss) -> Loss:
            return lambda nets, batch: {f"more_{key}": value for key, value in loss(nets, batch).items()}

        if isinstance(play, Every):
            return Every(play.interval, renamed(play.loss), renamed(play.otherwise))
        if isinstance(play, Until):
            return Until(play.steps, renamed(play.loss), renamed(play.then))
        return play and rename(play)

    for step in range(12):
        before, extra = terms_at(play, step), terms_at(renamed(added), step) or {}
        assert terms_at(plus(play, renamed(added)), step) == (None if before is None else {**before, **extra})


def test_they_combine_and_the_added_terms_see_the_batch_of_their_own_play() -> None:
    lazy = plus(term("a"), Every(2, term("b"), None))
    assert terms_at(changed(lazy, double), 0) == {"a": 2.0, "b": 2.0}
    assert terms_at(plus(changed(term("a"), double), Every(2, term("b"), None)), 0) == {"a": 2.0, "b": 1.0}
    assert terms_at(changed(changed(term("a"), double), double), 0) == {"a": 4.0}
    assert terms_at(plus(plus(term("a"), term("b")), term("c")), 0) == {"a": 1.0, "b": 1.0, "c": 1.0}


def test_nothing_added_is_the_same_loss() -> None:
    loss = term("a")
    assert plus(loss, None) is loss
    assert play_at(plus(loss, Every(2, term("b"), None)), 1) is loss


@pytest.mark.parametrize("play", [term("a"), Every(2, None, term("a")), Until(1, term("b"), term("a"))])
def test_a_term_that_both_return_is_refused(play: Play) -> None:
    with pytest.raises(ValueError, match="already has the term 'a'"):
        terms_at(plus(play, term("a")), 1)


def test_a_trainer_names_the_player_of_such_a_term() -> None:
    twice = plus(linear_loss("D"), linear_loss("D"))
    with pytest.raises(ConfigError, match=r"player discriminator, step 0: .*already has the term 'loss'"):
        toy({"discriminator": player("D", loss=twice)}).train_step()


def test_the_trainer_trains_on_derived_plays() -> None:
    """The weight falls by 0.1 per unit of gradient: the loss gives 1, the added term 10 at every second step."""

    def extra(nets: Nets, batch: Batch) -> Terms:
        return {"extra": 10 * nets.D.w}

    a = toy({"discriminator": player("D", loss=Until(3, None, plus(linear_loss("D"), Every(2, extra, None))))})
    weights = []
    for _ in range(6):
        a.train_step()
        weights.append(round(weight_of(a, "D"), 6))
    assert weights == [1.0, 1.0, 1.0, 0.9, -0.2, -0.3]


@pytest.mark.parametrize("with_graph", [True, False])
def test_fakes_in_a_changed_batch_keep_their_graph(with_graph: bool) -> None:
    seen: list[bool] = []

    def blurred(nets: Nets, batch: Batch) -> Batch:
        return {**batch, "fake": 0.5 * batch["fake"]}

    def record(net: str) -> Callable[[Nets, Batch], dict[str, Tensor]]:
        def loss(nets: Nets, batch: Batch) -> dict[str, Tensor]:
            seen.append(batch["fake"].requires_grad)
            return {"loss": batch["fake"].mean() * nets[net].w}

        return loss

    net = "G" if with_graph else "D"
    toy({"only": player(net, loss=changed(record(net), blurred))}).train_step()
    assert set(seen) == {with_graph}
