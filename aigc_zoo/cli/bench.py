"""`zoo bench`: benchmark the speed and quality of recipes, and combinations of components."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from aigc_zoo.cli import streams
from aigc_zoo.cli.device import device_of, device_option

RECIPES = "that of each recipe"
TRAINING = "as in training"
IMAGES = "Number of real samples that each run trains on, repetitions included."
SECONDS = "Training time of each run, instead of --images."
TARGET = "Target value of the compared metric; reports the time and samples until it is reached."
METRICS = "Metrics, as in `zoo eval`. The first one is compared; with fewer than 10,000 samples kid, if it is named."
WEIGHTS = "File with the extractor's weights, instead of a download."
EVAL_NUM = "Number of samples in each evaluation."
OUT = "Directory of the cells, one training run each; the same command resumes them."
FAIL_IF = (
    "Exit with code 1 if an entry meets this condition or cannot be compared with --compare. "
    "Ratios above 1 are slower or worse."
)

Asked = Callable[[Mapping[str, Any]], bool]
"""Whether an entry of the earlier result was to be measured by this command."""


@click.group("bench", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Benchmark installed recipes and components, including plugins, and compare with an earlier result.

    --json writes a result file, which `zoo report` reads. Measure times on an idle machine.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that all benchmarks share."""
    file = click.Path(path_type=Path)
    for option in reversed(
        (
            device_option("training and sampling"),
            click.option("--json", "json_path", type=file, metavar="FILE", help="Write the result to this file."),
            click.option("--compare", type=file, metavar="OLD.json", help="Compare with this earlier result."),
            click.option("--fail-if", metavar='"median>1.10"', help=FAIL_IF),
        )
    ):
        function = option(function)
    return function


@command.command("speed")
@click.argument("recipes", metavar="[RECIPE]...", nargs=-1)
@click.option(
    "--only",
    default="",
    show_default="all",
    metavar="EXPRESSION",
    help="Benchmarks to run, as for `pytest -k`: train_step, sampling, data, checkpoint, start_up.",
)
@click.option("--data", metavar="ID|PATH", show_default=RECIPES, help="Dataset for all recipes.")
@click.option(
    "--seconds",
    type=float,
    default=4.0,
    show_default=True,
    metavar="SECONDS",
    help="Duration of each benchmark, which has at least 20 rounds.",
)
@common
@click.pass_obj
def speed(obj: Any, /, recipes: tuple[str, ...], only: str, **settings: Any) -> int:
    """Measure the speed of recipes.

    Measures train step, sampling, data, checkpoint and start-up time of RECIPES, by default of all. Every round is
    paired with a baseline, a fixed computation, and results are compared by their ratio to it.
    """
    from aigc_zoo.bench.gate import earlier_result
    from aigc_zoo.bench.lines import times_line
    from aigc_zoo.bench.suite import run

    old = earlier_result("speed", settings)
    device_of(settings["device"])
    catalogue = obj.catalogue()
    names = [catalogue.find("recipe", name).entry.id for name in recipes]
    names = names or [entry.id for entry in catalogue.items("recipe")]
    suite = _suite(catalogue, recipes=names, **{key: settings[key] for key in ("seconds", "device", "data")})
    entries = run(suite, "bench_speed.py", only)
    for entry in entries:
        click.echo(times_line(entry))
    run_settings = {"recipes": list(names), "seconds": settings["seconds"], "data": settings["data"]}
    installed = {entry.id for entry in catalogue.items("recipe")}

    def asked(entry: Mapping[str, Any]) -> bool:
        """Whether an entry that was not measured was to be: neither RECIPES nor --only left it out."""
        every, recipe = entry.get("group") == "start-up", entry.get("recipe", entry["name"])
        if only and (every or recipe in installed):
            return False
        return every or not recipes or recipe in names

    return _finish("speed", entries, suite, run_settings, settings, old, asked)


def budget(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the benchmarks that train, followed by the common ones."""
    count, directory = click.IntRange(1), click.Path(path_type=Path, file_okay=False)
    function = common(function)
    for option in reversed(
        (
            click.option("--data", metavar="ID|PATH", help="Dataset for all recipes.", show_default=RECIPES),
            click.option("--images", type=count, metavar="N", show_default="50000", help=IMAGES),
            click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help=SECONDS),
            click.option(
                "--seeds", type=count, metavar="N", default=3, show_default=True, help="Number of seeds: 0 to N - 1."
            ),
            click.option("--target", type=float, metavar="VALUE", help=TARGET),
            click.option("--metrics", metavar="NAMES", help=METRICS, show_default=TRAINING),
            click.option("--extractor", metavar="NAME", help="Feature extractor.", show_default=TRAINING),
            click.option("--extractor-weights", metavar="FILE", help=WEIGHTS),
            click.option("--eval-num", type=click.IntRange(2), metavar="N", help=EVAL_NUM, show_default=TRAINING),
            click.option(
                "--eval-every", type=count, metavar="STEPS", help="Evaluation interval.", show_default=TRAINING
            ),
            click.option(
                "--out", type=directory, metavar="DIR", show_default="bench/quality or bench/matrix", help=OUT
            ),
        )
    ):
        function = option(function)
    return function


@command.command("quality")
@click.argument("recipes", metavar="[RECIPE]...", nargs=-1)
@budget
@click.pass_obj
def quality(obj: Any, /, recipes: tuple[str, ...], **settings: Any) -> int:
    """Train recipes with equal budgets and compare a metric.

    Trains RECIPES, by default all, on equal numbers of samples (--images) or for equal seconds. Reports mean and
    standard deviation over seeds, the collapse rate, and the time and samples until --target, which are infinite if it
    is missed. Final values are compared; the best values are reported beside them.
    """
    from aigc_zoo.bench.gate import earlier_result
    from aigc_zoo.bench.quality import quality_cells

    old = earlier_result("quality", settings)
    catalogue = obj.catalogue()
    cells = quality_cells(catalogue, recipes, settings["seeds"], **_budget("quality", settings))
    names = {cell.name for cell in cells}
    return _trained("quality", catalogue, cells, settings, old, lambda entry: not recipes or entry["name"] in names)


@command.command("matrix")
@click.argument("recipe")
@click.option("--generator", metavar="NAMES", show_default="all", help="Generators, comma-separated.")
@click.option("--discriminator", metavar="NAMES", show_default="all", help="Discriminators, comma-separated.")
@click.option("--loss", metavar="NAMES", show_default="all", help="Losses, comma-separated.")
@click.option(
    "--penalty", metavar="NAMES", show_default="none and all", help='Penalties, comma-separated; "none" for no penalty.'
)
@click.option("--dry-run", is_flag=True, help="List the combinations without training.")
@budget
@click.pass_obj
def matrix(obj: Any, /, recipe: str, dry_run: bool, **settings: Any) -> int:
    """Train all combinations of components.

    Trains RECIPE with every combination of generator, discriminator, loss and penalty. Combinations that do not fit are
    reported with the reason.
    """
    from aigc_zoo.bench.gate import earlier_result
    from aigc_zoo.bench.quality import AXES, matrix_cells

    old = earlier_result("matrix", settings)
    catalogue = obj.catalogue()
    chosen = {key: settings[key].split(",") for key in AXES if settings[key]}
    cells = matrix_cells(catalogue, recipe, chosen, settings["seeds"], **_budget("matrix", settings))
    if dry_run:
        for cell in cells:
            click.echo(str(cell))
        click.echo(f"{len(cells):,} cells")
        return 0
    settings["recipe"] = catalogue.find("recipe", recipe).entry.id
    return _trained("matrix", catalogue, cells, settings, old, lambda entry: not chosen)


def _budget(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that all cells share."""
    from aigc_zoo.bench.quality import default_out
    from aigc_zoo.bench.results import IMAGES as DEFAULT
    from aigc_zoo.errors import UsageError

    if settings["images"] and settings["seconds"]:
        raise UsageError("--images and --seconds exclude each other: give one of them")
    images = settings["images"] or (None if settings["seconds"] else DEFAULT)
    keys = ("eval_num", "eval_every", "extractor", "extractor_weights", "metrics")
    given = {key: settings[key] for key in keys if settings[key]}
    return {
        "out": settings["out"] or default_out(kind),
        "data": settings["data"],
        "images": images,
        "seconds": settings["seconds"],
        "device": settings["device"],
        "given": given,
    }


def _trained(
    kind: str, catalogue: Any, cells: Sequence[Any], settings: Mapping[str, Any], old: Any, asked: Asked
) -> int:
    """Train all cells that are not trained yet, print the summaries and return the exit code."""
    from aigc_zoo.bench.lines import summary_line
    from aigc_zoo.bench.quality import identified, run_cells, unfinished
    from aigc_zoo.metrics.protocol import describe

    device_of(settings["device"])
    cells = identified(catalogue, cells)
    click.echo(f"{len(cells):,} cells, {unfinished(cells):,} of them to be trained", err=True)
    with streams.stopping() as stop:
        suite = _suite(catalogue, cells=cells, device=settings["device"], stop=stop)
        try:
            entries = run_cells(suite, settings["target"])
        except KeyboardInterrupt:
            click.echo(f"stopped; {unfinished(cells):,} cells are left, and the same command resumes them", err=True)
            return 128 + (stop.signal or 2)
    protocol: Any = None
    for entry in entries:
        if "incompatible" in entry or "failed" in entry:
            click.echo(f"{entry['name']}  {entry.get('incompatible') or entry['failed']}")
            continue
        if entry["protocol"] != protocol:
            protocol = entry["protocol"]
            click.echo(f"{entry['metric']}: {describe(protocol)}")
        click.echo(f"{entry['name']}  {summary_line(entry)}")
    run_settings = {key: settings.get(key) for key in ("images", "seconds", "seeds", "target", "data", "recipe")}
    return _finish(kind, entries, suite, run_settings, settings, old, asked)


def _suite(catalogue: Any, **settings: Any) -> Any:
    """A suite that reports its progress on stderr; a busy machine is noted first."""
    from aigc_zoo.bench.environment import busy
    from aigc_zoo.bench.suite import Suite

    stream = sys.stderr  # pytest replaces sys.stderr while it runs
    suite = Suite(catalogue, log=lambda text: click.echo(text, file=stream), **settings)
    if warning := busy(suite.environment):
        click.echo(f"note: {warning}", err=True)
    return suite


def _finish(
    kind: str,
    entries: Any,
    suite: Any,
    run_settings: Mapping[str, Any],
    settings: Mapping[str, Any],
    old: Any,
    asked: Asked,
) -> int:
    """Write the result, print its comparison with the earlier one and return the exit code."""
    from aigc_zoo.artefacts.runs import nulled
    from aigc_zoo.bench.comparison import compared
    from aigc_zoo.bench.gate import NOTHING, condition, failures
    from aigc_zoo.bench.lines import row_line
    from aigc_zoo.bench.results import SCHEMA, write_results
    from aigc_zoo.metrics.known import installed

    path, fail_if = settings["json_path"], settings["fail_if"]
    if path is not None:
        write_results(path, kind, entries, suite.environment, run_settings)
        click.echo(str(path), err=True)
    if old is None:
        return 0
    new = {"schema": SCHEMA, "kind": kind, "environment": suite.environment, "settings": run_settings}
    rows = compared(json.loads(json.dumps(nulled({**new, "entries": entries}))), old, asked, installed(suite.catalogue))
    fails = condition(fail_if) if fail_if is not None else lambda row: False
    for row in rows:
        click.echo(row_line(row, kind) + (f"  fails {fail_if}" if fails(row) else ""))
    if fail_if is None:
        if not rows:
            click.echo(NOTHING, err=True)
        return 0
    reasons = failures(rows, fail_if)
    for reason in reasons:
        click.echo(f"fails: {reason}", err=True)
    return 1 if reasons else 0
