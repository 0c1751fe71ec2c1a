"""The fraction of positions with exactly one king of each side."""

from __future__ import annotations

from collections.abc import Mapping

from aigc_zoo.metric import Measured, Metric, Value, View

from .position import PIECES


def kings() -> Metric:
    """One value, `kings`, from 0 to 1; positions that can occur in a game have 1."""
    return Metric(
        values=(Value("kings", "one king each", "higher", ideal=1.0),),
        modalities=("chess/position",),
        needs=frozenset({"samples"}),
        measure=_measure,
    )


def _measure(view: View) -> Mapping[str, Measured]:
    right = count = 0
    for chunk in view.chunks("fake"):
        boards = chunk["fake"].flatten(1)
        both = [(boards == PIECES.index(king)).sum(1) == 1 for king in "Kk"]
        right += int((both[0] & both[1]).sum())
        count += len(boards)
    return {"kings": Measured(right / count)}
