"""The zoo's own numbers: measures them, keeps the results and writes docs/results.md. Interrupted, it goes on.

    python tools/zoo_results.py [--quick] [--out FOLDER]

Every recipe of the repository on mnist, three seeds, 30 seconds of training each; and stacked digits, a thousand modes,
for `dcgan` and a recipe with a penalty, at equal images. Trained cells are kept in FOLDER (bench/zoo), results in
benchmarks/results/zoo/. `--quick` is a trial of the whole way in a minute or two: two recipes, one seed, few images,
everything under FOLDER.
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
"""On stacked digits: the plain recipe, and the same with a penalty."""


def recipes() -> list[str]:
    """Those of the repository, but for the article's own networks for vectors, which have no use for pictures."""
    return [entry.id for entry in catalogue().items("recipe") if entry.namespace == "zoo"]


def commands(out: Path, results: Path, quick: bool) -> dict[Path, list[str]]:
    """What is run, by the file of its results."""
    few = ["--images", "640", "--seeds", "1", "--eval-num", "256", "--eval-every", "5"]
    if quick:
        mnist = ["quality", "vanilla", "dcgan", "--data", "digits", "--metrics", "fid,spread,duplicates", *few]
        stacked = ["quality", STACKED[0], "--data", "stacked-digits", "--metrics", "modes,spread", *few]
    else:
        mnist = ["quality", *recipes(), "--data", "mnist", "--metrics", "fid,kid,spread,duplicates,modes"]
        mnist += ["--seconds", "30", "--seeds", "3"]
        stacked = ["quality", *STACKED, "--data", "stacked-digits", "--metrics", "modes,spread,duplicates"]
        stacked += ["--images", "128000", "--seeds", "3", "--eval-num", "25600", "--eval-every", "1000"]
    return {
        results / ("quality-digits.json" if quick else "quality-mnist.json"): [*mnist, "--out", str(out / "pictures")],
        results / "modes-stacked-digits.json": [*stacked, "--out", str(out / "stacked")],
    }


def written(page: str, tables: str) -> str:
    """The page with the tables between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{tables.strip()}\n{END}{after}"


def tables(words: dict[Path, list[str]]) -> str:
    """The tables of all results that are there, and what is not."""
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
    parser.add_argument("--quick", action="store_true", help="a trial of the whole way, which changes no file of ours")
    parser.add_argument("--page", action="store_true", help="measures nothing, and writes the page of what is there")
    parser.add_argument("--out", type=Path, default=Path("bench/zoo"), help="where trained cells are kept")
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
