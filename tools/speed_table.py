"""Writes the table of docs/speed.md from benchmarks/results/speed/*.json; with --check it fails if it is stale.

`python benchmarks/rows.py ROW` writes the result of a row, `python benchmarks/gpu_suite.py` that of the GPU rows. Rows
without a result are shown as unmeasured. A result without its environment, or of a busy machine, is refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "speed.md"
RESULTS = ROOT / "benchmarks" / "results" / "speed"
BEGIN, END = "<!-- begin: speed -->", "<!-- end: speed -->"

ROWS: Mapping[str, tuple[str, str]] = {
    "dcgan64-auto": ("`dcgan` 64x64x3, batch 64, `--precision auto`, against the tutorial's loop", "1.8 x"),
    "dcgan64-fp32": ("the same in float32", "1.1 x"),
    "bare-fp32": ("engine against a bare loop of the same mathematics, slowest recipe, float32", "0.98 x"),
    "bare-auto": ("the same with `--precision auto`", "0.98 x"),
    "bare-pix2pix-fp32": ("`pix2pix`, whose samples have inputs, against its bare loop, float32", "0.98 x"),
    "bare-pix2pix-auto": ("the same with `--precision auto`", "0.98 x"),
    "guard": ("a step with its look for values that are not finite, against one without, at most", "1.01 x"),
    "startup": ("first step of `zoo train dcgan --steps 1` beyond importing torch and torchvision", "+1.5 s"),
    "second-start": ("first step on the CIFAR zip, read before, beyond the same from memory", "+0.3 s"),
}
GPU: Mapping[str, tuple[str, str, str]] = {
    "dcgan64 against the loop with its DataLoader": (
        "GPU: `dcgan` 64x64, batch 128, against that loop",
        "10 x",
        "median",
    ),
    "dcgan64 against the loop with data on the device": ("the same with its data on the device", "3 x", "median"),
    "roofline of dcgan64": ("GPU: share of the larger roofline bound, `dcgan` 64x64", "25 %", "share_of_larger_bound"),
    "wgan-gp graph against eager": ("GPU: `wgan-gp`, graphs against eager", "2 x", "median"),
    "rpgan-r1r2 graph against eager": ("GPU: `rpgan-r1r2`, graphs against eager", "2 x", "median"),
}
NEEDED = ("processor", "threads", "load_before", "cores", "versions", "commit")
BUSY = 0.5
"""Load per core before a measurement above which times are not reliable."""


def problems(result: Mapping[str, Any]) -> list[str]:
    """The problems of a result; empty if it may be printed."""
    environment = result.get("environment", {})
    found = [f"environment lacks {key}" for key in NEEDED if environment.get(key) is None]
    if not found and environment["load_before"] > BUSY * environment["cores"]:
        found.append(
            f"the machine was busy: a load of {environment['load_before']:.1f} on {environment['cores']} cores"
        )
    if environment.get("dirty"):
        found.append("files differed from the commit")
    return found


def load(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Results by row; `gpu` is that of the GPU suite. Raises ValueError for an invalid file."""
    results = {}
    for path in sorted(folder.glob("*.json")):
        if path.stem not in (*ROWS, "gpu"):
            raise ValueError(f"{path.name}: unknown row; choose from {', '.join(ROWS)} and gpu")
        result = json.loads(path.read_text(encoding="utf-8"))
        if wrong := problems(result):
            raise ValueError(f"{path.name}: {'; '.join(wrong)}")
        results[path.stem] = result
    return results


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The Markdown table, a row for each target, measured or not."""
    rows = ["| what | aim | measured | interval of 95 % | pairs | machine |", "|---" * 6 + "|"]
    for row, (what, aim) in ROWS.items():
        rows.append(_line(what, aim, results.get(row), "median"))
    parts = results.get("gpu", {}).get("parts", {})
    for part, (what, aim, key) in GPU.items():
        found = parts.get(part)
        known = found is not None and "error" not in found
        rows.append(_line(what, aim, {**found, "environment": results["gpu"]["environment"]} if known else None, key))
    return "\n".join(rows)


def _line(what: str, aim: str, result: Mapping[str, Any] | None, key: str) -> str:
    if result is None:
        return f"| {what} | {aim} | unmeasured | | | |"
    low, high = result.get("interval_95", (None, None))
    interval = f"{_value(low, aim)} to {_value(high, aim)}" if low is not None else ""
    environment = result["environment"]
    machine = environment.get("gpu") or f"{environment['processor']}, {environment['threads']} threads"
    return f"| {what} | {aim} | {_value(result[key], aim)} | {interval} | {result.get('pairs', '')} | {machine} |"


def _value(value: float, aim: str) -> str:
    if aim.endswith("s"):
        return f"{value:+.2f} s"
    if aim.endswith("%"):
        return f"{100 * value:.0f} %"
    return f"{value:.3f} x" if value < 1.1 else f"{value:.2f} x"  # near 1 a third digit matters


def filled(page: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page with a new table between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/speed.md lacks the markers {BEGIN} and {END}")
    return f"{before}{begin}\n{table(results)}\n{end}{after}"


def main(arguments: Sequence[str]) -> str | int:
    if arguments not in ([], ["--check"]):
        return "usage: python tools/speed_table.py [--check]"
    try:
        text = PAGE.read_text(encoding="utf-8")
        fresh = filled(text, load())
    except ValueError as error:
        return str(error)
    if arguments:
        return 0 if fresh == text else "docs/speed.md: the speed table is stale: run `make docs`"
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
