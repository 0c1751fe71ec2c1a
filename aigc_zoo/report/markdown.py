"""A report as Markdown: the same tables, for a pull request or a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aigc_zoo.metrics.kinds import SMALL, leading
from aigc_zoo.metrics.protocol import describe, format_value
from aigc_zoo.report.collect import Material, boards, parts
from aigc_zoo.report.page import count, duration, number


def markdown(material: Material, title: str = "Report") -> str:
    """The whole text."""
    lines = [f"# {cell(title)}", ""]
    for board in boards(material.runs):
        lines += [f"## {cell(board.metric)}", "", f"{cell(describe(board.protocol))}, seed {board.protocol['seed']}."]
        if board.protocol["num"] < SMALL:
            lines.append(f"With fewer than {SMALL:,} samples read the kernel distance first, where it was measured.")
        if board.unlike:
            lines.append(f"Not comparable with the first table: {cell(board.unlike)}.")
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
        heads = ["run", "recipe", "data", "final", "best", "held out, final", "held out, best", "images", "training"]
        lines += ["", *table([*heads, "images/s", "what is wrong"], rows), ""]
    for result in material.results:
        where = result["environment"]
        commit = str(where["commit"] or "unknown")[:12]
        lines += [
            f"## {cell(result['kind'])}",
            "",
            f"{cell(where['processor'])}, {where['cores']} cores, commit {commit}.",
        ]
        for how, entries in parts(result["entries"]):
            lines += ["", cell(how)] if how else []
            lines += ["", *(_speed if result["kind"] == "speed" else _quality)(entries), ""]
    for run in material.runs:
        lines += [f"## {cell(run.name)}", "", f"{cell(run.card['recipe'])} on {cell(run.card['data']['name'])}, seed "]
        lines[-1] += f"{run.card['seed']}, {run.state}."
        last = max((int(line["step"]) for line in run.metrics), default=-1)
        records = leading(record for record in run.metrics if record["step"] == last)
        rows = [[record["name"], "final", format_value(record), describe(record["protocol"])] for record in records]
        rows += [
            [record["name"], f"{record['which']}, held out", format_value(record), describe(record["protocol"])]
            for record in run.held_out
        ]
        if rows:
            lines += ["", *table(["metric", "", "value", "how it was measured"], rows)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


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
    return table(["what", "group", "median, ms", "95 % interval", "images/s", "rounds"], rows)


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
    heads = ["what", "metric", "final", "best", "collapsed", "seeds", "seconds to target", "images to target", "others"]
    return table(heads, rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return [
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *(f"| {' | '.join(cell(str(value)) for value in row)} |" for row in rows),
    ]


def cell(text: str) -> str:
    """A text that is no markup: what Markdown or HTML would read as a sign is escaped, and it stays on its line."""
    return re.sub(r"([\\`*_\[\]<>|#!&~$])", r"\\\1", " ".join(str(text).split())).replace("\\<", "&lt;")
