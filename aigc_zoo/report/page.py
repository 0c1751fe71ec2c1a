"""A report as one self-contained HTML page: no requests, no external scripts, all untrusted text escaped."""

from __future__ import annotations

import base64
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aigc_zoo import __version__
from aigc_zoo.metrics.protocol import describe, format_value
from aigc_zoo.report import charts
from aigc_zoo.report.collect import Leaderboard, ReportData, RunReport, common_units, group_by_protocol, leaderboards

SHOWN_TERMS = 8


def page(data: ReportData, title: str = "") -> str:
    """Render the page."""
    environment = Environment(
        loader=PackageLoader("aigc_zoo.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "describe": describe, "format_value": format_value, "number": number, "count": count, "duration": duration,
        "data": data_url, "sort": sort_key, "kind": lambda name: data.known.value(name).title, "id": id,
        "leading": data.known.leading, "framed": framed, "units": common_units,
    }  # fmt: skip
    tables = leaderboards(data.runs)
    text = environment.get_template("page.html").render(
        title=title or _title(data),
        version=__version__,
        leaderboards=tables,
        overview=_overview(tables),
        runs=data.runs,
        left_out=data.left_out,
        curves={id(run): _curves(run) for run in data.runs},
        results=[_result(result) for result in data.results],
        short=data.known.alarm,
    )
    numbers = itertools.count()
    return re.sub(
        "<svg.*?</svg>", lambda chart: chart[0].replace(charts.IDS, f"c{next(numbers)}-"), text, flags=re.DOTALL
    )


def _title(data: ReportData) -> str:
    if len(data.runs) == 1 and not data.results:
        return str(data.runs[0].name)
    parts = [
        f"{len(found):,} {what}{'s' if len(found) > 1 else ''}"
        for found, what in ((data.runs, "run"), (data.results, "result file"))
        if found
    ]
    return " and ".join(parts)


def _overview(tables: Sequence[Leaderboard]) -> list[Markup]:
    """For each leaderboard of two runs or more, a chart of their main metric over training samples."""
    found = []
    for board in tables:
        series = {
            run.name: [(float(line["images"]), float(line["value"])) for line in run.history(board.metric)]
            for run in board.runs[: len(charts.COLOURS)]
        }
        found.append(
            Markup(charts.curves(series, x=board.units, y=board.metric, log=True, width=7.4))
            if len(board.runs) > 1
            else Markup("")
        )
    return found


def _curves(run: RunReport) -> list[tuple[str, Markup]]:
    """The charts of one run, each with its title."""
    found = []
    for name in run.names:
        points = [(float(line["images"]), float(line["value"])) for line in run.history(name)]
        if len(points) > 1 and name == run.main_metric:
            log = run.known.value(name).better == "lower"
            found.append((name, Markup(charts.curves({name: points}, x=run.units, y=name, log=log))))
    terms = list(dict.fromkeys(term for line in run.log for term in line["terms"] if "/_" not in term))[:SHOWN_TERMS]
    losses = {
        term: [
            (float(line["images"]), float(line["terms"][term]))
            for line in run.log
            if line["terms"].get(term) is not None and math.isfinite(line["terms"][term])
        ]
        for term in terms
    }
    if any(len(points) > 1 for points in losses.values()):
        found.append(("losses", Markup(charts.curves(losses, x=run.units, y="loss", marks=False))))
    rates = [(float(line["images"]), float(line["images_per_second"])) for line in run.log[1:]]
    if len(rates) > 1:
        chart = charts.curves({"speed": rates}, x=run.units, y=f"{run.units}/s", marks=False)
        found.append(("speed", Markup(chart)))
    return found


def _result(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result file with a bar chart of its times and its entries grouped by protocol."""
    chart = Markup("")
    timed = [entry for entry in result["entries"] if entry.get("median")]
    if result["kind"] == "speed" and timed:
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for entry in timed:
            groups.setdefault(str(entry.get("group", "")), []).append(entry)
        chart = Markup("").join(
            Markup(
                charts.bars(
                    [str(entry["name"]) for entry in group],
                    [1e3 * float(entry["median"]) for entry in group],
                    [(1e3 * float(entry["interval"][0]), 1e3 * float(entry["interval"][1])) for entry in group],
                    x=f"{name}: milliseconds",
                )
            )
            for name, group in groups.items()
        )
    return {**result, "chart": chart, "groups": group_by_protocol(result["entries"])}


# --- formatting -------------------------------------------------------------------------------------------------------


def number(value: Any) -> str:
    return "-" if value is None else f"{float(value):.4g}"


def count(value: Any) -> str:
    return "-" if value is None else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    return "-" if seconds is None else str(timedelta(seconds=round(seconds)))


def sort_key(value: Any) -> str:
    """Key by which a column is sorted; missing values come last."""
    return "inf" if value is None else repr(float(value))


def data_url(path: Path) -> Markup:
    """A PNG file as a data URL."""
    return Markup("data:image/png;base64,") + base64.b64encode(path.read_bytes()).decode()


def framed(html: str) -> str:
    """Untrusted HTML for a frame that runs no scripts: a policy before it forbids all requests."""
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    look = "body{margin:0;font:13px sans-serif;display:flex;flex-wrap:wrap;gap:8px}pre{margin:0;white-space:pre-wrap}"
    return f'<meta http-equiv="Content-Security-Policy" content="{policy}"><style>{look}</style>{html}'
