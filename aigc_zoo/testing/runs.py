"""Checks of a recipe's runs: seeds, resuming, saving, several ranks, configuration, and a whole `zoo train`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from aigc_zoo import options
from aigc_zoo.data.samples import array_samples
from aigc_zoo.engine.networks import build_networks
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ZooError, in_a_line
from aigc_zoo.game import Loss, Nets, Samples
from aigc_zoo.testing.assertions import differing, equal, joined, require, require_finite
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.fixtures import SEED
from aigc_zoo.testing.subjects import ComponentSubject
from aigc_zoo.testing.thread_ranks import run_on_ranks
from aigc_zoo.testing.trainers import BATCH, RecipeFixture, configured, fixture_of
from aigc_zoo.testing.turns import network_mixes_samples, next_entries, player_losses, terms_of


@check("R-SEED", needs="cpu", kinds=("recipe",))
def runs_follow_the_seed(subject: ComponentSubject) -> None:
    """The same seed gives the same weights after two steps, bit for bit; another seed gives other weights."""
    fixture = fixture_of(subject)
    one, two, other = (_state_after(fixture.trainer(seed=seed), 2) for seed in (SEED, SEED, 1))
    odd = differing(one, two)
    require(not odd, f"two runs with the same seed differ in {joined(odd)}: use no randomness but torch's generator")
    require(differing(one, other), "another seed gives the same weights")


def _state_after(trainer: Trainer, steps: int) -> dict[str, Tensor]:
    """A copy of the trainer's state after so many steps."""
    for _ in range(steps):
        trainer.train_step()
    return {key: value.clone() for key, value in trainer.state()[0].items()}


@check("R-RESUME", needs="cpu", kinds=("recipe",))
def resumes_bit_exactly(subject: ComponentSubject) -> None:
    """Two steps, a checkpoint that a new trainer loads, and two more steps equal four steps, bit for bit."""
    fixture = fixture_of(subject)
    expected = _state_after(fixture.trainer(steps=4), 4)
    interrupted = fixture.trainer(steps=4)
    _state_after(interrupted, 2)
    tensors, scalars = interrupted.state()
    data = save({key: value.detach().contiguous().clone() for key, value in tensors.items()})
    # A newly built recipe, so that state that the first one kept outside its networks is lost.
    resumed = fixture_of(subject.fresh()).trainer(steps=4)
    resumed.load(load(data), scalars)
    odd = differing(expected, _state_after(resumed, 2))
    require(not odd, f"{joined(odd)} differ after resuming: keep all state in weights and buffers, noise in the batch")


@check("R-SAVE", needs="cpu", kinds=("recipe",))
def networks_share_no_memory(subject: ComponentSubject) -> None:
    """No two tensors of its networks share memory, which safetensors refuses, and EMA weights are copies."""
    trainer = fixture_of(subject).trainer()
    own = Nets({name: net for name, net in trainer.nets.items() if name not in trainer.frozen})
    try:
        # The trainer chooses its own memory layout; shared memory is still shared once tensors are contiguous.
        save({name: value.contiguous() for name, value in own.state_dict().items()})
    except (RuntimeError, SafetensorError) as error:
        raise CheckFailed(f"safetensors refuses the networks: {in_a_line(error)[:300]}") from error
    addresses = {value.data_ptr() for value in own.state_dict().values() if value.numel()}
    shared = [key for key, value in trainer.ema.state_dict().items() if value.data_ptr() in addresses]
    require(not shared, f"EMA weights share memory with the weights themselves: {joined(shared)}")


@check("R-RANKS", needs="cpu", kinds=("recipe",))
def ranks_train_as_one(subject: ComponentSubject) -> str:
    """Two ranks with half a batch each end with equal weights and draw different noise, with each loss of each player.
    If no network mixes samples, they end with the weights of one rank with the whole batch.
    """
    fixture = fixture_of(subject)
    notes = [_train_on_ranks(fixture, plays) for plays in fixture.stages]
    return notes[-1]


def _train_on_ranks(fixture: RecipeFixture, plays: Mapping[str, Loss]) -> str:
    """Trains for two steps with these losses, on two ranks and on one, and compares. Returns a note."""

    def train(ranks: Ranks) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        trainer = fixture.trainer(ranks=ranks, dtype=torch.float64, batch_size=2 * BATCH, plays=plays)
        entries = trainer.batch(0)
        noise = {key: entries[key] for key in trainer.recipe.draw(dict(fixture.rows(0, 2 * BATCH)))}
        for _ in range(2):
            trainer.train_step()
        return dict(trainer.nets.named_parameters()), noise

    (weights, noise), (other_weights, other_noise) = run_on_ranks(train)
    odd = [key for key in weights if not equal(weights[key], other_weights[key])]
    require(not odd, f"after two steps {joined(odd)} differ between the ranks")
    for name in noise:
        require(not equal(noise[name], other_noise[name]), f"both ranks draw the same {name}")
    single = fixture.trainer(dtype=torch.float64, batch_size=2 * BATCH, plays=plays)
    if _depends_on_the_batch(single):
        return "its networks mix samples or draw noise, so that one rank and two ranks may differ"
    for _ in range(2):
        single.train_step()
    far = [
        key
        for key, value in single.nets.named_parameters()
        if not torch.allclose(value, weights[key].to(value), rtol=1e-6, atol=1e-7)
    ]
    require(
        not far,
        f"two ranks and one rank with the whole batch end with different {joined(far)}: is a loss a sum, not a mean, "
        "or a buffer that a loss changes not `shared`?",
    )
    return "equal to one rank with the whole batch"


def _depends_on_the_batch(trainer: Trainer) -> bool:
    """True if a network in training mode mixes samples or draws noise."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    if any(isinstance(module, kinds) and module.training for module in trainer.nets.modules()):
        return True
    own = [name for name in trainer.nets if name not in trainer.frozen]
    for name in own:
        trainer.nets[name].train()
    for name, loss in player_losses(trainer.recipe):
        if differing(*(terms_of(trainer, name, loss, seed=seed) for seed in (1, 2))):
            return True
    if not next_entries(trainer)[trainer.recipe.imitates].is_floating_point():
        return False
    return any(network_mixes_samples(trainer, net) for net in own)


@check("R-CARD", needs="cpu", kinds=("recipe",))
def card_rebuilds_the_recipe(subject: ComponentSubject) -> None:
    """Its card, written as JSON and read back, gives an equal configuration and bit-equal networks."""
    fixture = fixture_of(subject)
    configuration = options.resolve(subject.catalogue, subject.reference)
    card = json.loads(json.dumps(configuration.card()))
    again = options.resolve(subject.catalogue, None, file=card)
    require(again.card() == configuration.card(), "the card that is read back gives another configuration")
    one, two = (
        build_networks(options.build(subject.catalogue, each), fixture.spec, SEED).state_dict()
        for each in (configuration, again)
    )
    odd = differing(one, two)
    require(not odd, f"the networks that are built from its card differ in {joined(odd)}")


@check("R-RUN", needs="cpu", kinds=("recipe",))
def trains_from_beginning_to_end(subject: ComponentSubject) -> str:
    """`zoo train` for two steps writes a run directory with a checkpoint and a generator that loads and samples."""
    from aigc_zoo.run.generator import load_generator
    from aigc_zoo.run.loop import train
    from aigc_zoo.run.prepare import prepare

    fixture = fixture_of(subject)
    with tempfile.TemporaryDirectory(prefix="zoo-check-") as name:
        directory = Path(name)
        configuration, _ = configured(subject, steps=2, batch_size=BATCH, device="cpu")
        splits = {"train": _samples(fixture)} if fixture.synthetic else None
        try:
            result = train(prepare(subject.catalogue, configuration, splits), directory / "run")
        except ZooError as error:
            raise CheckFailed(f"a run of two steps fails: {' '.join(str(error).split())}") from error
        require(result.step == 2, f"a run of two steps ends at step {result.step}")
        generator = load_generator(subject.catalogue, directory / "run")
        if not generator.recipe.inputs:
            samples = generator.sample(2)
            require_finite(samples, "a sample of the saved generator")
            shape = tuple(samples.shape[1:])
            require(shape == fixture.spec.shape, f"the saved generator's samples have shape {shape}")
    return f"{result.step} steps of {BATCH}"


def _samples(fixture: RecipeFixture) -> Samples:
    """The fixture's synthetic data as a split of a dataset."""
    batch = fixture.rows(0, 16)
    labels = batch["label"].argmax(1) if "label" in batch else None
    classes = [str(number) for number in range(fixture.spec.classes)]
    return array_samples("probe", "train", fixture.spec, batch["real"], labels, classes)
