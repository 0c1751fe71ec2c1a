"""Run directories and result files written by hand, with hostile text in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

HOSTILE = '<script>alert("1")</script> & $x$ | `y`'


def protocol(metric: str = "fid", **more: Any) -> dict[str, Any]:
    return {
        "metric": metric, "num": 2048, "shape": [1, 28, 28], "resize": "none", "extractor": "zoo/zoo-grey28",
        "extractor_sha256": "da48c6d6", "batch": 64, "reference": "digits", "split": "train", "reference_num": 12000,
        "reference_digest": "abc", "weights": "averaged", "seed": 0, "versions": {"torch": "2.15.0"}, **more,
    }  # fmt: skip


def make_run(
    path: Path,
    values: Mapping[int, float],
    *,
    recipe: str = "zoo/dcgan",
    data: str = "digits",
    duplicates: float = 0.01,
    held_out: float | None = None,
    **more: Any,
) -> Path:
    """Write a run directory with `values` of its main metric by step."""
    (path / "samples").mkdir(parents=True)
    card = {
        "recipe": recipe, "slots": {"loss": "zoo/minimax"}, "options": {"lr": 0.001}, "batch_size": 64, "steps": 1000,
        "seed": 0, "device": "cpu", "threads": 2, "world": 1, "versions": {"torch": "2.15.0"},
        "data": {"name": data, "samples": 12000, "digest": "0" * 64, "size": None},
    }  # fmt: skip
    (path / "card.json").write_text(json.dumps(card))
    log, metrics = [], []
    for step, value in values.items():
        log.append({"step": step, "images": 64 * step, "seconds": step / 10, "images_per_second": 640.0})
        log[-1]["terms"] = {"discriminator/loss": 1.3, "generator/loss": 0.8, "discriminator/_real": 0.1}
        for metric, measured in (("fid", value), ("duplicates", duplicates)):
            record = {"name": f"{metric}-zoo-grey28", "value": measured, "protocol": protocol(metric, **more)}
            metrics.append({"step": step, "images": 64 * step, **record})
        Image.new("L", (60, 60), 255 - step % 256).save(path / "samples" / f"{step:09d}.png")
    (path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    (path / "finished.json").write_text(json.dumps({"step": step, "images": 1, "reason": "done", "seconds": 100.0}))
    if held_out is not None:
        record = {"which": "final", "step": step, "name": "fid-zoo-grey28", "value": held_out}
        record["protocol"] = protocol(split="test", reference_num=2000)
        kid = {**record, "name": "kid-zoo-grey28", "value": 0.02, "interval": [0.01, 0.03]}
        held = {"schema": 1, "selected_by": "fid", "metrics": [record, kid]}
        (path / "held_out.json").write_text(json.dumps(held))
    return path


ENVIRONMENT = {
    "processor": "a processor", "cores": 2, "load_before": 0.1, "threads": 2, "system": "Linux x86_64", "gpu": None,
    "python": "3.11", "versions": {"torch": "2.15.0"}, "commit": "0123456789abcdef", "tf32": False,
    "deterministic": False,
}  # fmt: skip


def make_results(path: Path, kind: str = "speed", **more: Any) -> Path:
    times = [0.010 + 0.0001 * (number % 7) for number in range(20)]
    entries: list[dict[str, Any]] = [
        {
            "name": name, "group": "train-step/cpu", "median": scale / 100,
            "interval": [scale * 0.0098, scale * 0.0103],
            "seconds": [scale * one for one in times], "images_per_second": 6400 / scale, "baseline": "y",
            "relative": [scale + 0.01 * (number % 5) for number in range(20)],
        }
        for name, scale in (("zoo/dcgan", 1.0), (HOSTILE, 1.6))
    ]  # fmt: skip
    entries.append({"name": "acme/gan", "group": "train-step/cpu", "skipped": "its data is missing"})
    if kind != "speed":
        values = {"mean": 3.0, "std": 0.5, "values": [2.5, 3.0, 3.5]}
        entries = [
            {
                "name": "dcgan x minimax", "metric": "fid-zoo-grey28", "protocol": protocol(), "seeds": [0, 1, 2],
                "final": values, "best": values, "collapse_rate": 1 / 3, "target": 4.0, "seconds_to_target": 12.0,
                "images_to_target": 6400, "reached": 3,
            },
            {
                "name": "dcgan x other", "metric": "fid-zoo-grey28", "protocol": protocol(num=9_999), "seeds": [0],
                "final": values, "best": values, "collapse_rate": 0.0, "target": None, "seconds_to_target": None,
                "images_to_target": None, "reached": 0,
            },
            {"name": "dcgan x gp", "incompatible": "penalty gp needs per-sample gradients"},
        ]  # fmt: skip
    result = {
        "schema": "aigc_zoo bench 1",
        "kind": kind,
        "environment": ENVIRONMENT,
        "settings": {},
        "entries": entries,
    }
    path.write_text(json.dumps({**result, **more}))
    return path


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """Two comparable runs, a collapsed one with hostile text, one of another protocol, and result files."""
    values = {0: 570.0, 400: 14.0, 800: 3.2, 1000: 3.5}
    good = make_run(tmp_path / "good", values, held_out=3.9)
    make_run(tmp_path / "other", {0: 560.0, 400: 9.0, 800: 2.2, 1000: 2.1})
    make_run(tmp_path / "collapsed", {0: 570.0, 400: 90.0, 1000: 70.0}, duplicates=0.8, recipe=HOSTILE, data=HOSTILE)
    make_run(tmp_path / "more samples", {0: 560.0, 1000: 1.9}, num=10_000)
    return [
        good, tmp_path / "other", tmp_path / "collapsed", tmp_path / "more samples",
        make_results(tmp_path / "speed.json"), make_results(tmp_path / "matrix.json", "matrix"),
    ]  # fmt: skip
