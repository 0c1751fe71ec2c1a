"""Writes the table of docs/results.md from benchmarks/results/*.json; with --check it fails if the table is stale.

benchmarks/README.md documents the format of result files. A result without its machine, versions, commit or protocol is
refused.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aigc_zoo.artefacts import migration

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results.md"
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- begin: results -->", "<!-- end: results -->"

FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "recipe": str,
    "data": str,
    "steps": int,
    "images": int,
    "seconds": (int, float),
    "metrics": list,
    "seed": int,
    "machine": str,
    "versions": dict,
    "commit": str,
    "command": str,
}
METRIC_FIELDS: Mapping[str, type | tuple[type, ...]] = {"name": str, "value": (int, float), "protocol": dict}
PROTOCOL_FIELDS = ("num", "extractor", "extractor_sha256", "reference", "split", "reference_num", "weights")


def problems(result: Any) -> list[str]:
    """The problems of a result; empty if it may be printed."""
    if not isinstance(result, dict):
        return ["not a JSON object"]
    found = _mistyped(result, FIELDS)
    if found:
        return found
    found = [f"{key} is empty" for key, kind in FIELDS.items() if kind in (str, dict, list) and not result[key]]
    for metric in result["metrics"]:
        if not isinstance(metric, dict):
            found.append("a metric is not a JSON object")
            continue
        wrong = _mistyped(metric, METRIC_FIELDS)
        if not wrong and not math.isfinite(metric["value"]):
            wrong = ["value is not finite"]
        if not wrong:
            wrong = [f"protocol lacks {key}" for key in PROTOCOL_FIELDS if key not in metric["protocol"]]
        found += [f"metric {metric.get('name', '?')}: {problem}" for problem in wrong]
    return found


def _mistyped(mapping: Mapping[str, Any], fields: Mapping[str, type | tuple[type, ...]]) -> list[str]:
    found = []
    for key, kind in fields.items():
        if key not in mapping:
            found.append(f"{key} is missing")
        elif not isinstance(mapping[key], kind) or isinstance(mapping[key], bool):
            found.append(f"{key} is a {type(mapping[key]).__name__}")
    return found


def load(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The results of a folder, sorted by file name. Raises ValueError for an invalid file."""
    results = []
    for path in sorted(folder.glob("*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path.name}: not JSON: {error}") from error
        if wrong := problems(result):
            raise ValueError(f"{path.name}: {'; '.join(wrong)}")
        results.append({**result, "metrics": [migration.record(one, path) for one in result["metrics"]]})
    return results


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table for each protocol, since values of different protocols do not compare, and all commands."""
    if not results:
        return "No result is recorded yet."
    rows: dict[str, list[tuple[float, str]]] = {}
    for result in results:
        budget = f"{result['steps']:,} steps, {result['images']:,} images, {_duration(result['seconds'])}"
        for metric in result["metrics"]:
            cells = (result["recipe"], f"{metric['value']:.4g}", budget, result["seed"], result["machine"])
            row = "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
            heading = f"`{metric['name']}`: {_protocol(metric['protocol'])}"
            rows.setdefault(heading, []).append((metric["value"], row))
    lines = []
    for heading in sorted(rows):
        lines += [heading, "", "| recipe | value | budget | seed | machine |", "|---" * 5 + "|"]
        lines += [row for _, row in sorted(rows[heading])] + [""]
    for result in results:
        versions = ", ".join(f"{name} {version}" for name, version in sorted(result["versions"].items()))
        lines.append(f"- {result['name']}: `{result['command']}` at commit `{result['commit'][:12]}` ({versions})")
    return "\n".join(lines)


def _protocol(protocol: Mapping[str, Any]) -> str:
    extractor = f"{protocol['extractor']} `{str(protocol['extractor_sha256'])[:8]}`"
    reference = f"{protocol['reference_num']:,} of {protocol['reference']} {protocol['split']}"
    parts = [
        f"{protocol['num']:,} samples against {reference}",
        extractor,
        f"{protocol['weights']} weights",
    ]
    if protocol.get("resize") not in (None, "", "none"):
        parts.append(f"resized: {protocol['resize']}")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def filled(page: str, results: Sequence[Mapping[str, Any]]) -> str:
    """The page with a new table between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/results.md lacks the markers {BEGIN} and {END}")
    return f"{before}{begin}\n{table(results)}\n{end}{after}"


def stale(page: Path = PAGE, results: Path = RESULTS) -> str:
    """A message if the page's table is stale, empty otherwise."""
    text = page.read_text(encoding="utf-8")
    return "" if filled(text, load(results)) == text else "docs/results.md: the result table is stale: run `make docs`"


def main(arguments: Sequence[str]) -> str | int:
    if arguments not in ([], ["--check"]):
        return "usage: python tools/results_table.py [--check]"
    try:
        if arguments:
            return stale() or 0
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), load()), encoding="utf-8")
    except ValueError as error:
        return str(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
