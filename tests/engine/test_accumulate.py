"""Gradient accumulation: micro-batches equal the whole batch if losses are means over samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sketch import components
from sketch.components import SIZE
from sketch.conv import LATENT, SPEC, Discriminator, Generator, logistic
from sketch.training import difference, snapshot, train
from sketch.two_player import LAZY

from aigc_zoo.engine.batch import split_batch
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import adam, linear
from aigc_zoo.two_player import two_player


def trainer(accumulate: int, seed: int = 0, **settings: Any) -> Trainer:
    recipe = two_player(
        lambda spec, latent: Generator(False),
        lambda spec: Discriminator(False),
        logistic,
        latent=LATENT,
        steps=10,
        **{
            "optimizer": adam(1e-3, 0.5),
            "discriminator_turns": 2,
            "penalties": LAZY,
            "lr": linear(1e-3, 0.0),
            "ema": {"G": 0.9},
            **settings,
        },
    )
    return Trainer(
        recipe,
        SPEC,
        components.images,
        batch_size=SIZE,
        steps=10,
        seed=seed,
        dtype=torch.float64,
        accumulate=accumulate,
    )


@pytest.mark.parametrize("accumulate", [2, 4, 8])
def test_micro_batches_equal_the_whole_batch(accumulate: int) -> None:
    """With several discriminator turns, lazy penalties, a decaying learning rate and an EMA, to 1e-12."""
    whole, accumulated = trainer(1), trainer(accumulate)
    for _ in range(4):
        one, other = whole.train_step(), accumulated.train_step()
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-12)
    assert difference(snapshot(whole)[0], snapshot(accumulated)[0]) <= 1e-12


def test_networks_receive_micro_batches_only() -> None:
    a, sizes = trainer(4), set()
    for name in ("G", "D"):
        a.nets[name].register_forward_hook(lambda net, args, output: sizes.add(len(args[0])))
    train(a, 2)
    assert sizes == {SIZE // 4}


def test_fakes_of_micro_batches_keep_no_graph() -> None:
    a, grads = trainer(2), []
    a.nets.G.register_forward_hook(lambda net, args, output: grads.append(output.requires_grad))
    a.train_step()
    # Two discriminator turns use two micro-batches each without a graph; the generator generates its own again.
    assert grads == [False, False, False, False, True, True]


def test_noise_is_drawn_for_the_whole_batch() -> None:
    assert torch.equal(trainer(4).batch(0)["z"], trainer(1).batch(0)["z"])


def test_entries_without_a_row_per_sample_are_not_split() -> None:
    first, second = split_batch({"real": torch.arange(4), "t": torch.ones(()), "kernel": torch.ones(3, 3)}, 4, 2)
    assert first["real"].tolist() == [0, 1]
    assert second["real"].tolist() == [2, 3]
    assert first["kernel"].shape == second["kernel"].shape == (3, 3)
    assert second["t"].ndim == 0


def test_unequal_micro_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="does not divide into 3 equal micro-batches"):
        trainer(3)
