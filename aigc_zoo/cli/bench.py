"""`zoo bench`: speed, quality and the matrix of components, over everything that is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from aigc_zoo.cli.device import device_option

OUT = "What to keep trained cells in; the same command goes on where it was left."

METRICS = "What to measure, as in zoo eval. The first is compared; of fewer than 10,000 samples kid, where it is named."

Verdict = tuple[Callable[[Any], bool], Any]
"""Which rows of a comparison fail, and the older result, if there is one."""


@click.group("bench", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Measure everything installed, other people's plugins included, and compare with an earlier result.

    Results go to a file with --json, which `zoo report` shows. Times are worthless on a busy machine.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """What all three have."""
    for option in (
        click.option("--fail-if", metavar='"median>1.10"', help="Exit with 1 where a ratio to --compare is so."),
        click.option(
            "--compare", type=click.Path(path_type=Path), metavar="OLD.json", help="Compare with this result."
        ),
        click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write the result."),
        device_option("Where to compute"),
    ):
        function = option(function)
    return function


@command.command("speed")
@click.argument("recipes", metavar="[RECIPE]...", nargs=-1)
@click.option("--only", default="", metavar="EXPRESSION", help="Of train_step, sampling, data, checkpoint, start_up.")
@click.option("--data", metavar="ID|PATH", help="Data for all recipes, instead of their own.")
@click.option(
    "--seconds", type=float, default=4.0, show_default=True, help="For each of them, if that allows 20 rounds."
)
@common
@click.pass_obj
def speed(obj: Any, /, recipes: tuple[str, ...], only: str, **settings: Any) -> int:
    """Train step, samples, data, checkpoint and start-up of RECIPES, by default of all.

    Each round alternates with a baseline, a fixed computation; results are compared by their ratios to it.
    """
    from aigc_zoo.bench.suite import run

    verdict = _verdict(settings)
    catalogue = obj.catalogue()
    names = [catalogue.find("recipe", name).entry.id for name in recipes]
    names = names or [entry.id for entry in catalogue.items("recipe")]
    suite = _suite(catalogue, recipes=names, **{key: settings[key] for key in ("seconds", "device", "data")})
    entries = run(suite, "bench_speed.py", only)
    for entry in entries:
        what = f"{entry['group']:<18} {entry['name']:<24}"
        if "skipped" in entry:
            click.echo(f"{what} left out: {entry['skipped']}")
            continue
        low, high = (1e3 * one for one in entry["interval"])
        rate = f"  {entry['images_per_second']:,.0f} images/s" if "images_per_second" in entry else ""
        click.echo(f"{what} {1e3 * entry['median']:8.3f} ms  [{low:.3f}, {high:.3f}]{rate}")
    told = {"recipes": list(names), "seconds": settings["seconds"], "data": settings["data"]}
    return _end("speed", entries, suite, told, settings, verdict)


def budget(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the trained ones have."""
    for option in (
        click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help=OUT),
        click.option("--target", type=float, help="Of the metric that is compared: time and images until it is met."),
        click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Seeds 0, 1, ..."),
        click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Of training for each; or --images."),
        click.option("--images", type=click.IntRange(1), help="Seen in training by each.  [default: 50000]"),
        click.option("--data", metavar="ID|PATH", help="The same data for all, instead of each one's own."),
        click.option("--eval-num", type=click.IntRange(2), help="Samples of each measurement."),
        click.option("--eval-every", type=click.IntRange(1), metavar="STEPS", help="How often to measure."),
        click.option("--extractor", metavar="NAME", help="The network whose features the metric compares."),
        click.option("--metrics", metavar="NAMES", help=METRICS),
    ):
        function = option(function)
    return common(function)


@command.command("quality")
@click.argument("recipes", metavar="[RECIPE]...", nargs=-1)
@budget
@click.pass_obj
def quality(obj: Any, /, recipes: tuple[str, ...], **settings: Any) -> int:
    """Train RECIPES, by default all, for equal images or equal seconds, and compare their metric.

    Told are mean and spread over seeds, how many collapsed, and time and images until a target, infinite where it was
    missed. Final values count; best ones stand beside them.
    """
    from aigc_zoo.bench.quality import quality_cells

    verdict = _verdict(settings)
    catalogue = obj.catalogue()
    cells = quality_cells(catalogue, recipes, settings["seeds"], **_budget("quality", settings))
    return _trained("quality", catalogue, cells, settings, verdict)


@command.command("matrix")
@click.argument("recipe")
@click.option("--generator", metavar="NAMES", help="With commas between; all that are installed by default.")
@click.option("--discriminator", metavar="NAMES", help="Likewise.")
@click.option("--loss", metavar="NAMES", help="Likewise.")
@click.option("--penalty", metavar="NAMES", help='Likewise; "none" leaves it out.')
@click.option("--dry-run", is_flag=True, help="List the cells, train none.")
@budget
@click.pass_obj
def matrix(obj: Any, /, recipe: str, dry_run: bool, **settings: Any) -> int:
    """Train RECIPE with every generator x discriminator x loss x penalty; what does not fit says why."""
    from aigc_zoo.bench.quality import AXES, matrix_cells

    verdict = _verdict(settings)
    catalogue = obj.catalogue()
    chosen = {key: settings[key].split(",") for key in AXES if settings[key]}
    cells = matrix_cells(catalogue, recipe, chosen, settings["seeds"], **_budget("matrix", settings))
    if dry_run:
        for cell in cells:
            click.echo(str(cell))
        click.echo(f"{len(cells):,} cells")
        return 0
    return _trained("matrix", catalogue, cells, settings, verdict)


def _budget(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    from aigc_zoo.bench.quality import default_out
    from aigc_zoo.errors import UsageError

    if settings["images"] and settings["seconds"]:
        raise UsageError("--images and --seconds: one of them is the budget, leave the other out")
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


def _trained(kind: str, catalogue: Any, cells: Sequence[Any], settings: Mapping[str, Any], verdict: Verdict) -> int:
    from aigc_zoo.bench.quality import run_cells, unfinished
    from aigc_zoo.metrics.protocol import describe
    from aigc_zoo.run.signals import stopping

    click.echo(f"{len(cells):,} cells, {unfinished(cells):,} of them to be trained", err=True)
    with stopping() as stop:
        suite = _suite(catalogue, cells=cells, device=settings["device"], stop=stop)
        try:
            entries = run_cells(suite, settings["target"])
        except KeyboardInterrupt:
            click.echo(f"stopped; {unfinished(cells):,} cells are left, and the same command goes on", err=True)
            return 128 + (stop.signal or 2)
    said: Any = None
    for entry in entries:
        if "incompatible" in entry or "failed" in entry:
            click.echo(f"{entry['name']}  {entry.get('incompatible') or entry['failed']}")
            continue
        if entry["protocol"] != said:
            said = entry["protocol"]
            click.echo(f"{entry['metric']}: {describe(said)}")
        click.echo(f"{entry['name']}  {_told(entry)}")
    told = {key: settings[key] for key in ("images", "seconds", "seeds", "target", "data")}
    return _end(kind, entries, suite, told, settings, verdict)


def _told(entry: Mapping[str, Any]) -> str:
    final, best = entry["final"], entry["best"]
    std = f" ± {final['std']:.3g}" if final["std"] is not None else ""
    mean = "not finite" if final["mean"] is None else f"{final['mean']:.4g}"
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
    from aigc_zoo.bench.environment import busy
    from aigc_zoo.bench.suite import Suite

    stream = sys.stderr  # while pytest runs, another one stands in its place
    suite = Suite(catalogue, log=lambda text: click.echo(text, file=stream), **settings)
    if warning := busy(suite.environment):
        click.echo(f"note: {warning}", err=True)
    return suite


def _verdict(settings: Mapping[str, Any]) -> Verdict:
    """What fails, and the older result: asked first of all, since measuring may take hours."""
    from aigc_zoo.bench.comparison import condition
    from aigc_zoo.bench.results import read_results
    from aigc_zoo.errors import UsageError

    path, compare, fail_if = settings["json_path"], settings["compare"], settings["fail_if"]
    if fail_if and not compare:
        raise UsageError(f'--fail-if "{fail_if}": say with what to compare, --compare OLD.json')
    if path is not None and not path.parent.is_dir():
        raise UsageError(f"--json {path}: there is no folder {path.parent}")
    fails = condition(fail_if) if fail_if else lambda row: False
    return fails, None if compare is None else read_results(compare)


def _end(
    kind: str, entries: Any, suite: Any, told: Mapping[str, Any], settings: Mapping[str, Any], verdict: Verdict
) -> int:
    """Writes the result, compares it, and says whether it may pass."""
    from aigc_zoo.artefacts.runs import nulled
    from aigc_zoo.bench.comparison import compared
    from aigc_zoo.bench.results import SCHEMA, write_results

    fails, old = verdict
    path, fail_if = settings["json_path"], settings["fail_if"]
    if path is not None:
        write_results(path, kind, entries, suite.environment, told)
        click.echo(str(path), err=True)
    if old is None:
        return 0
    new = {"schema": SCHEMA, "kind": kind, "environment": suite.environment, "entries": entries}
    rows = compared(json.loads(json.dumps(nulled(new))), old)
    bad = [row for row in rows if fails(row)]
    for row in rows:
        what = "slower" if kind == "speed" else "worse"
        said = "no difference" if not row["differs"] else what if row["median"] > 1 else "better"
        mark = f"  fails {fail_if}" if row in bad else ""
        low, high = row["low"], row["high"]
        click.echo(f"{row['group']:<18} {row['name']:<24} {row['median']:.3f}  [{low:.3f}, {high:.3f}]  {said}{mark}")
    if not rows:
        click.echo("the two results have no entry in common", err=True)
    return 1 if bad else 0
