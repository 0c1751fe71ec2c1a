"""Trainers for checks of recipes: a few steps on small, separable data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from aigc_zoo import options
from aigc_zoo.data.pool import Pool
from aigc_zoo.engine import fast
from aigc_zoo.engine.networks import build_networks
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Loss, Nets, Recipe, Samples, Spec, all_losses
from aigc_zoo.run.prepare import data_of
from aigc_zoo.testing.assertions import mixes_samples, offline
from aigc_zoo.testing.checks import CheckFailed
from aigc_zoo.testing.fixtures import CLASSES, SEED, no_usual_shape, noise, one_hot, seeded, spec_of
from aigc_zoo.testing.subjects import ComponentSubject

BATCH = 4
SHAPES = ((1, 8, 8), (1, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (2,))
"""Sample shapes for a recipe that states none: the first that its networks support. Small shapes are fast."""


@dataclass(frozen=True)
class RecipeFixture:
    """A recipe and batches of data for it. `rows(n, size)` is batch number n of that size, over all ranks."""

    recipe: Recipe
    spec: Spec
    rows: Callable[[int, int], Mapping[str, Tensor]]

    def trainer(
        self,
        *,
        steps: int = 4,
        seed: int = SEED,
        ranks: Ranks | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        same_batch: bool = False,
        players: Sequence[str] = (),
        batch_size: int = BATCH,
        precision: str = "fp32",
        engine: str = "eager",
    ) -> Trainer:
        """A trainer at step 0. `players` selects those to train; `same_batch` repeats the first batch."""
        recipe = self.recipe
        if players:
            recipe = replace(recipe, players={name: recipe.players[name] for name in players})
        ranks = ranks or Ranks()
        shard = ranks.shard(batch_size)

        def source(n: int) -> Mapping[str, Tensor]:
            whole = self.rows(0 if same_batch else n, batch_size)
            return {name: value[shard].to(device) for name, value in whole.items()}

        return Trainer(
            recipe,
            self.spec,
            source,
            batch_size=batch_size,
            steps=steps,
            seed=seed,
            ranks=ranks,
            dtype=dtype,
            device=device,
            precision=precision,
            engine=fast.Choice(engine, "a check"),
        )


def fixture_of(subject: ComponentSubject, **given: Any) -> RecipeFixture:
    """The recipe with these options, and data that it can train on. Raises CheckFailed if no usual shape fits."""
    key = repr(sorted(given.items()))
    if key not in subject.cache:
        configuration = options.resolve(subject.catalogue, subject.reference, given=given)
        recipe = options.build(subject.catalogue, configuration)
        synthetic = recipe.imitates == "real" and not recipe.inputs
        subject.cache[key] = (
            _on_synthetic_data(subject, recipe)
            if synthetic
            else _on_its_dataset(subject, recipe, data_of(configuration, recipe))
        )
    return subject.cache[key]  # type: ignore[return-value]


def _on_synthetic_data(subject: ComponentSubject, recipe: Recipe) -> RecipeFixture:
    """Labelled samples of the first shape that its networks support, each near the pattern of its class."""
    refusal = ""
    for shape in subject.shapes or SHAPES:
        for classes in (CLASSES, 0):
            spec = spec_of(shape, classes=classes)
            try:
                build_networks(recipe, spec, SEED)
            except ConfigError as error:
                refusal = str(error)
                continue
            return RecipeFixture(recipe, spec, lambda n, size, spec=spec: _patterns(spec, n, size))  # type: ignore[misc]
    raise CheckFailed(f"its networks: {no_usual_shape(refusal)}")


def _patterns(spec: Spec, number: int, size: int) -> dict[str, Tensor]:
    """Batch `number`: for each sample the fixed sign pattern of its class at half the range, with a little noise."""
    low, high = spec.range or (-1.0, 1.0)
    classes = max(1, spec.classes)
    labels = torch.randint(classes, (size,), generator=torch.Generator().manual_seed(number))
    patterns = torch.stack([noise(*spec.shape, seed=label).sign() for label in range(classes)])
    real = 0.5 * patterns[labels] + 0.1 * noise(size, *spec.shape, seed=SEED + number)
    batch = {"real": (low + (high - low) * (real.clamp(-1, 1) + 1) / 2)}
    if spec.classes:
        batch["label"] = torch.nn.functional.one_hot(labels, spec.classes).float()
    return batch


def _on_its_dataset(subject: ComponentSubject, recipe: Recipe, data: str) -> RecipeFixture:
    """The recipe's default dataset, for a recipe that reads entries other than images and labels."""
    from aigc_zoo.data import resolve

    with offline():
        samples: Samples = resolve.load(subject.catalogue, data)["train"]
    pool = Pool(samples, "cpu")
    return RecipeFixture(recipe, samples.spec, lambda n, size: pool.batch(SEED, n, size))


# --- batches, losses and players --------------------------------------------------------------------------------------


def batch_of(trainer: Trainer) -> dict[str, Tensor]:
    """The first batch of the next step with reals, noise and detached fakes."""
    with torch.random.fork_rng(devices=[]):
        batch = trainer.batch(0)
        with torch.no_grad():
            generated = trainer.recipe.generate(trainer.nets, batch)
    return {**batch, **{key: value.detach() for key, value in generated.items()}}


def batch_with_label(trainer: Trainer, label: int) -> dict[str, Tensor]:
    """The first batch of the next step, with every label replaced by this class."""
    batch = trainer.batch(0)
    labels = one_hot(trainer.spec, label, BATCH)
    assert labels is not None
    return {**batch, "label": labels}


def player_losses(trainer: Trainer) -> Iterator[tuple[str, Loss]]:
    """Every loss of every player, with the player's name."""
    for name, player in trainer.recipe.players.items():
        for loss in all_losses(player.loss):
            yield name, loss


def detached_terms(loss: Loss, nets: Nets, batch: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The terms of a loss with torch's generator at this seed; the state of the networks is not changed."""
    terms: Mapping[str, Tensor] = seeded(loss, copy.deepcopy(nets), batch, seed=seed)
    return {name: term.detach() for name, term in terms.items()}


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of the terms that are minimized, which leaves out those that are only logged."""
    return torch.stack([term for name, term in terms.items() if not name.startswith("_")]).sum()


def discriminator_players(recipe: Recipe) -> list[str]:
    """The names of the players that train no generator network."""
    return [name for name, player in recipe.players.items() if not set(player.controls) & set(recipe.generators)]


def network_mixes_samples(trainer: Trainer, network: str) -> bool:
    """True if a network's output for a sample depends on the other samples of its batch."""
    batch = batch_of(trainer)
    label = batch.get("label")
    try:
        return mixes_samples(lambda x: trainer.nets[network](x, label).flatten(1), batch[trainer.recipe.imitates])
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
