"""Writes the counts of docs/reliability.md: `make reliability` runs all tests marked `promise` with full counts.

    python tools/reliability.py             # runs the tests, writes benchmarks/results/reliability/ and the table
    python tools/reliability.py --table     # counts the instances of faults, writes both tables from stored results
    python tools/reliability.py --check     # fails if the page is stale

Counts of a promise are summed over its tests; for those named `..._each` and `longest_...` the maximum is used.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import fault_kinds

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
RESULT = ROOT / "benchmarks" / "results" / "reliability" / "counts.json"
BEGIN, END = "<!-- begin: counts -->", "<!-- end: counts -->"

PROMISES: Mapping[str, str] = {
    "R1": "a writer killed at a random moment damages and loses no checkpoint, and the newest never goes back",
    "R4": "one killed before each call of a save, or in the middle of writing, leaves one consistent state",
    "R5": "every file is written, synced, renamed, and its folder synced, in this order",
    "R6": "a full disk leaves the old file whole, and no temporary",
    "R7": "a damaged checkpoint is refused, whichever bit it is",
    "R8": "hostile safetensors are refused in bounded time and memory",
    "R9": "retention never deletes the only valid or the best checkpoint",
    "R10": "the newest is the highest valid step, and what was passed over is named",
    "R11": "of starts that race for a run one wins, and the others exit with 4",
    "R12": "checkpoints of older releases load, sample as they did and train on",
    "R13": "every recipe resumes at five kinds of moments, bit for bit",
    "R14": "a run that is killed again and again ends with the files of one that was not, grids included",
    "R15": "so do runs in parts, from mapped files, with several turns and lazy penalties",
    "R16": "leaving a part of the state out is noticed by these tests",
    "R31": "a run continues to another length or target bit for bit, or is refused with what depends on its length",
    "R18": "a SIGTERM while waiting for data, in a step, a grid, a measurement or a save costs nothing",
    "R20": "a second interrupt leaves at once",
    "R32": "closed, full and abandoned streams and terminals that go away cost output, never work or the exit code",
    "R21": "NaN and infinity in inputs, losses, gradients and buffers stop the run and reach no file",
    "R23": "a dead rank ends the job without orphans; with --max-restarts it ends where it would have",
    "R24": "no pickle that is given to a command is run",
    "R25": "nothing in the package unpickles, evaluates or extracts",
    "R26": "hostile archives have their stated outcomes, and nothing is written outside of the cache",
    "R27": "images of every mode, damaged, disguised and oversized have their stated outcomes",
    "R28": "a flipped bit in a dataset's file is found by the manifest",
    "R29": "downloads end with the right file or a clear error, four processes at once as well",
    "R30": "hostile names escape no folder and no terminal",
    "R33": "twenty hostile files of every modality have their stated outcomes, in a folder and in a zip",
    "E1": "an EMA averages, renews or copies each kind of buffer, and averaged weights keep their constraint",
    "P1": "faults planted in plugins fail the check that tests for them, and unusual plugins without a fault pass",
    "N1": "names of data, extractors and components mean what they meant when a run started, whatever is installed",
    "N2": "a run resumes with equal data, files and plugins under another name or place, bit for bit, and says so",
    "N3": "every missing recipe, component, dataset and extractor of a run names the package to install",
    "F": "random options, cards, checkpoints, archives and images are accepted or refused in words",
    "C": "random command lines, completions and calls of public functions end in a result or in three lines at most",
    "D1": "labels beside images are read, shards are no classes, and one line says what is not read and why",
    "D2": "options of datasets reach data, card and resume, and a file goes to the dataset that states its suffix",
    "A1": "every command and option that a message advises works as it is printed, whatever the names of files",
    "U2": "the core brings few distributions beyond those of torch",
    "U6": "what --json prints is JSON",
    "U4": "wrong command lines are answered in three lines, with the fix and the right exit code",
    "U7": "Python refuses what a command refuses, with the same class, exit code and words",
    "U8": "data in memory are read and refused as files are, and known by their content",
    "I1": "inputs give samples of their size, name and split, whatever they are called, or are refused in three lines",
    "U9": "a device that torch finds is taken, and any other is refused with those that it finds",
    "M1": "a classifier counts modes only of data whose classes it was trained on and recognizes",
    "M2": "data that repeat give no alarm of collapse, and generators that repeat more do",
    "M3": "few images and any metric end in values or in a sentence",
    "M4": "lossy images are found by their content, whatever the files are called",
}


def counted(report: Path) -> dict[str, dict[str, Any]]:
    """The counts of a JUnit report by promise. Raises ValueError if a test failed or was skipped."""
    found: dict[str, dict[str, Any]] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if any(case.find(tag) is not None for tag in ("failure", "error", "skipped")):
            raise ValueError(f"{name} did not pass")
        for prop in case.iter("property"):
            promise, _, what = str(prop.get("name")).partition(":")
            value = _number(str(prop.get("value")))
            own = found.setdefault(promise, {"tests": 0})
            if isinstance(value, str):
                own[what] = value
            elif what.startswith("longest") or what.endswith("_each"):
                own[what] = max(own.get(what, 0), value)
            else:
                own[what] = own.get(what, 0) + value
        for promise in {str(prop.get("name")).partition(":")[0] for prop in case.iter("property")}:
            found[promise]["tests"] += 1
    return found


def _number(text: str) -> int | float | str:
    """Convert a count to a number; other text is returned unchanged."""
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return text


def table(result: Mapping[str, Any]) -> str:
    """The counts as a Markdown table."""
    rows = ["| | promise | counted | tests |", "|---|---|---|---|"]
    for name, what in PROMISES.items():
        facts = dict(result["promises"].get(name, {}))
        tests = facts.pop("tests", 0)
        text = ", ".join(
            f"{key.replace('_', ' ')} {value if isinstance(value, str) else format(value, ',')}"
            for key, value in facts.items()
        )
        rows.append(f"| {name} | {what} | {text or 'not counted yet'} | {tests} |")
    machine = result["environment"]
    return "\n".join(
        [
            f"Counted on {result['date']} at commit {str(machine['commit'])[:12]}: {machine['processor']}, "
            f"{machine['cores']} cores, {machine['system']}, Python {machine['python']}, "
            f"torch {machine['versions']['torch']}; {result['tests']} tests in {result['seconds'] / 60:.0f} minutes.",
            "",
            *rows,
        ]
    )


def page(result: Mapping[str, Any], text: str) -> str:
    """The page with the table of this result, and that of the kinds of faults."""
    before, _, rest = text.partition(BEGIN)
    return fault_kinds.page(f"{before}{BEGIN}\n{table(result)}\n{END}{rest.partition(END)[2]}")


def stale(path: Path = PAGE, result: Path = RESULT) -> str:
    """A message if the page is stale, empty otherwise."""
    text = path.read_text(encoding="utf-8")
    fresh = text == page(json.loads(result.read_text(encoding="utf-8")), text)
    return "" if fresh else f"docs/{path.name} is stale: run `make docs`"


def undescribed(tests: Iterable[Path]) -> set[str]:
    """Promises of tests that are missing in PROMISES, and the other way around."""
    marked = {name for path in tests for name in re.findall(r'mark\.promise\("(\w+)"', path.read_text("utf-8"))}
    return marked ^ set(PROMISES)


def measure() -> dict[str, Any]:
    """Run all marked tests with their full counts."""
    from aigc_zoo.bench.environment import environment

    report = ROOT / ".benchmarks" / "promises.xml"  # kept, since it takes half an hour
    report.parent.mkdir(exist_ok=True)
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "promise", f"--junitxml={report}", "-q"],
        cwd=ROOT, env={**os.environ, "ZOO_COUNTS": "full"}, check=True,
    )  # fmt: skip
    return {
        "schema": 1,
        "date": date.today().isoformat(),
        "seconds": round(time.monotonic() - began),
        "tests": sum(1 for _ in ElementTree.parse(report).getroot().iter("testcase")),
        "promises": counted(report),
        "environment": environment(),
        "command": "make reliability",
    }


def main(arguments: Sequence[str]) -> str | int:
    if arguments not in ([], ["--table"], ["--check"]):
        return "usage: python tools/reliability.py [--table | --check]"
    if arguments == ["--check"]:
        return stale() or 0
    fault_kinds.store()
    if not arguments:
        RESULT.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(RESULT.read_text("utf-8")), PAGE.read_text("utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
