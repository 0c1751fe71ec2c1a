"""`zoo bench`: benchmark the speed and quality of recipes, and combinations of components."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from aigc_zoo.cli.device import device_option

RECIPES = "that of each recipe"
TRAINING = "as in training"
IMAGES = "Number of real images that each run trains on, repetitions included."
SECONDS = "Training time of each run, instead of --images."
TARGET = "Target value of the compared metric; reports the time and images until it is reached."
METRICS = "Metrics, as in `zoo eval`. The first one is compared; with fewer than 10,000 samples kid, if it is named."
EVAL_NUM = "Number of samples in each evaluation."
OUT = "Directory of the cells, one training run each; the same command resumes them."

Comparison = tuple[Callable[[Any], bool], Any]
"""The condition under which a row of the comparison fails, and the earlier result or None."""


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
            click.option(
                "--fail-if",
                metavar='"median>1.10"',
                help="Exit with code 1 if a ratio to --compare meets this condition.",
            ),
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
    from aigc_zoo.bench.suite import run

    comparison = _comparison(settings)
    catalogue = obj.catalogue()
    names = [catalogue.find("recipe", name).entry.id for name in recipes]
    names = names or [entry.id for entry in catalogue.items("recipe")]
    suite = _suite(catalogue, recipes=names, **{key: settings[key] for key in ("seconds", "device", "data")})
    entries = run(suite, "bench_speed.py", only)
    for entry in entries:
        label = f"{entry['group']:<18} {entry['name']:<24}"
        if "skipped" in entry:
            click.echo(f"{label} left out: {entry['skipped']}")
            continue
        low, high = (1e3 * bound for bound in entry["interval"])
        rate = f"  {entry['images_per_second']:,.0f} images/s" if "images_per_second" in entry else ""
        click.echo(f"{label} {1e3 * entry['median']:8.3f} ms  [{low:.3f}, {high:.3f}]{rate}")
    run_settings = {"recipes": list(names), "seconds": settings["seconds"], "data": settings["data"]}
    return _finish("speed", entries, suite, run_settings, settings, comparison)


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

    Trains RECIPES, by default all, for equal images or equal seconds. Reports mean and standard deviation over seeds,
    the collapse rate, and the time and images until --target, which are infinite if it is missed. Final values are
    compared; the best values are reported beside them.
    """
    from aigc_zoo.bench.quality import quality_cells

    comparison = _comparison(settings)
    catalogue = obj.catalogue()
    cells = quality_cells(catalogue, recipes, settings["seeds"], **_budget("quality", settings))
    return _trained("quality", catalogue, cells, settings, comparison)


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
    from aigc_zoo.bench.quality import AXES, matrix_cells

    comparison = _comparison(settings)
    catalogue = obj.catalogue()
    chosen = {key: settings[key].split(",") for key in AXES if settings[key]}
    cells = matrix_cells(catalogue, recipe, chosen, settings["seeds"], **_budget("matrix", settings))
    if dry_run:
        for cell in cells:
            click.echo(str(cell))
        click.echo(f"{len(cells):,} cells")
        return 0
    return _trained("matrix", catalogue, cells, settings, comparison)


def _budget(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that all cells share; 50,000 images are the default budget."""
    from aigc_zoo.bench.quality import default_out
    from aigc_zoo.errors import UsageError

    if settings["images"] and settings["seconds"]:
        raise UsageError("--images and --seconds exclude each other: give one of them")
    images = settings["images"] or (None if settings["seconds"] else 50_000)
    given = {key: settings[key] for key in ("eval_num", "eval_every", "extractor", "metrics") if settings[key]}
    return {
        "out": settings["out"] or default_out(kind),
        "data": settings["data"],
        "images": images,
        "seconds": settings["seconds"],
        "device": settings["device"],
        "given": given,
    }


def _trained(
    kind: str, catalogue: Any, cells: Sequence[Any], settings: Mapping[str, Any], comparison: Comparison
) -> int:
    """Train all cells that are not trained yet, print the summaries and return the exit code."""
    from aigc_zoo.bench.quality import run_cells, unfinished
    from aigc_zoo.metrics.protocol import describe
    from aigc_zoo.run.signals import stopping

    click.echo(f"{len(cells):,} cells, {unfinished(cells):,} of them to be trained", err=True)
    with stopping() as stop:
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
        click.echo(f"{entry['name']}  {_summary(entry)}")
    run_settings = {key: settings[key] for key in ("images", "seconds", "seeds", "target", "data")}
    return _finish(kind, entries, suite, run_settings, settings, comparison)


def _summary(entry: Mapping[str, Any]) -> str:
    """The values of one entry in a line."""
    final, best = entry["final"], entry["best"]
    std = f" ± {final['std']:.3g}" if final["std"] is not None else ""
    mean = "non-finite" if final["mean"] is None else f"{final['mean']:.4g}"
    text = f"final {mean}{std}, best {best['mean']:.4g}, {entry['collapse_rate']:.0%} collapsed"
    if entry["target"] is None:
        return text
    if entry["seconds_to_target"] is None:
        return f"{text}, target missed by most ({entry['reached']} of {len(entry['seeds'])} reached it)"
    return (
        f"{text}, target after {entry['seconds_to_target']:.1f} s and {entry['images_to_target']:,.0f} images "
        f"({entry['reached']} of {len(entry['seeds'])})"
    )


def _suite(catalogue: Any, **settings: Any) -> Any:
    """A suite that reports its progress on stderr; a busy machine is noted first."""
    from aigc_zoo.bench.environment import busy
    from aigc_zoo.bench.suite import Suite

    stream = sys.stderr  # pytest replaces sys.stderr while it runs
    suite = Suite(catalogue, log=lambda text: click.echo(text, file=stream), **settings)
    if warning := busy(suite.environment):
        click.echo(f"note: {warning}", err=True)
    return suite


def _comparison(settings: Mapping[str, Any]) -> Comparison:
    """Check and read what the result will be compared with, before measurements that may take hours."""
    from aigc_zoo.bench.comparison import condition
    from aigc_zoo.bench.results import read_results
    from aigc_zoo.errors import UsageError

    path, compare, fail_if = settings["json_path"], settings["compare"], settings["fail_if"]
    if fail_if and not compare:
        raise UsageError(f'--fail-if "{fail_if}": no earlier result to compare with\nadd --compare OLD.json')
    if path is not None and not path.parent.is_dir():
        raise UsageError(f"--json {path}: there is no folder {path.parent}\nmake it first, or choose another file")
    fails = condition(fail_if) if fail_if else lambda row: False
    return fails, None if compare is None else read_results(compare)


def _finish(
    kind: str,
    entries: Any,
    suite: Any,
    run_settings: Mapping[str, Any],
    settings: Mapping[str, Any],
    comparison: Comparison,
) -> int:
    """Write the result, print its comparison with the earlier one and return the exit code."""
    from aigc_zoo.artefacts.runs import nulled
    from aigc_zoo.bench.comparison import compared
    from aigc_zoo.bench.results import SCHEMA, write_results

    fails, old = comparison
    path, fail_if = settings["json_path"], settings["fail_if"]
    if path is not None:
        write_results(path, kind, entries, suite.environment, run_settings)
        click.echo(str(path), err=True)
    if old is None:
        return 0
    new = {"schema": SCHEMA, "kind": kind, "environment": suite.environment, "entries": entries}
    rows = compared(json.loads(json.dumps(nulled(new))), old)
    failing = [row for row in rows if fails(row)]
    for row in rows:
        worse, better = ("slower", "faster") if kind == "speed" else ("worse", "better")
        verdict = "no difference" if not row["differs"] else worse if row["median"] > 1 else better
        mark = f"  fails {fail_if}" if row in failing else ""
        low, high = row["low"], row["high"]
        click.echo(
            f"{row['group']:<18} {row['name']:<24} {row['median']:.3f}  [{low:.3f}, {high:.3f}]  {verdict}{mark}"
        )
    if not rows:
        click.echo("the two results have no entry in common", err=True)
    return 1 if failing else 0
