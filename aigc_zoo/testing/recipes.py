"""Checks of recipes: their losses, players, noise, labels and samples."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from aigc_zoo import options
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Nets, all_losses
from aigc_zoo.run.recording import RecordingBatch
from aigc_zoo.testing.assertions import (
    differing,
    equal,
    graph_names,
    joined,
    perturbed,
    require,
    require_finite,
)
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.fixtures import seeded
from aigc_zoo.testing.subjects import ComponentSubject
from aigc_zoo.testing.trainers import (
    BATCH,
    batch_of,
    batch_with_label,
    detached_terms,
    discriminator_players,
    fixture_of,
    forward_buffers,
    network_mixes_samples,
    player_losses,
    total,
)


@check("R-PLAYS", needs="cpu", kinds=("recipe",))
def trains_with_finite_terms(subject: ComponentSubject) -> str:
    """Two training steps with default options give finite terms."""
    fixture = fixture_of(subject)
    trainer = fixture.trainer()
    for _ in range(2):
        for name, term in trainer.train_step().items():
            require(torch.isfinite(term).all(), f"term {name} is not finite at step {trainer.step - 1}")
    require(trainer.diverged() is None, str(trainer.diverged()))
    return f"on samples of shape {fixture.spec.shape}"


# --- losses and players -----------------------------------------------------------------------------------------------


def _batch_with_graph(trainer: Trainer) -> dict[str, Tensor]:
    """A batch whose fakes are attached to the generator's graph."""
    batch = dict(trainer.batch(0))
    return {**batch, **trainer.recipe.generate(trainer.nets, batch)}


@check("R-MOVES", needs="cpu", kinds=("recipe",))
def every_weight_gets_a_gradient(subject: ComponentSubject) -> None:
    """Every trainable weight that a player controls gets a gradient from at least one of its losses."""
    trainer = fixture_of(subject).trainer()
    controlled: set[str] = set()
    updated: set[str] = set()
    for player in trainer.recipe.players.values():
        weights = {
            f"{net}.{key}": weight
            for net in player.controls
            for key, weight in trainer.nets[net].named_parameters()
            if weight.requires_grad
        }
        trains_generator = bool(set(player.controls) & set(trainer.recipe.generators))
        for loss in all_losses(player.loss):
            batch = seeded(_batch_with_graph, trainer) if trains_generator else batch_of(trainer)
            minimized = total(seeded(loss, trainer.nets, batch))
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
    for name, player in fixture.recipe.players.items():
        trainer = fixture.trainer(players=[name])
        others = Nets({net: module for net, module in trainer.nets.items() if net not in player.controls})
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
    batch = batch_of(trainer)
    for name, loss in player_losses(trainer):
        odd = differing(*(detached_terms(loss, trainer.nets, batch, seed) for seed in (1, 2)))
        require(not odd, f"a loss of {name} draws its own noise ({joined(odd)} vary): take it from the batch, by draw")
    with torch.no_grad():
        odd = differing(*(dict(seeded(trainer.recipe.generate, trainer.nets, batch, seed=seed)) for seed in (1, 2)))
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
    for name, loss in player_losses(trainer):
        if name not in players:
            continue
        minimized = total(seeded(loss, trainer.nets, batch_of(trainer)))
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
    """With the generator fixed and one batch of separable data, the loss of each discriminator decreases."""
    fixture = fixture_of(subject)
    names = discriminator_players(fixture.recipe)
    if not names:
        return "every player trains a generator"
    for name in names:
        trainer = fixture.trainer(players=[name], same_batch=True, steps=24)
        losses = []
        for _ in range(24):
            terms = trainer.train_step()
            losses.append(
                sum(float(value) for key, value in terms.items() if not key.rpartition("/")[2].startswith("_"))
            )
        require(np.isfinite(losses).all(), f"the loss of {name} is not finite")
        early, late = sum(losses[:4]) / 4, sum(losses[-4:]) / 4
        require(
            late < early,
            f"the loss of {name} does not decrease on separable data: {early:.4g} at first, {late:.4g} at the end",
        )
    return None


# --- samples and labels -----------------------------------------------------------------------------------------------


@check("R-SAMPLES", needs="cpu", kinds=("recipe",))
def samples_match_the_data(subject: ComponentSubject) -> None:
    """Samples have the shape, dtype and range of the data and follow the seed; neither their number nor a batch size
    of one changes them.
    """
    trainer = fixture_of(subject).trainer()
    trainer.train_step()
    rows = fixture_of(subject).rows(0, 64)
    inputs = {name: rows[name] for name in trainer.recipe.inputs}

    def sampler(seed: int) -> Sampler:
        return trainer.sampler(seed=seed, inputs=(lambda indices: inputs) if inputs else None)

    samples = sampler(1).samples(3)
    require(samples.shape == (3, *trainer.spec.shape), f"samples have shape {tuple(samples.shape)}")
    require_finite(samples, "a sample")
    if trainer.spec.range is not None:
        low, high = trainer.spec.range
        slack = 1e-5 * (high - low)
        inside = samples.min() >= low - slack and samples.max() <= high + slack
        require(inside, f"samples leave the range {trainer.spec.range}")
    require(equal(samples, sampler(1).samples(5)[:3]), "the same seed gives other samples")
    if not inputs:
        require(not torch.allclose(samples, sampler(2).samples(3)), "another seed gives the same samples")
    batch = {key: value[:1] if value.ndim else value for key, value in trainer.batch(0).items()}
    with torch.no_grad():
        single = trainer.recipe.generate(sampler(1).nets, batch)
    require(len(single["fake"]) == 1, "a batch of one does not give one sample")


@check("R-LABELS", needs="cpu", kinds=("recipe",))
def conditional_recipes_use_labels(subject: ComponentSubject) -> str | None:
    """A recipe that reads labels generates other samples for another class, and its option `conditional` switches this
    on.
    """
    switch = any(
        option.key == "conditional" and option.type is bool
        for option in options.options_of(subject.catalogue, subject.entry.id, {})
    )
    fixtures = [("", fixture_of(subject))]
    refusal = ""
    if switch:
        try:
            fixtures.append(("with --conditional ", fixture_of(subject, conditional=True)))
        except (ConfigError, CheckFailed) as error:
            refusal = " ".join(str(error).split())
    reads = False
    for how, fixture in fixtures:
        if not fixture.spec.classes:
            continue
        trainer = fixture.trainer()
        read = _reads_labels(trainer)
        require(read or not how, "with --conditional it reads no labels")
        require(not read or _labels_change_samples(trainer), f"{how}its labels make no difference to its samples")
        reads |= read
    declared = "conditional" in subject.entry.component.tags
    require(reads or not declared, "it has the tag conditional, but reads no labels")
    if refusal:
        return f"--conditional is refused with its own networks: {refusal[:200]}"
    return None if reads else "it reads no labels"


def _reads_labels(trainer: Trainer) -> bool:
    """True if `generate` or any loss reads labels."""
    batch = RecordingBatch(batch_of(trainer))
    with torch.no_grad():
        trainer.recipe.generate(trainer.nets, batch)
    for _, loss in player_losses(trainer):
        seeded(loss, trainer.nets, batch)
    return "label" in batch.read


def _labels_change_samples(trainer: Trainer) -> bool:
    nets = Nets({name: perturbed(net, 0.3) for name, net in trainer.nets.items()}).eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        one, two = (trainer.recipe.generate(nets, batch_with_label(trainer, label))["fake"] for label in (0, 1))
    return not torch.allclose(one, two)
