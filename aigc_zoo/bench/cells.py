"""Cells of a quality benchmark: one configuration trained with one seed, whose record is stored and reused."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from aigc_zoo import options
from aigc_zoo.artefacts import migration
from aigc_zoo.artefacts.atomic import make_folder, write_json
from aigc_zoo.artefacts.cards import units_of
from aigc_zoo.artefacts.checkpoint import json_object
from aigc_zoo.artefacts.runs import RunDirectory, nulled, read_lines
from aigc_zoo.bench.identity import identity_of
from aigc_zoo.engine.stages import StageSteps
from aigc_zoo.errors import ConfigError, DataError, DivergedError, UsageError
from aigc_zoo.metrics.known import Metrics, installed
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.loop import train
from aigc_zoo.run.prepare import Prepared, prepare
from aigc_zoo.run.signals import Stop

LONGEST = 1 << 40
"""Steps of a run that no budget of seconds ends, so that all its stages are known."""

TRIAL = 5
"""Timed steps from which the number of steps in a budget of seconds is estimated."""


@dataclass(frozen=True)
class Cell:
    """`recipe` with options `given` on `data`, trained for `images` or about `seconds`, in a run directory in `out`."""

    name: str
    recipe: str
    seed: int
    out: Path
    data: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    images: int | None = None
    seconds: float | None = None
    device: str = "auto"
    identity: Mapping[str, Any] = field(default_factory=dict)
    """Versions and digests of code and data (`bench.identity`); `run` computes them where they are not given."""

    def __str__(self) -> str:
        return f"{self.name} seed {self.seed}"

    @property
    def directory(self) -> Path:
        """The run directory: a readable name and a digest of all settings and of the identity."""
        settings = [self.recipe, self.data, sorted(self.given.items(), key=str), self.images, self.seconds, self.device]
        key = json.dumps([*settings, dict(self.identity)], default=str, sort_keys=True)
        digest = sha256(key.encode()).hexdigest()[:12]
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.name).strip("-.")[:40]
        return self.out / f"{name}-{digest}-seed{self.seed}"

    @property
    def record_path(self) -> Path:
        """The file of the record, beside the run directory."""
        return self.directory.with_name(self.directory.name + ".json")

    def identified(self, catalogue: Catalogue, digests: dict[Any, Any] | None = None) -> Cell:
        """This cell with its identity; `digests` keeps those of data between cells of one command."""
        if self.identity:
            return self
        return replace(self, identity=identity_of(catalogue, self._resolved(catalogue, {}), digests))

    def run(self, catalogue: Catalogue, stop: Stop | None = None) -> dict[str, Any]:
        """Train the cell, resume it, or read its record if it is finished. Returns the record.

        A record is reused only for equal versions, plugin code and data. Data that cannot be read are reported but not
        recorded. Raises KeyboardInterrupt if training was stopped; its checkpoint is saved.
        """
        try:
            return self.identified(catalogue)._run(catalogue, stop)
        except DataError as error:
            return self._about({"failed": _in_a_line(error)})
        except ConfigError as error:
            return self._about({"incompatible": _in_a_line(error)})

    def _run(self, catalogue: Catalogue, stop: Stop | None) -> dict[str, Any]:
        if self.record_path.exists():
            return migration.record(json_object(self.record_path.read_text("utf-8")), self.record_path)
        make_folder(self.out)
        try:
            prepared = self._prepared(catalogue)
            trainer = prepared.trainer()  # incompatible components raise here or in the first step
            trainer.train_step()
            del trainer
        except ConfigError as error:
            return self._save({"incompatible": _in_a_line(error)})
        try:
            result = train(prepared, self.directory, stop=stop)
        except DivergedError as error:
            return self._save({"diverged": str(error).splitlines()[0]})
        if result.reason == "stopped":
            raise KeyboardInterrupt
        return self._save(history_of(self.directory, installed(catalogue)) | {"units": result.units})

    def _prepared(self, catalogue: Catalogue) -> Prepared:
        length = {"images": self.images} if self.images else {}
        prepared = self._with(catalogue, length)
        if self.seconds is None:
            return prepared
        steps = self.directory.with_name(self.directory.name + ".steps")
        if not steps.exists():
            # Decided once: a run that resumes must keep its length.
            write_json(steps, {"steps": steps_in(prepared, self.seconds)})
        return self._with(catalogue, {"steps": json_object(steps.read_text("utf-8"))["steps"]})

    def _with(self, catalogue: Catalogue, length: Mapping[str, Any]) -> Prepared:
        return prepare(catalogue, self._resolved(catalogue, length))

    def _resolved(self, catalogue: Catalogue, length: Mapping[str, Any]) -> options.Configuration:
        given = {**self.given, **length, "seed": self.seed, "device": self.device}
        try:
            return options.resolve(catalogue, self.recipe, data=self.data, given=given, origin="python")
        except UsageError as error:  # an option that this combination of components lacks
            raise ConfigError(str(error)) from error

    def _about(self, record: Mapping[str, Any]) -> dict[str, Any]:
        about = {"seed": self.seed, "folder": self.directory.name, "identity": dict(self.identity)}
        return dict(nulled({**about, **record}))

    def _save(self, record: Mapping[str, Any]) -> dict[str, Any]:
        saved = self._about(record)
        write_json(self.record_path, saved)
        return saved


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split("\n")[0].split())


def steps_in(prepared: Prepared, seconds: float) -> int:
    """Estimate how many train steps fit into a number of seconds, from a few timed steps of each stage."""
    timed = StageSteps(prepared.trainer(), LONGEST)
    each = timed.seconds(TRIAL)
    done = 0.0
    for stage in timed.stages:
        steps = min(float(stage.steps), seconds / stage.mean(each))
        seconds -= steps * stage.mean(each)
        done += steps
    return max(1, round(done))


def history_of(directory: Path, known: Metrics) -> dict[str, Any]:
    """The leading metric of a finished run over images and seconds, with its other metrics and warnings."""
    run = RunDirectory(directory)
    metrics, log = read_lines(run.metrics_path), read_lines(run.log_path)
    if not metrics:
        raise ConfigError(f"{directory} has no metrics: choose an extractor with --extractor")
    own = str(known.leading(line for line in metrics if line["step"] == metrics[0]["step"])[0]["name"])
    lines = [line for line in metrics if line["name"] == own]
    last = [line for line in metrics if line["step"] == lines[-1]["step"]]
    flags = known.warnings(last)
    finished = run.finished() or {}
    return {
        "metric": own,
        "protocol": lines[-1]["protocol"],
        "values": [
            {"images": line["images"], "seconds": _seconds(log, line["step"]), "value": line["value"]} for line in lines
        ],
        "seconds": finished.get("seconds"),
        "images": lines[-1]["images"],
        "others": {str(line["name"]): line["value"] for line in last if line["name"] != own},
        "flags": list(flags.values()),
    }


def _seconds(log: Sequence[Mapping[str, Any]], step: int) -> float:
    """Seconds of training up to a step, interpolated linearly between logged steps."""
    before, after = {"step": 0, "seconds": 0.0}, None
    for line in log:
        if line["step"] <= step:
            before = dict(line)
        elif after is None:
            after = line
    if after is None or before["step"] == step:
        return float(before["seconds"])
    fraction = (step - before["step"]) / (after["step"] - before["step"])
    return float(before["seconds"] + fraction * (after["seconds"] - before["seconds"]))


def summary(
    name: str, records: Sequence[Mapping[str, Any]], known: Metrics, target: float | None = None
) -> dict[str, Any]:
    """Summarize the records of all seeds in one entry. A target that is never reached takes infinitely long: null."""
    for record in records:
        if "incompatible" in record:
            return {"name": name, "incompatible": record["incompatible"]}
    good = [record for record in records if "values" in record]
    bad = [_failure(record) for record in records if "values" not in record]
    if not good or any("failed" in record for record in records):
        return {"name": name, "failed": bad[0], "seeds": [r["seed"] for r in records]}
    metric = good[0]["metric"]
    finals = [float(r["values"][-1]["value"]) for r in good if r["values"][-1]["value"] is not None]
    collapsed = [record for record in records if "diverged" in record or record["flags"]]
    reached = [_reached(record, known, target) for record in records]
    return {
        "name": name,
        "metric": metric,
        "protocol": good[0]["protocol"],
        "seeds": [record["seed"] for record in records],
        "final": _mean_and_std(finals),
        "best": _mean_and_std([value for record in good if (value := best(record, known)) is not None]),
        "others": {
            other: _mean_and_std([float(r["others"][other]) for r in good if r["others"].get(other) is not None])
            for other in good[0].get("others", {})
        },
        "collapse_rate": len(collapsed) / len(records),
        "flags": {str(r["seed"]): [r["diverged"]] if "diverged" in r else r["flags"] for r in collapsed},
        "target": target,
        "seconds_to_target": _median([one["seconds"] for one in reached]),
        "images_to_target": _median([one["images"] for one in reached]),
        "reached": sum(one["seconds"] is not None for one in reached),
        "seconds": statistics.fmean(float(r["seconds"]) for r in good),
        "images": good[0]["images"],
        "units": units_of(good[0]),
        "runs": [record["folder"] for record in records],
        "identity": good[0].get("identity", {}),
    }


def _failure(record: Mapping[str, Any]) -> str:
    return str(record.get("failed") or record["diverged"])


def best(record: Mapping[str, Any], known: Metrics) -> float | None:
    """The best value of a run; None if no value is finite."""
    values = [float(one["value"]) for one in record["values"] if one["value"] is not None]
    found: float | None = None
    for value in values:
        found = value if found is None or known.improves(record["metric"], value, found) else found
    return found


def _reached(record: Mapping[str, Any], known: Metrics, target: float | None) -> dict[str, Any]:
    """The first evaluation that met the target; values of None if none did."""
    missed = {"seconds": None, "images": None}
    if target is None or "values" not in record:
        return missed
    for one in record["values"]:
        if one["value"] is not None and not known.improves(record["metric"], target, one["value"]):
            return dict(one)
    return missed


def _median(values: Sequence[float | None]) -> float | None:
    """The median with None as infinity; None if the median is infinite."""
    ordered = sorted(float("inf") if value is None else float(value) for value in values)
    middle = statistics.median(ordered)
    return None if middle == float("inf") else middle


def _mean_and_std(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "values": list(values),
    }
