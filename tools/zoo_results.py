"""Measures the zoo's results, stores them and writes docs/results.md. The same command resumes after an interrupt.

    python tools/zoo_results.py [--quick] [--out FOLDER]

Measured are all first-party recipes on mnist with three seeds and 30 seconds of training each, and `dcgan` and a recipe
with a penalty on stacked digits, which have 1,000 modes, with equal images. Trained cells are stored in FOLDER
(bench/zoo), results in benchmarks/results/zoo/. `--quick` is a trial in a minute or two: two recipes, one seed, few
images, and all files in FOLDER.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from aigc_zoo.bench.results import read_results
from aigc_zoo.cli import main as zoo
from aigc_zoo.plugins import catalogue
from aigc_zoo.report.collect import ReportData
from aigc_zoo.report.markdown import markdown

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- begin: tables -->", "<!-- end: tables -->"
STACKED = ("dcgan", "dcgan-r1")
"""Recipes for stacked digits: one without and one with a penalty."""


def recipes() -> list[str]:
    """All first-party recipes."""
    return [entry.id for entry in catalogue().items("recipe") if entry.namespace == "zoo"]


def commands(out: Path, results: Path, quick: bool) -> dict[Path, list[str]]:
    """The arguments of `zoo bench` for each file of results."""
    few = ["--images", "640", "--seeds", "1", "--eval-num", "256", "--eval-every", "5"]
    if quick:
        mnist = ["quality", "vanilla", "dcgan", "--data", "digits", "--metrics", "fid,variance-ratio,duplicates", *few]
        stacked = ["quality", STACKED[0], "--data", "stacked-digits", "--metrics", "modes,variance-ratio", *few]
    else:
        mnist = ["quality", *recipes(), "--data", "mnist", "--metrics", "fid,kid,variance-ratio,duplicates,modes"]
        mnist += ["--seconds", "30", "--seeds", "3"]
        stacked = ["quality", *STACKED, "--data", "stacked-digits", "--metrics", "modes,variance-ratio,duplicates"]
        stacked += ["--images", "128000", "--seeds", "3", "--eval-num", "25600", "--eval-every", "1000"]
    return {
        results / ("quality-digits.json" if quick else "quality-mnist.json"): [*mnist, "--out", str(out / "pictures")],
        results / "modes-stacked-digits.json": [*stacked, "--out", str(out / "stacked")],
    }


def written(page: str, tables: str) -> str:
    """The page with new tables between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{tables.strip()}\n{END}{after}"


def tables(words: dict[Path, list[str]]) -> str:
    """The tables of all stored results, and a line for each missing one."""
    found = []
    for path, command in words.items():
        text = "Not measured yet.\n"
        if path.exists():
            text = markdown(ReportData(results=[read_results(path)]), path.stem).replace(f"# {path.stem}\n\n", "", 1)
        typed = re.sub(r" --out \S+", "", f"zoo bench {' '.join(command)}")
        found.append(f"## {path.stem}\n\n`{typed}`\n\n{text}")
    return "\n".join(found)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a short trial that changes no file of the repository")
    parser.add_argument("--page", action="store_true", help="only write the page from stored results")
    parser.add_argument("--out", type=Path, default=Path("bench/zoo"), help="directory for trained cells")
    given = parser.parse_args(arguments)
    results = given.out if given.quick else ROOT / "benchmarks" / "results" / "zoo"
    page = given.out / "results.md" if given.quick else PAGE
    results.mkdir(parents=True, exist_ok=True)
    words = commands(given.out, results, given.quick)
    for path in () if given.page else words:
        if code := zoo(["bench", *words[path], "--json", str(path)]):
            return code
    old = page.read_text(encoding="utf-8") if page.exists() else f"{BEGIN}\n{END}\n"
    page.write_text(written(old, tables(words)), encoding="utf-8")
    sys.stdout.write(f"{page}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
