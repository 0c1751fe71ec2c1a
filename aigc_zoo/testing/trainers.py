"""Trainers for checks of recipes: a few steps on small, separable data, or on the recipe's own dataset."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from aigc_zoo import options
from aigc_zoo.data.pool import Pool
from aigc_zoo.engine import fast
from aigc_zoo.engine.networks import build_networks
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.trainer import Trainer, steps_for
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Loss, Recipe, Samples, Spec, all_losses
from aigc_zoo.options import Configuration
from aigc_zoo.testing.assertions import offline
from aigc_zoo.testing.checks import CheckFailed
from aigc_zoo.testing.fixtures import CLASSES, SEED, no_usual_shape, noise, spec_of
from aigc_zoo.testing.subjects import ComponentSubject

BATCH = 4
LENGTH = 1000
"""Steps of a run of a recipe that states no length."""

SHAPES = ((1, 8, 8), (1, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (2,))
"""Sample shapes for a recipe that states none: the first that its networks support. Small shapes are fast."""


@dataclass(frozen=True)
class RecipeFixture:
    """A recipe and batches of data for it. `rows(n, size)` is batch number n of that size, over all ranks."""

    configuration: Configuration
    recipe: Recipe
    spec: Spec
    rows: Callable[[int, int], Mapping[str, Tensor]]
    synthetic: bool = False

    @property
    def length(self) -> int:
        """The steps after which a run of the default length has drawn as many images, at the checks' batch size."""
        run, recipe = self.configuration.run, self.recipe
        batch_size = run.batch_size or recipe.batch_size
        if (run.steps, run.images, recipe.steps, recipe.images) == (None,) * 4:
            return LENGTH
        return math.ceil(steps_for(recipe, batch_size, run.steps, run.images) * batch_size / BATCH)

    @property
    def stages(self) -> list[dict[str, Loss]]:
        """Losses by player, so that each loss that a player has at any step is in one of them."""
        losses = {name: all_losses(player.loss) for name, player in self.recipe.players.items()}
        return [
            {name: each[min(number, len(each) - 1)] for name, each in losses.items() if each}
            for number in range(max(map(len, losses.values())))
        ]

    def trainer(
        self,
        *,
        steps: int = 4,
        seed: int = SEED,
        ranks: Ranks | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        same_batch: bool = False,
        plays: Mapping[str, Loss] | None = None,
        batch_size: int = BATCH,
        precision: str = "fp32",
        engine: str = "eager",
    ) -> Trainer:
        """A trainer at step 0. `plays` are the players to train and their losses; `same_batch` repeats a batch."""
        recipe = self.recipe
        if plays is not None:
            players = {name: replace(recipe.players[name], loss=loss) for name, loss in plays.items()}
            recipe = replace(recipe, players=players)
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
    """The recipe with these options, and data that it can train on, kept for the next check.

    Synthetic samples of the shapes that the recipe states, or of the usual shapes; the recipe's own dataset if its
    networks refuse those, or if it has entries or a type of samples that synthetic data lack. Raises CheckFailed if
    the networks refuse all data.
    """
    key = f"fixture {sorted(given.items())}"
    if key not in subject.cache:
        configuration, recipe = configured(subject, **given)
        subject.cache[key] = _fixture(subject, configuration, recipe)
    return subject.cache[key]  # type: ignore[return-value]


def _fixture(subject: ComponentSubject, configuration: Configuration, recipe: Recipe) -> RecipeFixture:
    if recipe.imitates != "real" or recipe.inputs:
        return _on(configuration, recipe, own_data(subject, configuration, recipe))
    try:
        own = own_data(subject, configuration, recipe)
        plain = _is_plain(own)
    except Exception:  # a dataset that is not on this machine, or a faulty one: R-DATA reports it
        return _on_synthetic_data(subject, configuration, recipe)
    if plain:
        try:
            return _on_synthetic_data(subject, configuration, recipe)
        except CheckFailed:
            if subject.shapes or not _supports(recipe, own.spec):
                raise
    return _on(configuration, recipe, own)


def _supports(recipe: Recipe, spec: Spec) -> bool:
    try:
        build_networks(recipe, spec, SEED)
    except ConfigError:
        return False
    return True


def configured(subject: ComponentSubject, **given: Any) -> tuple[Configuration, Recipe]:
    """The recipe's configuration with these options, and a newly built recipe."""
    configuration = options.resolve(subject.catalogue, subject.reference, given=given)
    return configuration, options.build(subject.catalogue, configuration)


def has_switch(subject: ComponentSubject) -> bool:
    """True if the recipe has a boolean option `conditional`."""
    found = options.options_of(subject.catalogue, subject.entry.id, {})
    return any(option.key == "conditional" and option.type is bool for option in found)


def on_own_dataset(subject: ComponentSubject, **given: Any) -> RecipeFixture:
    """The recipe with these options and its default dataset. Raises DataError if that is not on this machine."""
    configuration, recipe = configured(subject, **given)
    return _on(configuration, recipe, own_data(subject, configuration, recipe))


def own_data(subject: ComponentSubject, configuration: Configuration, recipe: Recipe) -> Samples:
    """The training split of the recipe's default dataset. Nothing is downloaded.

    Raises CheckFailed if the dataset does not exist, DataError if its files are not on this machine.
    """
    from aigc_zoo.data import resolve

    reference = configuration.run.data or recipe.dataset
    if reference not in subject.cache:
        try:
            subject.catalogue.find("dataset", reference)
        except ConfigError as error:
            raise CheckFailed(f"its default dataset: {' '.join(str(error).split())}") from error
        with offline():
            splits = resolve.load(subject.catalogue, reference, size=configuration.run.size)
        subject.cache[reference] = splits["train"]
    return subject.cache[reference]  # type: ignore[return-value]


def _is_plain(samples: Samples) -> bool:
    """True if synthetic data can replace a dataset, which has only reals and labels, of a type as in `spec_of`."""
    spec, entries = samples.spec, Pool(samples, "cpu").batch(SEED, 0, BATCH)
    usual = spec_of(spec.shape)
    return entries.keys() <= {"real", "label"} and (spec.modality, spec.dtype) == (usual.modality, usual.dtype)


def _on(configuration: Configuration, recipe: Recipe, samples: Samples) -> RecipeFixture:
    pool = Pool(samples, "cpu")
    return RecipeFixture(configuration, recipe, samples.spec, lambda n, size: pool.batch(SEED, n, size))


def fixtures_of(subject: ComponentSubject) -> Iterator[RecipeFixture]:
    """The recipe's fixture, and one for each further sample shape that the recipe states."""
    first = fixture_of(subject)
    yield first
    for shape in subject.shapes if first.synthetic else ():
        if shape != first.spec.shape:
            yield _on_synthetic_data(subject, *configured(subject), (shape,))


def _on_synthetic_data(
    subject: ComponentSubject,
    configuration: Configuration,
    recipe: Recipe,
    shapes: Sequence[tuple[int, ...]] = (),
) -> RecipeFixture:
    """Labelled samples of the first shape that its networks support, each near the pattern of its class."""
    refusal = ""
    for shape in shapes or subject.shapes or SHAPES:
        for classes in (CLASSES, 0):
            spec = spec_of(shape, classes=classes)
            try:
                build_networks(recipe, spec, SEED)
            except ConfigError as error:
                refusal = " ".join(str(error).split())
                continue
            rows = partial(_patterns, spec)
            return RecipeFixture(configuration, recipe, spec, rows, synthetic=True)
    if subject.shapes:
        stated = " and ".join(map(str, shapes or subject.shapes))
        raise CheckFailed(f"it states the shape {stated} and refuses it: {refusal}")
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
