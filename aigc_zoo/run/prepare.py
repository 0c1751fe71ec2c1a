"""From a configuration to all that a run needs: data, recipe, device, length, cadence, and the card that says so."""

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
from aigc_zoo.engine.trainer import Trainer, steps_for
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Recipe, Samples
from aigc_zoo.options import Configuration
from aigc_zoo.plugins import Catalogue


@dataclass(frozen=True)
class Cadence:
    """Every how many steps a line is logged, a grid drawn, a checkpoint saved, metrics measured."""

    log: int
    sample: int
    save: int
    eval: int


@dataclass(frozen=True)
class Prepared:
    """A run that could start now."""

    catalogue: Catalogue
    configuration: Configuration
    recipe: Recipe
    splits: Mapping[str, Samples]
    device: torch.device
    ranks: Ranks
    batch_size: int
    steps: int
    seed: int
    cadence: Cadence
    precision: fast.Choice
    engine: fast.Choice
    """What is wanted; a trainer's `engine.choice` is what came of it."""
    accumulate: int = 1

    @property
    def train(self) -> Samples:
        return self.splits["train"]

    @property
    def extractor(self) -> str:
        """The extractor that judges this run: the one asked for, else the dataset's own; "" where there is none."""
        chosen = self.configuration.run.get("extractor")
        return str(chosen) if chosen else self.train.extractor

    @property
    def reference(self) -> str:
        """Where the data were found: an id, or an absolute path."""
        given = str(self.configuration.run.get("data") or self.recipe.dataset)
        return str(Path(given).absolute()) if resolve.exists(Path(given)) else given

    @cached_property
    def pool(self) -> Pool:
        """The training split, where the device finds it."""
        return Pool(self.train, self.device)

    def rows(self, indices: Tensor) -> Mapping[str, Tensor]:
        """Rows of the training split as entries of a batch; indices beyond its end begin anew."""
        return self.pool.rows(indices % len(self.train))

    def trainer(self, dtype: torch.dtype = torch.float32) -> Trainer:
        """A trainer at step 0, fed by the training split."""
        return self._trainer(self.batch_size, self.ranks, dtype)

    def trial(self, batch_size: int) -> Trainer:
        """A trainer of this process alone, to see what fits: it has the run's networks, and batches of any size."""
        return self._trainer(batch_size, Ranks(), torch.float32)

    def _trainer(self, batch_size: int, ranks: Ranks, dtype: torch.dtype) -> Trainer:
        with options.blame(self.catalogue.find("recipe", self.configuration.recipe).entry):
            return Trainer(
                self.recipe,
                self.train.spec,
                lambda n: self.pool.batch(self.seed, n, batch_size, ranks.rank, ranks.world),
                batch_size=batch_size,
                steps=self.steps,
                seed=self.seed,
                device=self.device,
                dtype=dtype,
                ranks=ranks,
                accumulate=self.accumulate,
                sync_batch_norm=bool(self.configuration.run.get("sync_batch_norm")),
                precision=self.precision.name,
                engine=self.engine,
            )

    def keeping(self, card: Mapping[str, Any]) -> Prepared:
        """With the precision and the engine of the run that this one continues, where they are left to `auto`."""
        run, why = self.configuration.run, card.get("why", {})
        if card.get("device") != device_name(self.device):
            return self  # which is refused in words of its own
        kept = self
        if run.get("precision") == "auto" and card.get("precision") in ("fp32", "bf16"):
            kept = replace(kept, precision=fast.Choice(card["precision"], why.get("precision", "")))
        if run.get("engine") == "auto" and card.get("engine") == "eager":
            kept = replace(kept, engine=fast.Choice("eager", why.get("engine", "")))
        return kept

    def card(self, engine: fast.Choice) -> dict[str, Any]:
        """What this run is: all that its numbers depend on, and the engine that it plays on.

        A run continues only under an equal card.
        """
        train = self.train
        return {
            **self.configuration.card(),
            "data": {
                "name": train.name,
                "reference": self.reference,
                "size": self.configuration.run.get("size"),
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
            "seed": self.seed,
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
    """Loads the data, builds the recipe and settles what the configuration left open.

    `progress(done, all)` is called now and then while files are read.

    Raises ConfigError where parts do not fit, DataError where the data cannot be used.
    """
    run = configuration.run
    recipe = options.build(catalogue, configuration)
    device = choose_device(str(run.get("device") or "auto"))
    splits = resolve.load(
        catalogue,
        str(run.get("data") or recipe.dataset),
        size=run.get("size"),
        progress=progress,
        skip_bad=int(run.get("skip_bad") or 0),
    )
    ranks = join_group(device)
    batch_size = int(run.get("batch_size") or recipe.batch_size)
    if batch_size % ranks.world:
        fitting = max(ranks.world, batch_size - batch_size % ranks.world)
        raise ConfigError(
            f"a batch of {batch_size} does not divide over {ranks.world} ranks: say --batch-size {fitting}"
        )
    accumulate = int(run.get("accumulate") or 1)
    if batch_size % (ranks.world * accumulate):
        unit = ranks.world * accumulate
        raise ConfigError(
            f"a batch of {batch_size} on {ranks.world} rank{'s' if ranks.world > 1 else ''} does not make {accumulate} "
            f"equal parts: say --batch-size {max(unit, batch_size - batch_size % unit)}, or another --accumulate"
        )
    _need_entries(recipe, splits["train"])
    steps = steps_for(recipe, batch_size, run.get("steps"), run.get("images"))
    if run.get("deterministic"):
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
        seed=int(run.get("seed") or 0),
        cadence=_cadence(run, steps),
        precision=fast.choose_precision(str(run.get("precision") or "auto"), device),
        engine=fast.Choice(str(run.get("engine") or "auto"), "asked for"),
        accumulate=accumulate,
    )


def _cadence(run: Mapping[str, Any], steps: int) -> Cadence:
    def every(key: str, shares: int, least: int, most: int) -> int:
        """A share of the run, within bounds, unless said."""
        return int(run.get(key) or min(max(least, steps // shares), most))

    return Cadence(
        log=every("log_every", 100, 1, 100),
        sample=every("sample_every", 20, 5, 1_000),
        save=every("save_every", 20, 50, 1_000),
        eval=every("eval_every", 10, 50, 10_000),
    )


def _need_entries(recipe: Recipe, samples: Samples) -> None:
    known = {name for group in samples.groups for name in group}
    for entry in (*recipe.inputs, recipe.imitates):
        if entry not in known:
            raise ConfigError(
                f"this recipe needs the entry {entry!r}, and {samples.name} has {', '.join(sorted(known))}: "
                "choose other data with --data"
            )


def choose_device(wanted: str) -> torch.device:
    """The device that `auto`, `cpu` or `cuda` means here; under torchrun each local rank takes its own."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError("--device cuda: torch sees no CUDA device here; say --device cpu")
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        return device
    return torch.device(wanted)


def device_name(device: torch.device) -> str:
    """The kind of device, and which: numbers of one do not continue on another."""
    return f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type


def versions() -> dict[str, str]:
    """Of what computes."""
    return {"aigc_zoo": __version__, "torch": torch.__version__, "torch_fidelity": metadata.version("torch_fidelity")}


def default_folder(configuration: Configuration, recipe: Recipe) -> Path:
    """`runs/RECIPE-DATA`, with short names."""
    recipe_name = configuration.recipe.rsplit("/", 1)[-1].partition(".")[0]
    data = str(configuration.run.get("data") or recipe.dataset)
    path = Path(data)
    name = path.absolute().stem if resolve.exists(path) else data.rsplit("/", 1)[-1]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:64] or "data"  # whatever its folder is called
    return Path("runs") / f"{recipe_name}-{name}"
