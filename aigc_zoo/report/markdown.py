"""A report as Markdown: the tables of the HTML page, for a pull request or a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aigc_zoo.metrics.protocol import describe, format_value
from aigc_zoo.report.collect import Leaderboard, ReportData, RunReport, common_units, group_by_protocol, leaderboards
from aigc_zoo.report.page import count, duration, number


def markdown(data: ReportData, title: str = "Report") -> str:
    """Render the report."""
    lines = [f"# {cell(title)}", ""]
    for reason in data.left_out:
        lines += [f"Left out: {cell(reason)}", ""]
    for board in leaderboards(data.runs):
        lines += _leaderboard(board)
    for result in data.results:
        lines += _result(result)
    for run in data.runs:
        lines += _run(run)
    return "\n".join(lines).rstrip() + "\n"


def _leaderboard(board: Leaderboard) -> list[str]:
    lines = [f"## {cell(board.metric)}", "", f"{cell(describe(board.protocol))}, seed {board.protocol['seed']}."]
    if board.bias:
        lines.append(board.bias)
    if board.difference:
        lines.append(f"Not comparable with the first table: {cell(board.difference)}.")
    rows = []
    for run in board.runs:
        assert run.final is not None
        assert run.best is not None
        held = [run.of_held_out(which, board.metric) for which in ("final", "best")]
        rows.append(
            [
                run.name, run.card["recipe"], run.card["data"]["name"], number(run.final["value"]),
                f"{number(run.best['value'])} at step {run.best['step']:,}",
                *("-" if record is None else number(record["value"]) for record in held),
                count(run.images), duration(run.seconds), count(run.speed), "; ".join(run.flags.values()) or "-",
            ]
        )  # fmt: skip
    heads = ["run", "recipe", "data", "final", "best", "held out, final", "held out, best"]
    return [*lines, "", *table([*heads, board.units, "training", f"{board.units}/s", "warnings"], rows), ""]


def _result(result: Mapping[str, Any]) -> list[str]:
    machine = result["environment"]
    commit = str(machine["commit"] or "unknown")[:12]
    lines = [f"## {cell(result['kind'])}", ""]
    lines.append(f"{cell(machine['processor'])}, {machine['cores']} cores, commit {commit}.")
    for description, entries in group_by_protocol(result["entries"]):
        lines += ["", cell(description)] if description else []
        lines += ["", *(_speed if result["kind"] == "speed" else _quality)(entries), ""]
    return lines


def _run(run: RunReport) -> list[str]:
    about = f"{cell(run.card['recipe'])} on {cell(run.card['data']['name'])}, seed {run.card['seed']}, {run.state}."
    lines = [f"## {cell(run.name)}", "", about]
    last = max((int(line["step"]) for line in run.metrics), default=-1)
    records = run.known.leading(record for record in run.metrics if record["step"] == last)
    rows = [[record["name"], "final", format_value(record), describe(record["protocol"])] for record in records]
    rows += [
        [record["name"], f"{record['which']}, held out", format_value(record), describe(record["protocol"])]
        for record in run.held_out
    ]
    if rows:
        lines += ["", *table(["metric", "", "value", "protocol"], rows)]
    return [*lines, ""]


def _speed(entries: Sequence[Any]) -> list[str]:
    rows = []
    for entry in entries:
        if "skipped" in entry:
            rows.append([entry["name"], entry.get("group", ""), entry["skipped"], "", "", ""])
            continue
        low, high = (1e3 * one for one in entry["interval"])
        median, rate = 1e3 * entry["median"], count(entry.get("images_per_second"))
        rows.append([entry["name"], entry.get("group", ""), number(median), f"{low:.4g} to {high:.4g}", rate, ""])
        rows[-1][-1] = str(len(entry["seconds"]))
    units = common_units(entry for entry in entries if "images_per_second" in entry)
    return table(["name", "group", "median, ms", "95 % interval", f"{units}/s", "rounds"], rows)


def _quality(entries: Sequence[Any]) -> list[str]:
    rows = []
    for entry in entries:
        reason = entry.get("incompatible") or entry.get("failed")
        if reason:
            rows.append([entry["name"], f"does not fit: {reason}", *[""] * 7])
            continue
        seconds, images = (
            "-" if entry["target"] is None else "missed" if entry[key] is None else count(entry[key])
            for key in ("seconds_to_target", "images_to_target")
        )
        final, best = entry["final"], entry["best"]
        middle = f"{number(final['mean'])} ± {number(final['std'])}"
        rows.append([entry["name"], entry["metric"], middle, number(best["mean"]), f"{entry['collapse_rate']:.0%}"])
        others = ", ".join(f"{name} {number(one['mean'])}" for name, one in entry.get("others", {}).items())
        rows[-1] += [str(len(entry["seeds"])), seconds, images, others]
    target = ["seconds to target", f"{common_units(entry for entry in entries if 'metric' in entry)} to target"]
    return table(["name", "metric", "final", "best", "collapsed", "seeds", *target, "others"], rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return [
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *(f"| {' | '.join(cell(str(value)) for value in row)} |" for row in rows),
    ]


def cell(text: str) -> str:
    """Escape a text for a cell: no character of it is Markdown or HTML markup, and line breaks become spaces."""
    return re.sub(r"([\\`*_\[\]<>|#!&~$])", r"\\\1", " ".join(str(text).split())).replace("\\<", "&lt;")
