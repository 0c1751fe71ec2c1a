"""The trainer knows whether training depended on `t`, and so on the length of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from sketch.toy import player, toy
from sketch.training import snapshot, train
from torch import Tensor

from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Batch, Every, Nets, Terms, Until, cosine, linear


def plain(nets: Nets, batch: Batch) -> Terms:
    return {"loss": nets.D.w + batch["fake"].mean() * 0}


def annealed(nets: Nets, batch: Batch) -> Terms:
    return {"loss": nets.D.w * (1 - batch["t"])}


def copied(nets: Nets, batch: Batch) -> Terms:
    """Reads every entry, t included, and uses all but t."""
    return plain(nets, {**batch, "more": batch["z"]})


def looked_at(nets: Nets, batch: Batch) -> Terms:
    t = batch.get("t")
    assert isinstance(t, Tensor)
    assert (t.shape, t.dtype, t.device.type, t.ndim, "t" in batch) == ((), torch.float64, "cpu", 0, True)
    return plain(nets, batch)


def branching(nets: Nets, batch: Batch) -> Terms:
    return plain(nets, batch) if batch["t"] < 2 else {}


def on_the_host(nets: Nets, batch: Batch) -> Terms:
    return {"loss": nets.D.w * float(batch["t"])}


def in_a_list(nets: Nets, batch: Batch) -> Terms:
    return {"loss": nets.D.w * torch.stack([batch["images"], batch["t"]]).sum()}


def logged(nets: Nets, batch: Batch) -> Terms:
    return {**plain(nets, batch), "_t": batch["t"]}


def in_fakes(nets: Nets, batch: Batch) -> Mapping[str, Tensor]:
    return {"fake": nets.G.w * batch["z"] * batch["t"] + nets.H.w}


def when_sampling(nets: Nets, batch: Batch) -> Mapping[str, Tensor]:
    return {"fake": nets.G.w * batch["z"] * (1 if nets.training else batch["t"]) + nets.H.w}


def game(loss: Any = plain, lr: Any = None, **settings: Any) -> Trainer:
    return toy({"discriminator": player("D", loss=loss, lr=lr)}, **settings)


def by_images(nets: Nets, batch: Batch) -> Tensor:
    return batch["images"] / 1000


INDEPENDENT = {
    "constant": game(),
    "a number": game(lr=0.1),
    "images": game(lr=by_images, ema={"G": by_images}),
    "EMA with a warm-up": game(ema={"G": 0.9}),
    "copies of the batch": game(copied),
    "attributes of t": game(looked_at),
    "a later stage": game(Until(8, plain, annealed)),
}

DEPENDENT = {
    "linear": (game(lr=linear(0.1, 0.0)), "lr of discriminator"),
    "cosine": (game(lr=cosine(0.1, 0.0)), "lr of discriminator"),
    "annealed": (game(annealed), "loss of discriminator"),
    "branching": (game(branching), "loss of discriminator"),
    "on the host": (game(on_the_host), "loss of discriminator"),
    "in a list": (game(in_a_list), "loss of discriminator"),
    "logged": (game(logged), "loss of discriminator"),
    "lazy": (game(Every(4, annealed, plain)), "loss of discriminator"),
    "an earlier stage": (game(Until(1, annealed, plain)), "loss of discriminator"),
    "EMA": (game(ema={"G": lambda nets, batch: 0.5 * batch["t"]}), "ema"),
    "fakes": (game(generate=in_fakes), "generate"),
}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_training_that_does_not_use_t(name: str) -> None:
    a = INDEPENDENT[name]
    train(a, 3)
    a.sampler().samples(2)
    assert a.watch.users == set()
    assert snapshot(a)[1]["uses_t"] == []


@pytest.mark.parametrize("name", DEPENDENT)
def test_training_that_uses_t_names_the_part(name: str) -> None:
    a, part = DEPENDENT[name]
    train(a, 3)
    assert a.watch.users == {part}


def test_sampling_counts_as_well() -> None:
    a = game(generate=when_sampling)
    train(a, 2)
    assert a.watch.users == set()
    a.sampler().samples(2)
    assert a.watch.users == {"generate"}


def test_a_resumed_trainer_keeps_what_earlier_steps_used() -> None:
    a = game(Until(2, annealed, plain))
    train(a, 3)
    b = game(Until(2, annealed, plain))
    b.load(*snapshot(a))
    train(b, 2)
    assert snapshot(b)[1]["uses_t"] == ["loss of discriminator"]


def test_a_state_that_does_not_record_it_counts_as_dependent() -> None:
    a = game()
    tensors, scalars = snapshot(a)
    del scalars["uses_t"]
    a.load(tensors, scalars)
    assert len(a.watch.users) == 1


def test_a_watched_t_gives_plain_tensors_of_equal_value() -> None:
    found: list[Tensor] = []

    def loss(nets: Nets, batch: Batch) -> Terms:
        t = batch["t"]
        found[:] = [t * 1, t.clone(), t.expand(3), t.to(torch.float32), 1 - t, torch.cos(t), t.detach()]
        return plain(nets, batch)

    a = game(loss)
    train(a, 4)
    assert {type(value) for value in found} == {Tensor}
    assert found[0] == 0.3
    assert found[5] == torch.cos(torch.tensor(0.3, dtype=torch.float64))
