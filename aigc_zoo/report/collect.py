"""What a report is made from: run folders and result files, read and checked, whatever their names and texts are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigc_zoo.artefacts.checkpoint import json_object, judged
from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.bench.results import is_results, read_results
from aigc_zoo.errors import DataError
from aigc_zoo.metrics.kinds import improves, modes_of, warnings
from aigc_zoo.metrics.protocol import describe, differences

FRAMES = 24
"""Sample grids of a run that a report shows, evenly chosen: more would make the page heavy and tell nothing new."""


@dataclass(frozen=True)
class RunReport:
    """One run as its folder tells it."""

    name: str
    path: Path
    card: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]
    metrics: Sequence[Mapping[str, Any]]
    held_out: Sequence[Mapping[str, Any]]
    finished: Mapping[str, Any] | None
    grids: Sequence[tuple[int, Path]]
    nearest: Path | None

    @property
    def own(self) -> str:
        """The metric that chose the best generator: the first that was measured."""
        return str(self.metrics[0]["name"]) if self.metrics else ""

    def history(self, name: str) -> list[Mapping[str, Any]]:
        """Records of a metric that are numbers, in order of step."""
        return [line for line in self.metrics if line["name"] == name and line["value"] is not None]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(str(line["name"]) for line in self.metrics))

    @property
    def final(self) -> Mapping[str, Any] | None:
        """The last record of the run's own metric."""
        history = self.history(self.own)
        return history[-1] if history else None

    @property
    def best(self) -> Mapping[str, Any] | None:
        best: Mapping[str, Any] | None = None
        for record in self.history(self.own):
            if best is None or improves(self.own, float(record["value"]), float(best["value"])):
                best = record
        return best

    @property
    def kernel_distance(self) -> Mapping[str, Any] | None:
        """That of the final generator against held-out data, where it was measured."""
        return self.of_held_out("final", f"kid-{self.own.partition('-')[2]}")

    def of_held_out(self, which: str, name: str) -> Mapping[str, Any] | None:
        """The record of the final or the best generator against data that was not trained on."""
        found = (r for r in self.held_out if r.get("which") == which and r["name"] == name)
        return next(found, None)

    @property
    def flags(self) -> dict[str, str]:
        """What is wrong with the final samples, and what a reader of the numbers has to know."""
        since = "; ".join(one["changed"] for one in self.card.get("inexact", []))
        inexact = {"inexact": f"went on inexactly: {since}"} if since else {}
        last = max((int(line["step"]) for line in self.metrics), default=0)
        records = [line for line in self.metrics if line["step"] == last]
        records += [record for record in self.held_out if record.get("which") == "final"]
        if not last:
            return inexact
        return inexact | warnings({str(r["name"]): r["value"] for r in records}, modes_of(records))

    @property
    def seconds(self) -> float | None:
        if self.finished is not None and "seconds" in self.finished:
            return float(self.finished["seconds"])
        return float(self.log[-1]["seconds"]) if self.log else None

    @property
    def images(self) -> int:
        return int(self.log[-1]["images"]) if self.log else 0

    @property
    def speed(self) -> float | None:
        """Images a second over the whole of training."""
        return self.images / self.seconds if self.seconds else None

    @property
    def state(self) -> str:
        return str(self.finished["reason"]) if self.finished else "unfinished"


@dataclass(frozen=True)
class Material:
    """All that a report shows."""

    runs: Sequence[RunReport] = ()
    results: Sequence[Mapping[str, Any]] = ()
    names: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Board:
    """Runs whose own metric was measured by one protocol, best first: only these stand side by side."""

    metric: str
    protocol: Mapping[str, Any]
    runs: Sequence[RunReport]
    unlike: str = ""


def collect(sources: Sequence[Path]) -> Material:
    """Runs and result files at these paths; a folder of runs stands for all of them.

    Raises DataError for what is neither, or is damaged, or of another schema.
    """
    runs: list[RunReport] = []
    results: list[Mapping[str, Any]] = []
    for source in sources:
        if not source.exists():
            raise DataError(f"{source}: no such run or file of results")
        if source.is_file():
            results.append(read_results(source))
        elif (source / "card.json").exists():
            runs.append(read_run(source))
        else:
            inside = sorted(path.parent for path in source.glob("*/card.json"))
            files = sorted(path for path in source.glob("*.json") if is_results(path))
            if not inside and not files:
                raise DataError(f"{source} holds neither runs nor files of results: name a folder with a card.json")
            runs += [read_run(path) for path in inside]
            results += [read_results(path) for path in files]
    names = _unlike([run.path for run in runs])
    return Material([_named(run, name) for run, name in zip(runs, names, strict=True)], results)


def read_run(path: Path) -> RunReport:
    """A run's folder. Raises DataError where its card is missing or damaged, or a line is not what a run writes."""
    home = RunDirectory(path)
    card = home.read_card()
    grids = [(int(grid.stem), grid) for grid in home.samples() if grid.suffix == ".png"]
    held_out: Sequence[Mapping[str, Any]] = ()
    try:
        data = card["data"]
        _ = card["recipe"], data["name"], card["versions"], card["seed"]
        if home.held_out_path.exists():
            with judged(home.held_out_path):
                held_out = json_object(home.held_out_path.read_text("utf-8"))["metrics"]
        metrics = read_lines(home.metrics_path)
        for record in (*metrics, *held_out):
            _ = record["name"], record["value"], record["protocol"]["num"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is not a run that this version reads: it lacks {error}") from error
    return RunReport(
        name=path.absolute().name,
        path=path,
        card=card,
        log=read_lines(home.log_path),
        metrics=metrics,
        held_out=held_out,
        finished=home.finished(),
        grids=_evenly(grids),
        nearest=home.nearest_path if home.nearest_path.exists() else None,
    )


def boards(runs: Sequence[RunReport]) -> list[Board]:
    """The runs' own metrics, a table for each protocol; each later one says how it differs from the first."""
    groups: list[tuple[Mapping[str, Any], list[RunReport]]] = []
    for run in runs:
        if run.final is None:
            continue
        for protocol, members in groups:
            if not differences(protocol, run.final["protocol"]):
                members.append(run)
                break
        else:
            groups.append((run.final["protocol"], [run]))
    made: list[Board] = []
    for protocol, members in groups:
        metric = members[0].own
        ordered: list[RunReport] = []
        for run in members:
            place = next((n for n, other in enumerate(ordered) if improves(metric, _value(run), _value(other))), None)
            ordered.insert(len(ordered) if place is None else place, run)
        unlike = "; ".join(differences(groups[0][0], protocol)[:4]) if made else ""
        made.append(Board(metric, protocol, ordered, unlike))
    return made


def parts(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Entries of a result in groups that may stand side by side, each with how it was measured: by one protocol.

    What was not measured by any (times, parts that do not fit) stands in the last group.
    """
    groups: list[tuple[Mapping[str, Any], list[Mapping[str, Any]]]] = []
    rest: list[Mapping[str, Any]] = []
    for entry in entries:
        protocol = entry.get("protocol")
        if protocol is None:
            rest.append(entry)
            continue
        for known, members in groups:
            if not differences(known, protocol):
                members.append(entry)
                break
        else:
            groups.append((protocol, [entry]))
    found = [(describe(protocol), members) for protocol, members in groups]
    return [*found, ("", rest)] if rest else found


def _value(run: RunReport) -> float:
    assert run.final is not None
    return float(run.final["value"])


def _evenly(grids: Sequence[tuple[int, Path]]) -> list[tuple[int, Path]]:
    count = min(len(grids), FRAMES)
    return [grids[number * (len(grids) - 1) // max(1, count - 1)] for number in range(count)]


def _unlike(paths: Sequence[Path]) -> list[str]:
    """Names of folders, with that of the folder above where two are alike."""
    names = [path.absolute().name for path in paths]
    return [
        f"{path.absolute().parent.name}/{name}" if names.count(name) > 1 else name
        for path, name in zip(paths, names, strict=True)
    ]


def _named(run: RunReport, name: str) -> RunReport:
    return RunReport(**{**vars(run), "name": name})
