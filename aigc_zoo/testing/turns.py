"""The losses of a recipe's players and the batches that they get, for checks of recipes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from aigc_zoo.engine.networks import copied
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Loss, Nets, Recipe, all_losses
from aigc_zoo.testing.assertions import mixes_samples
from aigc_zoo.testing.fixtures import SEED, one_hot, seeded
from aigc_zoo.testing.trainers import BATCH

Fakes = Mapping[str, Tensor]
"""The result of `Recipe.generate`."""


def batch_of(
    trainer: Trainer, player: str, nets: Nets | None = None, entries: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The batch that a player's loss gets at the next step: entries and the fakes of `nets`.

    As in training, the fakes have their graph if the player controls a generator, and are detached otherwise. `nets`
    are the trainer's networks and `entries` the first batch of the next step unless they are given.
    """
    with_graph = controls_generator(trainer.recipe, player)
    entries = next_entries(trainer) if entries is None else entries
    with torch.set_grad_enabled(with_graph):
        fakes = fakes_of(trainer, nets, entries)
    return {**{key: value if with_graph else value.detach() for key, value in fakes.items()}, **entries}


def next_entries(trainer: Trainer) -> dict[str, Tensor]:
    """The first batch of the next step, without fakes."""
    with torch.random.fork_rng(devices=[]):
        return trainer.batch(0)


def fakes_of(trainer: Trainer, nets: Nets | None = None, entries: Mapping[str, Tensor] | None = None) -> Fakes:
    """What `generate` returns, with torch's generator at a fixed seed; for the arguments see `batch_of`."""
    entries = next_entries(trainer) if entries is None else entries
    fakes: Fakes = seeded(trainer.recipe.generate, trainer.nets if nets is None else nets, dict(entries))
    return fakes


def entries_with_label(trainer: Trainer, label: int) -> dict[str, Tensor]:
    """The entries of the next step's first batch, with every label replaced by this class."""
    labels = one_hot(trainer.spec, label, BATCH)
    assert labels is not None
    return {**next_entries(trainer), "label": labels}


def player_losses(recipe: Recipe) -> Iterator[tuple[str, Loss]]:
    """Every loss of every player, with the player's name."""
    for name, player in recipe.players.items():
        for loss in all_losses(player.loss):
            yield name, loss


def controls_generator(recipe: Recipe, player: str) -> bool:
    """True if the player trains one of the networks that `generate` uses."""
    return bool(set(recipe.players[player].controls) & set(recipe.generators))


def discriminator_players(recipe: Recipe) -> list[str]:
    """The names of the players that train no generator network."""
    return [name for name in recipe.players if not controls_generator(recipe, name)]


def terms_of(
    trainer: Trainer,
    player: str,
    loss: Loss,
    *,
    seed: int = SEED,
    nets: Nets | None = None,
    entries: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """The detached terms of a player's loss, with torch's generator at this seed while the loss is computed.

    A copy of the networks is used, so that their state does not change. The fakes do not depend on the seed.
    """
    nets = copied(trainer.nets if nets is None else nets)
    terms: Mapping[str, Tensor] = seeded(loss, nets, batch_of(trainer, player, nets, entries), seed=seed)
    return {name: term.detach() for name, term in terms.items()}


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of the terms that are minimized, which leaves out those that are only logged."""
    return torch.stack([term for name, term in terms.items() if not name.rpartition("/")[2].startswith("_")]).sum()


def network_mixes_samples(trainer: Trainer, network: str) -> bool:
    """True if a network's output for a sample depends on the other samples of its batch."""
    entries = next_entries(trainer)
    x, label = entries[trainer.recipe.imitates], entries.get("label")
    try:
        return mixes_samples(lambda x, label: trainer.nets[network](x, label).flatten(1), x, label)
    except Exception:  # The network has another signature, so that nothing can be said about it.
        return False


def forward_buffers(module: nn.Module) -> set[str]:
    """The names of buffers that a forward pass may change: running statistics, and vectors of spectral norm.

    A plugin's own module states this with the attribute `statistics = True`.
    """
    names = set()
    for name, inner in module.named_modules():
        norm = isinstance(inner, nn.modules.batchnorm._NormBase | torch.nn.utils.parametrizations._SpectralNorm)
        if norm or getattr(inner, "statistics", False) is True:
            names |= {f"{name}.{key}" if name else key for key, _ in inner.named_buffers(recurse=False)}
    return names
