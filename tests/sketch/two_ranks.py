"""What ranks play together: under `torchrun --module sketch.two_ranks OUT`, each writes to OUT what it found."""

from __future__ import annotations

import json
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
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

Found = dict[str, Tensor]
STEPS = 3
"""Few: Adam takes a gradient that cancels to 1e-17, not 0, for 1e-9 of a step, and such differences add up."""


def installed(name: str, ranks: Ranks) -> Trainer:
    recipe = small(name, apart=True, ema=0.9)
    return trainer(recipe, SPEC, components.images, dtype=torch.float64, ranks=ranks)


def sketched(name: str, ranks: Ranks) -> Trainer:
    return start(FAMILIES[name](), dtype=torch.float64, ranks=ranks)


GAMES: Mapping[str, Callable[[Ranks], Trainer]] = {
    "wgan_gp": partial(sketched, "wgan_gp"),
    "r3gan": partial(sketched, "r3gan"),
    **{name: partial(installed, name) for name in RECIPES},
}


def games(ranks: Ranks) -> Found:
    """All that a rank has of each game after some steps, and its rows of the next batch."""
    found = {}
    for name, begin in GAMES.items():
        a = begin(ranks)
        train(a, STEPS)
        found |= {f"{name}/{key}": value for key, value in snapshot(a)[0].items()}
        found |= {f"{name}/batch/{key}": value for key, value in a.batch(0).items() if value.ndim}
    return found


def other_ways(ranks: Ranks) -> Found:
    """What each rank has after some steps in parts, and with batch normalisation over all ranks."""
    found = {}
    for name, settings in (("parts", {"norm": False, "accumulate": 2}), ("synchronised", {"sync_batch_norm": True})):
        a = normal(ranks, **settings)
        train(a, STEPS)
        found |= {f"{name}/{key}": value for key, value in snapshot(a)[0].items()}
    return found


def normal(ranks: Ranks, *, norm: bool = True, **settings: bool | int) -> Trainer:
    """The pair of convolutional networks in float64, with batch normalisation or without."""
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
    share = ranks.shard(components.SIZE)

    def ours(n: int) -> Found:
        return {key: value[share] for key, value in components.images(n).items()}

    return Trainer(
        recipe, SPEC, ours, batch_size=components.SIZE, steps=10, dtype=torch.float64, ranks=ranks, **settings
    )


# --- state that differs between ranks ---------------------------------------------------------------------------------


def normalised(ranks: Ranks) -> Trainer:
    return conv_trainer(True, logistic, dtype=torch.float32, ranks=ranks, optimizer=adam(1e-3, 0.5), ema={"G": 0.9})


def own(a: Trainer) -> Found:
    """What this rank holds, whatever it would save."""
    nets, average = a.nets.state_dict(), a.ema.state_dict()
    return {f"nets/{k}": v.clone() for k, v in nets.items()} | {f"ema/{k}": v.clone() for k, v in average.items()}


def resumed(ranks: Ranks, folder: Path) -> Found:
    """How far a run that was resumed from rank 0's file is from one that was not; and without the ranks' own part."""
    straight = normalised(ranks)
    train(straight, 5)
    tensors, scalars = straight.state()
    if ranks.first:
        checkpoint.save(folder / "5.safetensors", tensors, scalars)
    ranks.wait()
    saved, card = checkpoint.load(folder / "5.safetensors")
    shared = {name: tensor for name, tensor in saved.items() if not name.startswith("rank1/")}
    train(straight, 3)
    found = {}
    for kind, given in (("all", saved), ("shared", shared)):
        a = normalised(ranks)
        a.load(given, card)
        train(a, 3)
        found[f"resumed/{kind}"] = torch.tensor(difference(own(straight), own(a)))
    a = normalised(ranks)
    a.load(saved, card)
    made = a.sampler(synchronize=True, seed=4).chunks(300, ranks=ranks)
    return found | {f"chunk/{ranks.rank + i * ranks.world}": chunk.contiguous() for i, chunk in enumerate(made)}


class Level(nn.Module):
    """Replaces its buffer, where others write to theirs."""

    shared = True

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def see(self, x: Tensor) -> None:
        self.mean = x.mean()


def buffers(ranks: Ranks) -> Found:
    found = {}
    for name in ("stylegan2", "multiscale"):
        a = sketched(name, ranks)
        train(a, 5)
        found |= {f"{name}/{key}": value for key, value in own(a).items()}
        found |= {f"{name}/saved/{key}": value for key, value in snapshot(a)[0].items() if key.startswith("rank1/")}

    def loss(nets: Nets, batch: Batch) -> Terms:
        nets.level.see(batch["z"])
        return {"loss": nets.D.w.square(), "_dice": torch.rand((), dtype=torch.float64)}

    nets = {"G": Weight(), "H": Weight(), "D": Weight()}
    a = toy({"discriminator": player("D", loss=loss)}, networks=lambda spec: nets | {"level": Level()}, ranks=ranks)
    (terms,) = train(a, 1)
    return found | {"level": a.nets.level.mean, "dice": terms["discriminator/_dice"]}


# --- agreement --------------------------------------------------------------------------------------------------------


def broken(ranks: Ranks) -> str | None:
    """What ranks say of a loss that was not a number on the last of them alone."""

    def loss(nets: Nets, batch: Batch) -> Terms:
        bad = ranks.rank == ranks.world - 1 and int(batch["images"]) == 2 * components.SIZE
        return {"loss": nets.D.w * (float("nan") if bad else 1.0)}

    a = toy({"discriminator": player("D", loss=loss), "generator": player("D", loss=linear_loss("D"))}, ranks=ranks)
    train(a, 2)
    assert a.diverged() is None
    train(a, 2)
    return a.diverged()


def talk(ranks: Ranks) -> dict[str, object]:
    """Every kind of talk between ranks."""
    mine = torch.tensor([float(ranks.rank), 1.0])
    copied = mine.clone()
    ranks.copy_from_first([copied])
    averaged = ranks.all_reduce_mean([mine, None, mine.double().view(2, 1), torch.tensor(float(ranks.rank))])
    return {
        "rank": [ranks.rank, ranks.world, ranks.first],
        "any": [ranks.any(ranks.rank == ranks.world - 1), ranks.any(False)],
        "gathered": [part.tolist() for part in ranks.gather(mine)],
        "copied": copied.tolist(),
        "averaged": [None if value is None else value.tolist() for value in averaged],
        "broken": broken(ranks),
    }


def main(folder: Path) -> None:
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    ranks = join_group(torch.device("cpu"))
    joined = weakref.ref(torch.distributed.group.WORLD)
    try:
        found = games(ranks) | other_ways(ranks) | buffers(ranks) | resumed(ranks, folder)
        said = talk(ranks)
    finally:
        leave_group()
    save_file({name: value.contiguous().clone() for name, value in found.items()}, folder / f"{ranks.rank}.tensors")
    (folder / f"{ranks.rank}.json").write_text(json.dumps(said | {"group is gone": joined() is None}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
