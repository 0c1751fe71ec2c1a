"""Training on two ranks: `torchrun --module sketch.two_ranks DIR`; each rank writes its results to DIR."""

from __future__ import annotations

import json
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from pairs import PAIRS, pairs, pix2pix
from safetensors.torch import save_file
from sketch import components
from sketch.conv import LATENT, SPEC, Discriminator, Generator, conv_trainer, logistic
from sketch.families import FAMILIES
from sketch.toy import Weight, linear_loss, player, toy
from sketch.training import difference, snapshot, start, train, trainer
from tiny import RECIPES, small
from torch import Tensor, nn

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.engine.ranks import Ranks, join_group, leave_group
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Batch, Nets, Terms, adam
from aigc_zoo.two_player import two_player

Tensors = dict[str, Tensor]
STEPS = 3
"""Few: Adam turns a gradient that cancels to 1e-17 instead of 0 into 1e-9 of a step, and such differences add up."""


def first_party(name: str, ranks: Ranks) -> Trainer:
    """A trainer of a first-party recipe."""
    recipe = small(name, apart=True, ema=0.9)
    return trainer(recipe, SPEC, components.images, dtype=torch.float64, ranks=ranks)


def sketched(name: str, ranks: Ranks) -> Trainer:
    """A trainer of a family of the sketch."""
    return start(FAMILIES[name](), dtype=torch.float64, ranks=ranks)


def translated(ranks: Ranks) -> Trainer:
    """A trainer of pix2pix."""
    return trainer(pix2pix(ema=0.9), PAIRS, partial(pairs, dtype=torch.float64), dtype=torch.float64, ranks=ranks)


TRAINERS: Mapping[str, Callable[[Ranks], Trainer]] = {
    "wgan_gp": partial(sketched, "wgan_gp"),
    "r3gan": partial(sketched, "r3gan"),
    **{name: partial(first_party, name) for name in RECIPES},
    "pix2pix": translated,
}


def all_trainers(ranks: Ranks) -> Tensors:
    """The state of each trainer on this rank after some steps, and this rank's shard of the next batch."""
    found = {}
    for name, begin in TRAINERS.items():
        a = begin(ranks)
        train(a, STEPS)
        found |= {f"{name}/{key}": value for key, value in snapshot(a)[0].items()}
        found |= {f"{name}/batch/{key}": value for key, value in a.batch(0).items() if value.ndim}
    return found


def engine_options(ranks: Ranks) -> Tensors:
    """The state of this rank after some steps with gradient accumulation, and with synchronized batch norm."""
    found = {}
    for name, settings in (
        ("accumulate", {"norm": False, "accumulate": 2}),
        ("sync_batch_norm", {"sync_batch_norm": True}),
    ):
        a = convolutional(ranks, **settings)
        train(a, STEPS)
        found |= {f"{name}/{key}": value for key, value in snapshot(a)[0].items()}
    return found


def convolutional(ranks: Ranks, *, norm: bool = True, **settings: bool | int) -> Trainer:
    """The convolutional networks in float64, with batch normalization or without."""
    recipe = two_player(
        lambda spec, latent: Generator(norm),
        lambda spec: Discriminator(norm),
        logistic,
        latent=LATENT,
        optimizer=lambda weights: torch.optim.SGD(weights, lr=0.1),
        discriminator_turns=2,
        ema={"G": 0.9},
        steps=10,
    )
    shard = ranks.shard(components.SIZE)

    def sharded(n: int) -> Tensors:
        return {key: value[shard] for key, value in components.images(n).items()}

    return Trainer(
        recipe, SPEC, sharded, batch_size=components.SIZE, steps=10, dtype=torch.float64, ranks=ranks, **settings
    )


# --- state that differs between ranks ---------------------------------------------------------------------------------


def with_batch_norm(ranks: Ranks) -> Trainer:
    """The convolutional networks in float32, with batch statistics that differ between ranks."""
    return conv_trainer(True, logistic, dtype=torch.float32, ranks=ranks, optimizer=adam(1e-3, 0.5), ema={"G": 0.9})


def own_state(a: Trainer) -> Tensors:
    """The tensors of this rank, of which `Trainer.state` returns rank 0's."""
    nets, ema = a.nets.state_dict(), a.ema.state_dict()
    return {f"nets/{k}": v.clone() for k, v in nets.items()} | {f"ema/{k}": v.clone() for k, v in ema.items()}


def resumed(ranks: Ranks, directory: Path) -> Tensors:
    """The difference of an uninterrupted run to one resumed from rank 0's file, with and without "rank1/" tensors."""
    straight = with_batch_norm(ranks)
    train(straight, 5)
    tensors, scalars = straight.state()
    if ranks.first:
        checkpoint.save(directory / "5.safetensors", tensors, scalars)
    ranks.wait()
    saved, card = checkpoint.load(directory / "5.safetensors")
    shared = {name: tensor for name, tensor in saved.items() if not name.startswith("rank1/")}
    train(straight, 3)
    found = {}
    for kind, given in (("all", saved), ("shared", shared)):
        a = with_batch_norm(ranks)
        a.load(given, card)
        train(a, 3)
        found[f"resumed/{kind}"] = torch.tensor(difference(own_state(straight), own_state(a)))
    a = with_batch_norm(ranks)
    a.load(saved, card)
    chunks = a.sampler(synchronize=True, seed=4).chunks(300, ranks=ranks)
    return found | {f"chunk/{ranks.rank + i * ranks.world}": chunk.contiguous() for i, chunk in enumerate(chunks)}


class Level(nn.Module):
    """A module that replaces its buffer instead of writing to it."""

    shared = True

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def update(self, x: Tensor) -> None:
        self.mean = x.mean()


def buffers(ranks: Ranks) -> Tensors:
    """Buffers of this rank after training: shared ones, others, and one that its module replaces."""
    found = {}
    for name in ("stylegan2", "multiscale"):
        a = sketched(name, ranks)
        train(a, 5)
        found |= {f"{name}/{key}": value for key, value in own_state(a).items()}
        found |= {f"{name}/saved/{key}": value for key, value in snapshot(a)[0].items() if key.startswith("rank1/")}

    def loss(nets: Nets, batch: Batch) -> Terms:
        nets.level.update(batch["z"])
        return {"loss": nets.D.w.square(), "_noise": torch.rand((), dtype=torch.float64)}

    nets = {"G": Weight(), "H": Weight(), "D": Weight()}
    a = toy({"discriminator": player("D", loss=loss)}, networks=lambda spec: nets | {"level": Level()}, ranks=ranks)
    (terms,) = train(a, 1)
    return found | {"level": a.nets.level.mean, "noise": terms["discriminator/_noise"]}


# --- collectives ------------------------------------------------------------------------------------------------------


def broken(ranks: Ranks) -> str | None:
    """The message of `Trainer.diverged` after a loss was NaN on the last rank only."""

    def loss(nets: Nets, batch: Batch) -> Terms:
        is_nan = ranks.rank == ranks.world - 1 and int(batch["images"]) == 2 * components.SIZE
        return {"loss": nets.D.w * (float("nan") if is_nan else 1.0)}

    a = toy({"discriminator": player("D", loss=loss), "generator": player("D", loss=linear_loss("D"))}, ranks=ranks)
    train(a, 2)
    assert a.diverged() is None
    train(a, 2)
    return a.diverged()


def collectives(ranks: Ranks) -> dict[str, object]:
    """The result of every collective."""
    own = torch.tensor([float(ranks.rank), 1.0])
    copied = own.clone()
    ranks.copy_from_first([copied])
    averaged = ranks.all_reduce_mean([own, None, own.double().view(2, 1), torch.tensor(float(ranks.rank))])
    return {
        "rank": [ranks.rank, ranks.world, ranks.first],
        "any": [ranks.any(ranks.rank == ranks.world - 1), ranks.any(False)],
        "gathered": [part.tolist() for part in ranks.gather(own)],
        "copied": copied.tolist(),
        "averaged": [None if value is None else value.tolist() for value in averaged],
        "broken": broken(ranks),
    }


def main(directory: Path) -> None:
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    ranks = join_group(torch.device("cpu"))
    group = weakref.ref(torch.distributed.group.WORLD)
    try:
        tensors = all_trainers(ranks) | engine_options(ranks) | buffers(ranks) | resumed(ranks, directory)
        results = collectives(ranks)
    finally:
        leave_group()
    save_file(
        {name: value.contiguous().clone() for name, value in tensors.items()}, directory / f"{ranks.rank}.tensors"
    )
    (directory / f"{ranks.rank}.json").write_text(json.dumps(results | {"group is gone": group() is None}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
