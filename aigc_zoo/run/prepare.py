"""Turns a configuration into a run that is ready to start: data, recipe, device, length, intervals and the card."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from aigc_zoo import devices, options
from aigc_zoo.data import resolve
from aigc_zoo.data.download import Progress
from aigc_zoo.data.entries import wanted_entries
from aigc_zoo.data.modalities import modality, modality_of_extractor
from aigc_zoo.data.pool import Pool, example
from aigc_zoo.engine import fast
from aigc_zoo.engine.ranks import Ranks, join_group
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.engine.stages import steps_for
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Recipe, Samples
from aigc_zoo.modality import Modality
from aigc_zoo.options import Configuration, RunSettings
from aigc_zoo.options.values import flag_of
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.card import card_of
from aigc_zoo.run.device import choose_device

Inputs = Callable[[Tensor], Mapping[str, Tensor]]
"""Rows of a split as the entries of a batch."""


@dataclass(frozen=True)
class Cadence:
    """Intervals in steps between log lines, sample grids, checkpoints and evaluations."""

    log: int
    sample: int
    save: int
    eval: int


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to start."""

    catalogue: Catalogue
    configuration: Configuration
    recipe: Recipe
    splits: Mapping[str, Samples]
    device: torch.device
    ranks: Ranks
    batch_size: int
    steps: int
    cadence: Cadence
    precision: fast.Choice
    engine: fast.Choice
    """The engine that was requested; a trainer's `engine.choice` is the one that is used."""

    @property
    def settings(self) -> RunSettings:
        return self.configuration.run

    @property
    def train(self) -> Samples:
        """The training split."""
        return self.splits["train"]

    @property
    def extractor(self) -> str:
        """The extractor of this run's metrics: the one requested, else the dataset's own; "" where there is none."""
        return self.settings.extractor or self.train.extractor

    @property
    def reference(self) -> str:
        """The dataset's full id, the absolute path of the data, or IN_MEMORY."""
        return data_of(self.configuration, self.recipe)

    def requested(self, *keys: str) -> str:
        """The first of these settings that the user gave, as it is typed; "" where recipe and preset state them all."""
        for key in keys:
            value = getattr(self.settings, key)
            if value is not None and self.configuration.set_by.get(key) in ("cli", "python", "file"):
                return f"{flag_of(key)} {value}"
        return ""

    @cached_property
    def pool(self) -> Pool:
        """The training split, on the device where it fits."""
        return Pool(self.train, self.device)

    def rows(self, indices: Tensor) -> Mapping[str, Tensor]:
        """Rows of the training split as entries of a batch; indices wrap around at its end."""
        return self.pool.rows(indices % len(self.train))

    def trainer(self, dtype: torch.dtype = torch.float32) -> Trainer:
        """A trainer at step 0 that reads the training split."""
        return self._trainer(self.batch_size, self.ranks, dtype)

    def sampler(
        self, trainer: Trainer, seed: int, *, inputs: Inputs | None = None, synchronize: bool = False
    ) -> Sampler:
        """A sampler of a trainer's generators, with the training split's class frequencies.

        The entries that the recipe generates samples from are those of `inputs`, by default of the training split.
        """
        return trainer.sampler(
            synchronize=synchronize,
            seed=seed,
            frequencies=self.train.frequencies,
            inputs=(inputs or self.rows) if self.recipe.inputs else None,
        )

    def modality_of(self, reference: str) -> Modality:
        """The modality with this id."""
        return modality(self.catalogue, reference)

    @property
    def modality(self) -> Modality:
        """The modality of the samples that the recipe generates."""
        return self.modality_of(self.train.spec.modality)

    def trial(self, batch_size: int) -> Trainer:
        """A trainer of this process alone, with the run's networks and any batch size, to test what fits in memory."""
        return self._trainer(batch_size, Ranks(), torch.float32)

    def _trainer(self, batch_size: int, ranks: Ranks, dtype: torch.dtype) -> Trainer:
        settings = self.settings
        with options.explain_errors(self.catalogue.find("recipe", self.configuration.recipe).entry):
            return Trainer(
                self.recipe,
                self.train.spec,
                lambda n: self.pool.batch(settings.seed, n, batch_size, ranks.rank, ranks.world),
                batch_size=batch_size,
                steps=self.steps,
                seed=settings.seed,
                device=self.device,
                dtype=dtype,
                ranks=ranks,
                accumulate=settings.accumulate,
                sync_batch_norm=settings.sync_batch_norm,
                precision=self.precision.name,
                engine=self.engine,
            )

    def keeping(self, card: Mapping[str, Any]) -> Prepared:
        """This run with what the card of the run that it resumes decided: precision and engine, where they are `auto`.

        Data of equal content keep their name and their extractor, so that the run's metrics keep their protocol.
        """
        why, kept = card.get("why", {}), self._keeping_data(card)
        if card.get("device") != devices.name(self.device):
            return kept  # RunDirectory.begin refuses another device
        if self.settings.precision == "auto" and card.get("precision") in ("fp32", "bf16"):
            kept = replace(kept, precision=fast.Choice(card["precision"], why.get("precision", "")))
        if self.settings.engine == "auto" and card.get("engine") == "eager":
            kept = replace(kept, engine=fast.Choice("eager", why.get("engine", "")))
        return kept

    def _keeping_data(self, card: Mapping[str, Any]) -> Prepared:
        data, extractor = card.get("data"), card.get("extractor")
        if not isinstance(data, dict) or data.get("digest") != self.train.digest:
            return self
        more: dict[str, Any] = {"name": str(data.get("name", self.train.name))}
        # Cards of earlier versions state an extractor without its namespace.
        if isinstance(extractor, str) and extractor.rpartition("/")[2] != self.train.extractor.rpartition("/")[2]:
            more["extractor"] = extractor
        return replace(self, splits={name: replace(samples, **more) for name, samples in self.splits.items()})

    def card(self, engine: fast.Choice, frozen: Mapping[str, nn.Module] | None = None) -> dict[str, Any]:
        """The card: all that the run's results depend on, with the engine and the frozen networks of its trainer.

        A run resumes only with an equal card.
        """
        return card_of(self, engine, frozen or {})


def prepare(
    catalogue: Catalogue, configuration: Configuration, data: Any = None, *, progress: Progress | None = None
) -> Prepared:
    """Loads the data, builds the recipe and decides what the configuration left open.

    `data` in memory, or splits that were read, take the place of the dataset that the configuration names.
    `progress(done, total)` is called while files or items are read. Raises ConfigError where components do not fit
    together, DataError where the data cannot be used.
    """
    settings = configuration.run
    recipe = options.build(catalogue, configuration)
    device = choose_device(settings.device)
    data = data if data is not None else data_of(configuration, recipe)
    splits = resolve.load(
        catalogue,
        data,
        size=settings.size,
        modality=settings.modality or "",
        options=configuration.data_options,
        progress=progress,
        skip_bad=settings.skip_bad,
        wanted=wanted_entries(recipe, settings.entry),
    )
    ranks = join_group(device)
    batch_size = _batch_size(settings, recipe, ranks)
    _require_entries(recipe, splits["train"])
    _require_modalities(catalogue, configuration, splits["train"])
    steps = steps_for(recipe, batch_size, settings.steps, settings.images)
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    else:
        fast.choose_kernels(device)
    fast.keep_memory(device)
    return Prepared(
        catalogue=catalogue,
        configuration=configuration,
        recipe=recipe,
        splits=splits,
        device=device,
        ranks=ranks,
        batch_size=batch_size,
        steps=steps,
        cadence=_cadence(settings, steps),
        precision=fast.choose_precision(settings.precision, device, _origin(configuration, "precision")),
        engine=fast.Choice(settings.engine, _origin(configuration, "engine")),
    )


def data_of(configuration: Configuration, recipe: Recipe) -> str:
    """The reference of the data as `references.Reference.full` states it; the recipe's own where there is no other."""
    return configuration.run.data or recipe.dataset


def _origin(configuration: Configuration, key: str) -> str:
    """The reason for a setting: the user asked for it, or a preset, the configuration file or the recipe states it."""
    by = configuration.set_by.get(key, "")
    return {
        "cli": "asked for",
        "python": "asked for",
        "file": "set by the configuration file",
        "preset": f"set by the preset {configuration.preset}",
    }.get(by, f"set by the recipe {configuration.recipe.partition('.')[0].removeprefix('zoo/')}")


def _batch_size(settings: RunSettings, recipe: Recipe, ranks: Ranks) -> int:
    """The batch size of all ranks. ConfigError where ranks and micro-batches do not divide it."""
    batch_size, world = settings.batch_size or recipe.batch_size, ranks.world
    if batch_size % world:
        fitting = max(world, batch_size - batch_size % world)
        raise ConfigError(f"a batch of {batch_size} does not divide over {world} ranks: use --batch-size {fitting}")
    unit = world * settings.accumulate
    if batch_size % unit:
        raise ConfigError(
            f"a batch of {batch_size} on {world} rank{'s' if world > 1 else ''} does not divide into "
            f"{settings.accumulate} equal micro-batches:\n"
            f"use --batch-size {max(unit, batch_size - batch_size % unit)}, or another --accumulate"
        )
    return batch_size


def _cadence(settings: RunSettings, steps: int) -> Cadence:
    """The intervals: those requested, else a fraction of the run within bounds (RunSettings' help states them)."""

    def default(fraction: int, least: int, most: int) -> int:
        return min(max(least, steps // fraction), most)

    return Cadence(
        log=settings.log_every or default(100, 1, 100),
        sample=settings.sample_every or default(20, 5, 1_000),
        save=settings.save_every or default(20, 50, 1_000),
        eval=settings.eval_every or default(10, 50, 10_000),
    )


def _require_entries(recipe: Recipe, samples: Samples) -> None:
    """ConfigError where the data lack an entry that the recipe reads."""
    known = example(samples).keys()
    for entry in (*recipe.inputs, recipe.imitates):
        if entry not in known:
            raise ConfigError(
                f"this recipe needs the entry {entry!r}, but {samples.name} has {', '.join(sorted(known))}: "
                "choose another dataset with --data"
            )


def _require_modalities(catalogue: Catalogue, configuration: Configuration, samples: Samples) -> None:
    """ConfigError where an extractor of a loss takes samples of another modality than all entries of the data."""
    spec = samples.spec
    known = dict.fromkeys((spec.modality, *(entry.modality for entry in spec.entries.values())))
    for slot, extractor in options.held(catalogue, configuration, "extractor"):
        taken = modality_of_extractor(catalogue, extractor)
        if taken not in known:
            raise ConfigError(
                f"extractor {extractor.id} takes samples of the modality {taken}, and {samples.name} has "
                f"{', '.join(known)}: choose another one with {slot.flag}"
            )
