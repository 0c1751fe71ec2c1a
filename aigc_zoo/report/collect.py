"""Reads and validates the run directories and result files of a report. Their names and texts are untrusted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aigc_zoo.artefacts.cards import units_of
from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.bench.results import is_results, read_results
from aigc_zoo.errors import DataError, StorageError, ZooError, in_a_line
from aigc_zoo.metrics.known import SMALL, Metrics, installed
from aigc_zoo.metrics.protocol import describe, differences

PAGE_BYTES = 16 << 20
"""Maximum size of the samples of a run as HTML."""

FRAMES = 24
"""Maximum number of sample grids of a run in a report, evenly spaced over training, to limit the size of the page."""


@dataclass(frozen=True)
class RunReport:
    """A run as read from its directory."""

    name: str
    path: Path
    card: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]
    metrics: Sequence[Mapping[str, Any]]
    held_out: Sequence[Mapping[str, Any]]
    finished: Mapping[str, Any] | None
    grids: Sequence[tuple[int, Path]]
    nearest: Path | None
    known: Metrics
    page: str
    """The samples as HTML, "" for none. It is untrusted, as all files of a run are."""

    @property
    def main_metric(self) -> str:
        """The metric that selected the best generator: the first one that was measured."""
        return str(self.metrics[0]["name"]) if self.metrics else ""

    def history(self, name: str) -> list[Mapping[str, Any]]:
        """Finite records of a metric, in order of step."""
        return [line for line in self.metrics if line["name"] == name and line["value"] is not None]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(str(line["name"]) for line in self.metrics))

    @property
    def final(self) -> Mapping[str, Any] | None:
        """The last record of the main metric."""
        history = self.history(self.main_metric)
        return history[-1] if history else None

    @property
    def best(self) -> Mapping[str, Any] | None:
        best: Mapping[str, Any] | None = None
        for record in self.history(self.main_metric):
            if best is None or self.known.improves(self.main_metric, float(record["value"]), float(best["value"])):
                best = record
        return best

    @property
    def unbiased(self) -> Mapping[str, Any] | None:
        """The value of the final generator against held-out data that does not depend on the number of samples, such
        as KID; None if it was not measured, or is the main metric itself.
        """
        final = [one for one in self.held_out if one.get("which") == "final" and one["name"] != self.main_metric]
        return self.known.unbiased(final)

    def of_held_out(self, which: str, name: str) -> Mapping[str, Any] | None:
        """The record of the final or the best generator against the held-out split."""
        found = (r for r in self.held_out if r.get("which") == which and r["name"] == name)
        return next(found, None)

    @property
    def flags(self) -> dict[str, str]:
        """Warnings about the final samples, and whether the run resumed inexactly or to another length."""
        since = "; ".join(one["changed"] for one in self.card.get("inexact", []))
        other = {"inexact": f"resumed inexactly: {since}"} if since else {}
        longer = "; ".join(one["changed"] for one in self.card.get("extended", []) if one["uses_t"])
        other |= {"extended": f"continued to another length, on which its steps depend: {longer}"} if longer else {}
        last = max((int(line["step"]) for line in self.metrics), default=0)
        records = [line for line in self.metrics if line["step"] == last]
        records += [record for record in self.held_out if record.get("which") == "final"]
        if not last:
            return other
        return other | self.known.warnings(records)

    @property
    def seconds(self) -> float | None:
        if self.finished is not None and "seconds" in self.finished:
            return float(self.finished["seconds"])
        return float(self.log[-1]["seconds"]) if self.log else None

    @property
    def images(self) -> int:
        return int(self.log[-1]["images"]) if self.log else 0

    @property
    def units(self) -> str:
        """What several samples of the run are called."""
        return units_of(self.card)

    @property
    def speed(self) -> float | None:
        """Samples per second over all of training."""
        return self.images / self.seconds if self.seconds else None

    @property
    def state(self) -> str:
        return str(self.finished["reason"]) if self.finished else "unfinished"


@dataclass(frozen=True)
class ReportData:
    """Runs and results of a report."""

    runs: Sequence[RunReport] = ()
    results: Sequence[Mapping[str, Any]] = ()
    left_out: Sequence[str] = ()
    """The reason for each run or file that could not be read."""
    known: Metrics = field(default_factory=installed)


@dataclass(frozen=True)
class Leaderboard:
    """Runs whose main metric was measured with the same protocol, best first."""

    metric: str
    protocol: Mapping[str, Any]
    runs: Sequence[RunReport]
    difference: str = ""

    @property
    def bias(self) -> str:
        """The sentence that few samples bias the metric, "" where they do not."""
        known = self.runs[0].known
        value, num = known.value(self.metric), int(self.protocol["num"])
        better = [one.title for one in known.beside(self.metric).values() if one.unbiased]
        if num >= SMALL or value.unbiased or value.better != "lower" or not better:
            return ""
        other = f"compare {better[0]} and its interval, if it was measured"
        return f"With fewer than {SMALL:,} samples {value.title} is biased: {other}."

    @property
    def units(self) -> str:
        """What several samples of these runs are called."""
        return common_units(run.card for run in self.runs)


def collect(sources: Sequence[Path], known: Metrics | None = None) -> ReportData:
    """Read the runs and result files at these paths; a folder of runs means all of them.

    Runs and files that cannot be read are left out and listed with the reason. Raises DataError for paths that do not
    exist or contain neither, and the reason itself where nothing else is left.
    """
    known = known or installed()
    paths = [path for source in sources for path in _inside(source)]
    runs: list[RunReport] = []
    results: list[Mapping[str, Any]] = []
    errors: list[ZooError] = []
    for path in paths:
        try:
            if path.is_dir():
                runs.append(read_run(path, known))
            else:
                results.append(read_results(path))
        except (DataError, StorageError) as error:
            errors.append(error)
    if errors and not runs and not results:
        raise errors[0]
    names = _unique_names([run.path for run in runs])
    reasons = [str(error).splitlines()[0] for error in errors]
    return ReportData([replace(run, name=name) for run, name in zip(runs, names, strict=True)], results, reasons, known)


def _inside(source: Path) -> list[Path]:
    """A run directory or a file itself; the runs and result files in any other folder."""
    if not source.exists():
        raise DataError(f"{source}: no such run or result file")
    if source.is_file() or (source / "card.json").exists():
        return [source]
    runs = sorted(path.parent for path in source.glob("*/card.json"))
    files = sorted(path for path in source.glob("*.json") if is_results(path))
    if not runs and not files:
        raise DataError(f"{source} contains neither runs nor result files: pass a run directory, which has a card.json")
    return [*runs, *files]


def read_run(path: Path, known: Metrics | None = None) -> RunReport:
    """Read a run directory. Raises DataError if its card is missing or damaged, or a file has another format."""
    run = RunDirectory(path)
    card = run.read_card()
    try:
        report = RunReport(
            name=path.absolute().name,
            path=path,
            card=card,
            log=read_lines(run.log_path),
            metrics=read_lines(run.metrics_path),
            held_out=run.read_held_out(),
            finished=run.finished(),
            grids=_evenly([(int(grid.stem), grid) for grid in run.previews()]),
            nearest=run.nearest_path if run.nearest_path.exists() else None,
            known=known or installed(),
            page=_text(run.page_path),
        )
        _check(report)
    except KeyError as error:
        raise DataError(f"{path} is not a run that this version can read: it lacks {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not a run that this version can read: {in_a_line(error)}") from error
    return report


def _text(path: Path) -> str:
    """The text of a file that may be missing; one that is too large for a report is left out."""
    if not path.exists() or path.stat().st_size > PAGE_BYTES:
        return ""
    return path.read_text(encoding="utf-8", errors="replace")


def _check(run: RunReport) -> None:
    """Raise KeyError, TypeError, ValueError or AttributeError for a value that a report needs and cannot show."""
    card = run.card
    _ = card["recipe"], card["data"]["name"], card["seed"]
    _ = card["versions"].items(), card["data"]["digest"][:16], card["data"]["samples"] + 0, card["data"]["size"]
    for record in (*run.metrics, *run.held_out):
        _ = str(record["name"]), record["protocol"]["num"] + record["protocol"]["seed"], describe(record["protocol"])
        _ = None if record["value"] is None else float(record["value"]) + record["value"]
    for line in run.metrics:
        _ = float(line["images"])
    for line in run.log:
        _ = float(line["images"]), float(line["seconds"]), float(line["images_per_second"])
        _ = [math.isfinite(value) for value in line["terms"].values() if value is not None]
    _ = run.flags, run.final, run.best, run.speed, run.state


def leaderboards(runs: Sequence[RunReport]) -> list[Leaderboard]:
    """Group the runs by protocol of their main metric; each later group has its difference to the first."""
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
    tables: list[Leaderboard] = []
    for protocol, members in groups:
        metric = members[0].main_metric
        ordered: list[RunReport] = []
        for run in members:
            position = next(
                (n for n, other in enumerate(ordered) if run.known.improves(metric, _value(run), _value(other))), None
            )
            ordered.insert(len(ordered) if position is None else position, run)
        difference = "; ".join(differences(groups[0][0], protocol)[:4]) if tables else ""
        tables.append(Leaderboard(metric, protocol, ordered, difference))
    return tables


def common_units(about: Iterable[Mapping[str, Any]]) -> str:
    """What several samples are called on all of these cards, or entries of results; "samples" where they differ."""
    found = {units_of(one) for one in about}
    return "samples" if len(found) > 1 else next(iter(found), "images")


def group_by_protocol(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Group the entries of a result by protocol, each group with its description.

    Entries without a protocol (times, incompatible components) form the last group.
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


def _unique_names(paths: Sequence[Path]) -> list[str]:
    """Names of directories, with the parent's name where two are equal."""
    names = [path.absolute().name for path in paths]
    return [
        f"{path.absolute().parent.name}/{name}" if names.count(name) > 1 else name
        for path, name in zip(paths, names, strict=True)
    ]
