"""`zoo report` and `Run.report`: the report of runs and results as a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from aigc_zoo.artefacts.atomic import make_folder, write_text
from aigc_zoo.errors import ConfigError, UsageError
from aigc_zoo.metrics.known import Metrics
from aigc_zoo.report.collect import collect, leaderboards
from aigc_zoo.report.markdown import markdown
from aigc_zoo.report.page import page
from aigc_zoo.run.arguments import argument


def write_report(
    sources: Sequence[Path],
    out: Path | None = None,
    *,
    suffix: str = "html",
    title: str = "",
    strict: bool = False,
    note: Callable[[str], None] = lambda text: None,
    known: Metrics | None = None,
) -> Path:
    """Writes a report of runs, folders of runs and results of `zoo bench`, and returns its path.

    By default it is report.html or report.md in the run directory, for several runs in the current directory. `note`
    receives the reason for each run that is left out. `known` are the metrics of a catalogue, by default of the
    installed packages. `strict` raises ConfigError for values of different protocols.
    """
    suffix = argument("--format", suffix)
    if out is not None and out.is_dir():
        raise UsageError(f"--out {out}: is a directory: name a file in it, such as {out / f'report.{suffix}'}")
    material = collect(sources, known)
    for reason in material.left_out:
        note(f"left out: {reason}")
    boards = leaderboards(material.runs)
    unlike = [board for board in boards if board.difference]
    if strict and unlike:
        first, other = boards[0].runs[0].name, unlike[0].runs[0].name
        raise ConfigError(
            f"{first} and {other} cannot be compared: {unlike[0].difference}\n"
            "leave out --strict for one table per protocol, or evaluate both alike"
        )
    text = page(material, title) if suffix == "html" else markdown(material, title or "Report")
    alone = len(sources) == 1 and len(material.runs) == 1 and (sources[0] / "card.json").exists()
    path = out or (sources[0] if alone else Path()) / f"report.{suffix}"
    make_folder(path.parent)
    write_text(path, text)
    return path
