"""Turns a configuration into a run that is ready to start: data, recipe, device, length, intervals and the card."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc_zoo import __version__, options
from aigc_zoo.data import resolve
from aigc_zoo.data.pool import Pool
from aigc_zoo.engine import fast
from aigc_zoo.engine.ranks import Ranks, join_group
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.engine.stages import steps_for
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Recipe, Samples
from aigc_zoo.options import Configuration, RunSettings
from aigc_zoo.plugins import Catalogue


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
        """The dataset's id, or the absolute path of the data."""
        data = self.settings.data or self.recipe.dataset
        return str(Path(data).absolute()) if resolve.exists(Path(data)) else data

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

    def sampler(self, trainer: Trainer, seed: int, *, synchronize: bool = False) -> Sampler:
        """A sampler of a trainer's generators, with the training split's class frequencies and input entries."""
        return trainer.sampler(
            synchronize=synchronize,
            seed=seed,
            frequencies=self.train.frequencies,
            inputs=self.rows if self.recipe.inputs else None,
        )

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
        """This run with the precision and the engine in the card of the run that it resumes, where they are `auto`."""
        why = card.get("why", {})
        if card.get("device") != device_name(self.device):
            return self  # RunDirectory.begin refuses another device
        kept = self
        if self.settings.precision == "auto" and card.get("precision") in ("fp32", "bf16"):
            kept = replace(kept, precision=fast.Choice(card["precision"], why.get("precision", "")))
        if self.settings.engine == "auto" and card.get("engine") == "eager":
            kept = replace(kept, engine=fast.Choice("eager", why.get("engine", "")))
        return kept

    def card(self, engine: fast.Choice) -> dict[str, Any]:
        """The card: all that the run's results depend on, and the engine. A run resumes only with an equal card."""
        train = self.train
        return {
            **self.configuration.card(),
            "data": {
                "name": train.name,
                "reference": self.reference,
                "size": self.settings.size,
                "split": train.split,
                "samples": len(train),
                "skipped": list(train.skipped),
                "digest": train.digest,
                "spec": asdict(train.spec),
                "classes": list(train.classes),
                "frequencies": list(train.frequencies),
            },
            "batch_size": self.batch_size,
            "steps": self.steps,
            "seed": self.settings.seed,
            "cadence": asdict(self.cadence),
            "extractor": self.extractor,
            "device": device_name(self.device),
            "threads": torch.get_num_threads(),
            "world": self.ranks.world,
            "precision": self.precision.name,
            "engine": engine.name,
            "why": {"precision": self.precision.why, "engine": engine.why},
            "versions": versions(),
        }


def prepare(
    catalogue: Catalogue, configuration: Configuration, *, progress: Callable[[int, int], None] | None = None
) -> Prepared:
    """Loads the data, builds the recipe and decides what the configuration left open.

    `progress(done, total)` is called while files are read.

    Raises ConfigError where components do not fit together, DataError where the data cannot be used.
    """
    settings = configuration.run
    recipe = options.build(catalogue, configuration)
    device = choose_device(settings.device)
    data = settings.data or recipe.dataset
    splits = resolve.load(catalogue, data, size=settings.size, progress=progress, skip_bad=settings.skip_bad)
    ranks = join_group(device)
    batch_size = _batch_size(settings, recipe, ranks)
    _require_entries(recipe, splits["train"])
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
    known = {name for group in samples.groups for name in group}
    for entry in (*recipe.inputs, recipe.imitates):
        if entry not in known:
            raise ConfigError(
                f"this recipe needs the entry {entry!r}, but {samples.name} has {', '.join(sorted(known))}: "
                "choose another dataset with --data"
            )


def choose_device(wanted: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`; under torchrun each local rank takes its own CUDA device."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError("--device cuda: torch finds no CUDA device; use --device cpu")
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        return device
    return torch.device(wanted)


def device_name(device: torch.device) -> str:
    """The device's type and model; a run resumes only on the same one, since results differ between them."""
    return f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type


def versions() -> dict[str, str]:
    """Versions of the packages that compute the results."""
    return {"aigc_zoo": __version__, "torch": torch.__version__, "torch_fidelity": metadata.version("torch_fidelity")}


def default_directory(configuration: Configuration, recipe: Recipe) -> Path:
    """The default run directory, `runs/RECIPE-DATA` with short names."""
    recipe_name = configuration.recipe.rsplit("/", 1)[-1].partition(".")[0]
    data = configuration.run.data or recipe.dataset
    path = Path(data)
    name = path.absolute().stem if resolve.exists(path) else data.rsplit("/", 1)[-1]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:64] or "data"  # a folder can have any name
    return Path("runs") / f"{recipe_name}-{name}"
