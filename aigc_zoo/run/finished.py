"""The result of a run that is finished, from its files."""

from __future__ import annotations

from aigc_zoo.artefacts.cards import units_of
from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.metrics.known import Metrics
from aigc_zoo.run.monitor import outcome
from aigc_zoo.run.progress import Result


def finished(directory: RunDirectory, metrics: Metrics) -> Result:
    """The result of the finished run in a directory, which says that nothing was done."""
    state = directory.finished() or {}
    return Result(
        folder=directory.path,
        step=state["step"],
        images=state["images"],
        reason=state["reason"],
        seconds=float(state["seconds"]),
        notes=("this run is finished; nothing was done (more --steps or --images continue it)",),
        units=units_of(directory.read_card()),
        **outcome(read_lines(directory.metrics_path), directory.read_held_out(), metrics),
    )
