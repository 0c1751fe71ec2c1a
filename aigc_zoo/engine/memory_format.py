"""Find out whether a recipe can train in the channels-last memory format."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from aigc_zoo.engine import fast
from aigc_zoo.engine.batch import StepBatch
from aigc_zoo.engine.networks import copied
from aigc_zoo.game import Nets, Recipe, all_losses

FEW = 8
"""Rows on which losses are tried; some losses compare samples in groups of four."""

NOTE = "memory format: contiguous, as a network or a loss calls view; reshape or flatten would be faster"


def needs_contiguous(recipe: Recipe, nets: Nets, entries: Mapping[str, Tensor], rows: int) -> bool:
    """Return True if a loss fails on channels-last tensors because it or a network calls `Tensor.view`.

    Evaluates every loss of the recipe, lazy ones included, on copies of the networks and a few of the `rows` of a batch
    with these `entries`. Any other error is ignored here, as the training step raises it again.
    """
    nets = copied(nets)
    few = {key: value[:FEW] if value.shape[:1] == (rows,) else value for key, value in entries.items()}
    for loss in {loss for player in recipe.players.values() for loss in all_losses(player.loss)}:
        batch = StepBatch(few, lambda given: recipe.generate(nets, given), keep_graph=True)
        try:
            loss(nets, batch.view(with_graph=True, version=0))
        except RuntimeError as error:
            if fast.is_view_error(error):
                return True
        except Exception:  # any error of a plugin's loss: the training step raises it again, with its context
            return False
    return False
