"""Quality at an equal budget: each cell is trained once, or its record of an earlier call is read."""

from __future__ import annotations

from typing import Any

from aigc_zoo.bench.cells import Cell
from aigc_zoo.bench.suite import Suite


def bench_cell(suite: Suite, benchmark: Any, cell: Cell) -> None:
    record = benchmark.pedantic(cell.run, args=(suite.catalogue, suite.stop), rounds=1)
    suite.add({"name": cell.name, "record": record})
