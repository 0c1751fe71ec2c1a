"""Writes the table of docs/image-to-image.md from benchmarks/results/pix2pix/; with --check it fails if it is stale.

`python benchmarks/pix2pix.py` writes the results. A result without its environment, or of changed files, is refused.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "image-to-image.md"
RESULTS = ROOT / "benchmarks" / "results" / "pix2pix" / "digits-edges"
BEGIN, END = "<!-- begin: pix2pix -->", "<!-- end: pix2pix -->"

VARIANTS = ("pix2pix", "L1-only")
COLUMNS: Mapping[str, tuple[str, str]] = {
    "kid": ("KID", ".4f"),
    "fid": ("FID", ".2f"),
    "precision": ("precision", ".3f"),
    "recall": ("recall", ".3f"),
    "psnr": ("PSNR, dB", ".2f"),
    "ssim": ("SSIM", ".4f"),
}
BUSY = 0.5
"""Load per core before a run above which its seconds are not printed."""

NEEDED = ("processor", "threads", "load_before", "cores", "versions", "commit")


def problems(run: Mapping[str, Any]) -> list[str]:
    """The problems of a result; empty if it may be printed."""
    environment = run.get("environment", {})
    found = [f"environment lacks {key}" for key in NEEDED if environment.get(key) is None]
    return [*found, "files differed from the commit"] if environment.get("dirty") else found


def load(folder: Path = RESULTS) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The results of the runs, and their comparison. Raises ValueError for an invalid file."""
    runs = []
    for path in sorted(folder.glob("*-[0-9]*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        if wrong := problems(run):
            raise ValueError(f"{path.name}: {'; '.join(wrong)}")
        runs.append(run)
    comparison = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    seeds = {variant: sorted(run["seed"] for run in runs if run["variant"] == variant) for variant in VARIANTS}
    if len({tuple(found) for found in seeds.values()}) > 1 or not runs:
        raise ValueError(f"{folder.name}: both variants need results of the same seeds, not {seeds}")
    if len(seeds[VARIANTS[0]]) != len(comparison["differences"]["kid"]["differences"]):
        raise ValueError("comparison.json: not of these runs: run `python benchmarks/pix2pix.py --collect`")
    if len({(run["environment"]["commit"], run["steps"]) for run in runs}) > 1:
        raise ValueError(f"{folder.name}: results of several commits or lengths")
    return runs, comparison["differences"]


def table(runs: Sequence[Mapping[str, Any]], differences: Mapping[str, Any]) -> str:
    """A row for each variant, means over seeds, and a row of differences with their intervals."""
    heads = [title for title, _ in COLUMNS.values()]
    lines = [f"| | {' | '.join(heads)} | seconds a run |", "|---" * (len(heads) + 2) + "|"]
    for variant in VARIANTS:
        own = [run for run in runs if run["variant"] == variant]
        cells = [format(statistics.mean(_value(run, name) for run in own), form) for name, (_, form) in COLUMNS.items()]
        seconds = sorted(run["seconds"] for run in own if not _busy(run["environment"]))
        took = f"{seconds[0]:.0f} to {seconds[-1]:.0f}" if seconds else "busy machine"
        lines.append(f"| {variant} | {' | '.join(cells)} | {took} |")
    cells = []
    for name, (_, form) in COLUMNS.items():
        (low, high), mean = differences[name]["interval_95"], differences[name]["mean"]
        cells.append(f"{mean:+{form}} ({low:+{form}} to {high:+{form}})")
    lines.append(f"| pix2pix minus L1-only | {' | '.join(cells)} | |")
    one, protocol = runs[0], runs[0]["metrics"][0]["protocol"]
    environment = one["environment"]
    threads = " or ".join(str(count) for count in sorted({run["environment"]["threads"] for run in runs}))
    text = (
        f"Means of {len(runs) // 2} seeds, {one['steps']:,} steps of {one['images'] // one['steps']} each "
        f"(`{one['recipe']}`), {protocol['num']:,} translations of held-out sources against the {protocol['split']} "
        f"split by `{protocol['extractor'].removeprefix('zoo/')}`, in brackets the 95 % interval of the difference "
        f"(Student's t over the seeds). {environment['processor']}, {threads} threads, torch "
        f"{environment['versions']['torch']}, commit `{environment['commit'][:12]}`."
    )
    return "\n".join([*lines, "", text])


def _busy(environment: Mapping[str, Any]) -> bool:
    return bool(environment["load_before"] > BUSY * environment["cores"])


def _value(run: Mapping[str, Any], name: str) -> float:
    """A metric of a run; results of commit 09e4b50 have those of pairs apart."""
    pairs = run.get("pairs", {})
    records = (one["value"] for one in run["metrics"] if f"{one['name']}-".startswith(f"{name}-"))
    return float(pairs[name]["mean"] if name in pairs else next(records))


def filled(page: str, runs: Sequence[Mapping[str, Any]], differences: Mapping[str, Any]) -> str:
    """The page with a new table between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/image-to-image.md lacks the markers {BEGIN} and {END}")
    return f"{before}{begin}\n{table(runs, differences)}\n{end}{after}"


def main(arguments: Sequence[str]) -> str | int:
    if arguments not in ([], ["--check"]):
        return "usage: python tools/pix2pix_table.py [--check]"
    try:
        text = PAGE.read_text(encoding="utf-8")
        fresh = filled(text, *load())
    except (ValueError, OSError) as error:
        return str(error)
    if arguments:
        return 0 if fresh == text else "docs/image-to-image.md: the table of pix2pix is stale: run `make docs`"
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
