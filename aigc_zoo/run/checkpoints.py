"""Writes the checkpoints of a run, and restores the training state from them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError, DivergedError
from aigc_zoo.run.disk_full import TolerateFullDisk
from aigc_zoo.run.prepare import Prepared
from aigc_zoo.run.terms import LastTerms


class Checkpoints:
    """The checkpoints of one run.

    saved_step: the step of the newest checkpoint, -1 before the first one
    """

    def __init__(self, prepared: Prepared, directory: RunDirectory, trainer: Trainer, terms: LastTerms) -> None:
        self.prepared, self.directory, self.trainer, self.terms = prepared, directory, trainer, terms
        self.saved_step = -1

    def save(
        self,
        card: Mapping[str, Any],
        seconds: float,
        best_step: int | None,
        tolerate: TolerateFullDisk,
        *,
        last: bool = False,
    ) -> None:
        """Writes checkpoints/STEP.safetensors; old ones but the newest --keep and that of `best_step` are removed.

        Every rank must call it. A checkpoint that cannot be written is reported, and training continues; the `last`
        one must be written. Raises DivergedError rather than save a value that is not finite, StorageError.
        """
        step, ranks = self.trainer.step, self.prepared.ranks
        tensors, scalars = self.trainer.state()
        terms = self.terms.state()
        saved = False
        if ranks.first:
            bad = [name for name, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
            if bad:
                raise self._diverged(f"{bad[0]} is not finite at step {step}")
            content = {**scalars, "seconds": seconds, "terms": terms, "run": card}
            with nullcontext() if last else tolerate("checkpoint", essential=True):
                path = self.directory.save_checkpoint(step, tensors, content, self.prepared.settings.keep, best_step)
                saved = True
                self.prepared.catalogue.listen("zoo_checkpoint_saved", run=self.directory.path, path=path)
        if ranks.any(saved):
            self.saved_step = step

    def resume(self) -> tuple[float, list[str]] | None:
        """Restores the trainer from the newest undamaged checkpoint; None without one.

        Returns the seconds of training so far, and a sentence for each newer checkpoint that is damaged.
        """
        found = self.directory.newest_valid()
        if found is None:
            return None
        self.trainer.load(found.tensors, found.card)
        self.terms.load(found.card.get("terms", {}))
        self.saved_step = self.trainer.step
        return float(found.card["seconds"]), found.skipped

    def initialise(self) -> list[str]:
        """Loads the weights of `--init` into a new run, and returns the names of the networks that took them."""
        path = self.prepared.settings.init
        if path is None:
            return []
        names = self.trainer.initialize_from(_initial_tensors(path))
        if not names:
            raise ConfigError(f"--init {path}: none of its networks has the names and shapes of this recipe's")
        return names

    def check_finite(self) -> None:
        """Raises DivergedError where a training step met values that are not finite. Waits for the device."""
        problem = self.trainer.diverged()
        if problem is not None:
            raise self._diverged(problem)

    def _diverged(self, problem: str) -> DivergedError:
        saved = (
            f"the checkpoint of step {self.saved_step} is intact"
            if self.saved_step > 0
            else "no checkpoint was saved before it"
        )
        penalty = " a penalty (--penalty)" if "penalty" in self.prepared.configuration.slots else ""
        return DivergedError(
            f"training diverged: {problem}; {saved}\n"
            f"try a lower learning rate,{penalty} or another --seed, in a new run directory (--out)"
        )


def _initial_tensors(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a checkpoint, a generator file or a run directory, by their names in a checkpoint."""
    if path.is_dir():
        found = RunDirectory(path).newest_valid()
        if found is None:
            raise ConfigError(f"--init {path}: the directory has no checkpoint")
        return found.tensors
    tensors, card = checkpoint.load(path)
    return {f"nets/{name}": t for name, t in tensors.items()} if card.get("kind") == "generator" else tensors
