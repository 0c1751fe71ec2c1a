"""Checks of a recipe's samples and of its labels."""

from __future__ import annotations

import torch

from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Nets
from aigc_zoo.run.recording import RecordingBatch
from aigc_zoo.testing.assertions import differing, equal, joined, perturbed, require, require_finite
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.fixtures import seeded
from aigc_zoo.testing.subjects import ComponentSubject
from aigc_zoo.testing.trainers import fixture_of, has_switch
from aigc_zoo.testing.turns import batch_of, entries_with_label, fakes_of, next_entries, player_losses, terms_of


@check("R-SAMPLES", needs="cpu", kinds=("recipe",))
def samples_match_the_data(subject: ComponentSubject) -> None:
    """Samples have the shape, dtype and range of the data and follow the seed, and none depends on the others of its
    batch. `generate` reads no real entries but labels and `inputs`.
    """
    trainer = fixture_of(subject).trainer()
    trainer.train_step()
    rows = fixture_of(subject).rows(0, 64)
    inputs = {name: rows[name] for name in trainer.recipe.inputs}

    def sampler(seed: int) -> Sampler:
        return trainer.sampler(seed=seed, inputs=(lambda indices: inputs) if inputs else None)

    read = RecordingBatch(next_entries(trainer))
    with torch.no_grad():
        seeded(trainer.recipe.generate, trainer.nets, read)
    hidden = sorted(read.read & rows.keys() - {"label", *inputs})
    require(
        not hidden, f"generate reads {joined(hidden)}, which samples lack: take shapes from the noise, or state inputs"
    )
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
    _require_independent(trainer, sampler(1).nets)


def _require_independent(trainer: Trainer, nets: Nets) -> None:
    """Raises CheckFailed unless `generate` gives one sample for one row, whatever the other rows are."""
    batch = next_entries(trainer)
    single = {key: value[:1] if value.ndim else value for key, value in batch.items()}
    trainer.step += 1
    other = next_entries(trainer)  # other reals, labels and noise
    trainer.step -= 1
    mixed = {key: torch.cat((value[:1], other[key][1:])) if value.ndim else value for key, value in batch.items()}
    with torch.no_grad():
        samples, changed, one = (fakes_of(trainer, nets, entries)["fake"] for entries in (batch, mixed, single))
    require(len(one) == 1, "a batch of one does not give one sample")
    require(
        torch.allclose(samples[:1], changed[:1], rtol=1e-4, atol=1e-6),
        "in evaluation mode a sample depends on the other samples of its batch: use running statistics",
    )


@check("R-LABELS", needs="cpu", kinds=("recipe",))
def conditional_recipes_use_labels(subject: ComponentSubject) -> str | None:
    """A recipe that reads labels generates other samples for another class, and its option `conditional` switches this
    on.
    """
    fixtures = [("", fixture_of(subject))]
    refusal = ""
    if has_switch(subject):
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
    """True if `generate` or a loss reads labels, or if a loss depends on those in a copy that it makes of its batch."""
    nets = _perturbed_nets(trainer)
    entries = RecordingBatch(next_entries(trainer))
    with torch.no_grad():
        seeded(trainer.recipe.generate, nets, entries)
    if "label" in entries.read:
        return True
    for name, loss in player_losses(trainer.recipe):
        batch = RecordingBatch(batch_of(trainer, name, nets))
        seeded(loss, nets, batch)
        one, two = (
            terms_of(trainer, name, loss, nets=nets, entries=entries_with_label(trainer, label)) for label in (0, 1)
        )
        if "label" in batch.read or differing(one, two):
            return True
    return False


def _labels_change_samples(trainer: Trainer) -> bool:
    nets = _perturbed_nets(trainer).eval()
    with torch.no_grad():
        one, two = (fakes_of(trainer, nets, entries_with_label(trainer, label))["fake"] for label in (0, 1))
    return not torch.allclose(one, two)


def _perturbed_nets(trainer: Trainer) -> Nets:
    """Copies of the networks with noise on every weight, so that a weight initialized to zero hides no label."""
    return Nets({name: perturbed(net, 0.3) for name, net in trainer.nets.items()})
