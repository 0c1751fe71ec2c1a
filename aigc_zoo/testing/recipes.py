"""Checks of recipes: their losses, players, noise, labels and samples."""

from __future__ import annotations

import math

import torch
from torch import nn

from aigc_zoo.errors import ConfigError, DataError, StorageError, in_a_line
from aigc_zoo.game import Loss, Nets, all_losses
from aigc_zoo.testing.assertions import (
    differing,
    equal,
    graph_names,
    joined,
    require,
)
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.fixtures import seeded
from aigc_zoo.testing.subjects import ComponentSubject
from aigc_zoo.testing.trainers import BATCH, RecipeFixture, fixture_of, fixtures_of, has_switch, on_own_dataset
from aigc_zoo.testing.turns import (
    batch_of,
    discriminator_players,
    forward_buffers,
    network_mixes_samples,
    next_entries,
    player_losses,
    terms_of,
    total,
)

TRIED = 24
"""Steps in which a discriminator has to learn."""


@check("R-PLAYS", needs="cpu", kinds=("recipe",))
def trains_with_finite_terms(subject: ComponentSubject) -> str:
    """With default options the first and the last steps of a run give finite terms, and so does every loss between, at
    every shape that the recipe states.
    """
    shapes = []
    for fixture in fixtures_of(subject):
        _play(fixture)
        shapes.append(str(fixture.spec.shape))
    return f"on {'synthetic' if fixture.synthetic else 'its own'} samples of shape {' and '.join(shapes)}"


@check("R-DATA", needs="cpu", kinds=("recipe",))
def plays_on_its_own_dataset(subject: ComponentSubject) -> str:
    """On its default dataset every loss of every player gives finite terms, also with its option `conditional` if the
    dataset has classes.
    """
    try:
        fixture = on_own_dataset(subject)
    except (DataError, StorageError) as error:
        return f"its default dataset is not on this machine: {in_a_line(error)[:200]}"
    _play(fixture)
    note = f"{fixture.configuration.run.data or fixture.recipe.dataset} of shape {fixture.spec.shape}"
    if fixture.spec.classes and has_switch(subject):
        try:
            conditional = on_own_dataset(subject, conditional=True)
            conditional.trainer()
        except ConfigError as error:
            return f"{note}; --conditional is refused: {' '.join(str(error).split())[:200]}"
        _play(conditional, "with --conditional ")
    return note


def _play(fixture: RecipeFixture, how: str = "") -> None:
    """Trains at the first two steps and at the last one of a run, as `zoo train` does, and then with each loss that a
    player has at any step.
    """
    for plays in (None, *fixture.stages):
        trainer = fixture.trainer(plays=plays, steps=max(3, fixture.length))
        for step in (0, 1, trainer.steps - 1):
            trainer.step = step
            for name, term in trainer.train_step().items():
                require(torch.isfinite(term).all(), f"{how}term {name} is not finite at step {step}")
        require(trainer.diverged() is None, f"{how}{trainer.diverged()}")


# --- losses and players -----------------------------------------------------------------------------------------------


@check("R-MOVES", needs="cpu", kinds=("recipe",))
def every_weight_gets_a_gradient(subject: ComponentSubject) -> None:
    """Every trainable weight that a player controls gets a gradient from at least one of its losses."""
    trainer = fixture_of(subject).trainer()
    controlled: set[str] = set()
    updated: set[str] = set()
    for name, player in trainer.recipe.players.items():
        weights = {
            f"{net}.{key}": weight
            for net in player.controls
            for key, weight in trainer.nets[net].named_parameters()
            if weight.requires_grad
        }
        for loss in all_losses(player.loss):
            minimized = total(seeded(loss, trainer.nets, batch_of(trainer, name)))
            gradients = torch.autograd.grad(minimized, list(weights.values()), allow_unused=True)
            updated |= {key for key, gradient in zip(weights, gradients, strict=True) if gradient is not None}
        controlled |= weights.keys()
    idle = sorted(controlled - updated)
    require(not idle, f"no loss gives a gradient to {joined(idle)}: remove these weights, or use them in a loss")


@check("R-TURNS", needs="cpu", kinds=("recipe",))
def players_update_only_their_networks(subject: ComponentSubject) -> None:
    """A player's update leaves all other networks bit-equal, weights and buffers, except for normalization statistics
    and networks that no player controls.
    """
    fixture = fixture_of(subject)
    controlled = {net for player in fixture.recipe.players.values() for net in player.controls}
    for name, loss in player_losses(fixture.recipe):
        trainer = fixture.trainer(plays={name: loss})
        controls = trainer.recipe.players[name].controls
        others = Nets({net: module for net, module in trainer.nets.items() if net not in controls})
        before = {key: value.clone() for key, value in others.state_dict().items()}
        trainer.train_step()
        changed = differing(before, others.state_dict())
        weights = {key for key, _ in others.named_parameters()}
        updated = [key for key in changed if key in weights]
        require(not updated, f"the update of {name} changes {joined(updated)}, which it does not control")
        allowed = forward_buffers(others)
        state = [key for key in changed if key not in allowed and key.partition(".")[0] in controlled]
        require(
            not state, f"the update of {name} changes the buffers {joined(state)} of a network that it does not control"
        )


@check("R-PURE", needs="cpu", kinds=("recipe",))
def losses_draw_no_noise(subject: ComponentSubject) -> None:
    """Losses and `generate` are pure functions of networks and batch: with dropout off, equal inputs give equal
    outputs.
    """
    trainer = fixture_of(subject).trainer()
    trainer.nets.eval()
    for name, loss in player_losses(trainer.recipe):
        odd = differing(*(terms_of(trainer, name, loss, seed=seed) for seed in (1, 2)))
        require(not odd, f"a loss of {name} draws its own noise ({joined(odd)} vary): take it from the batch, by draw")
    entries = next_entries(trainer)
    with torch.no_grad():
        odd = differing(*(dict(seeded(trainer.recipe.generate, trainer.nets, entries, seed=seed)) for seed in (1, 2)))
    require(not odd, f"generate draws its own noise ({joined(odd)} vary): take it from the batch, by draw")


@check("R-DRAW", needs="cpu", kinds=("recipe",))
def noise_has_one_row_per_sample(subject: ComponentSubject) -> None:
    """`draw` depends only on torch's generator and on the shapes of the batch, and draws one row per sample."""
    fixture = fixture_of(subject)
    whole = dict(fixture.rows(0, BATCH))
    zeros = {key: torch.zeros_like(value) for key, value in whole.items()}
    drawn, other = (seeded(fixture.recipe.draw, batch) for batch in (whole, zeros))
    odd = differing(dict(drawn), dict(other))
    require(not odd, f"{joined(odd)} depend on the values of the batch, which are placeholders: use its shapes alone")
    again = seeded(fixture.recipe.draw, whole, seed=1)
    for name, value in drawn.items():
        require(
            value.ndim and len(value) == BATCH, f"{name} has shape {tuple(value.shape)}, not one row for each sample"
        )
        require(not equal(value, again[name]), f"{name} does not depend on the seed of torch's generator")
        require(not equal(value[:1], value[1:2]), f"{name} is the same for every sample of a batch")


@check("R-PENALTY", needs="cpu", kinds=("recipe",))
def penalties_avoid_batch_norm(subject: ComponentSubject) -> None:
    """No loss differentiates batch normalization twice: it mixes samples, so that a penalty on the gradient of each
    sample is not defined.
    """
    trainer = fixture_of(subject).trainer()
    players = discriminator_players(trainer.recipe)
    for name, loss in player_losses(trainer.recipe):
        if name not in players:
            continue
        minimized = total(seeded(loss, trainer.nets, batch_of(trainer, name)))
        if not any("BatchNormBackwardBackward" in node for node in graph_names(minimized)):
            continue
        for net in trainer.recipe.players[name].controls:
            # Instance normalization uses the same operation, and mixes no samples.
            norms = [m for m in trainer.nets[net].modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
            if norms or network_mixes_samples(trainer, net):
                raise CheckFailed(
                    f"{name} has a gradient penalty through the batch normalization of {net}, which mixes samples: "
                    "use another normalization, or none"
                )


@check("R-LEARNS", needs="cpu", kinds=("recipe",))
def discriminators_learn(subject: ComponentSubject) -> str | None:
    """With the generator fixed and one batch of separable data, each loss of each discriminator decreases, at the
    beginning, in the middle or at the end of a run: one may start later, and learning rates may fall to 0.
    """
    fixture = fixture_of(subject)
    names = discriminator_players(fixture.recipe)
    if not names:
        return "every player trains a generator"
    for name in names:
        for loss in all_losses(fixture.recipe.players[name].loss):
            found = []
            for fraction in (0.0, 0.5, 1.0):
                before, after = _learned(fixture, name, loss, fraction)
                if after < before:
                    break
                found.append(f"{before:.4g} to {after:.4g}")
            else:
                raise CheckFailed(
                    f"a loss of {name} does not decrease on separable data in {TRIED} steps, at the beginning, in the "
                    f"middle or at the end of a run ({', '.join(found)})"
                )
    return None


def _learned(fixture: RecipeFixture, name: str, loss: Loss, fraction: float) -> tuple[float, float]:
    """A discriminator's loss before and after a few steps from this fraction of a run on, on the same four batches."""
    length = max(fixture.length, 100 * TRIED)  # so long that schedules hardly change in these steps
    trainer = fixture.trainer(plays={name: loss}, same_batch=True, steps=length)
    first = round(fraction * (length - TRIED))
    batches = []
    for number in range(4):  # equal reals, other noise
        trainer.step = first + number
        batches.append(next_entries(trainer))
    trainer.step = first

    def mean() -> float:
        return sum(float(total(terms_of(trainer, name, loss, entries=batch))) for batch in batches) / len(batches)

    before = mean()
    for _ in range(TRIED):
        trainer.train_step()
    after = mean()
    require(math.isfinite(before) and math.isfinite(after), f"the loss of {name} is not finite")
    return before, after
