"""Mode collapse and its remedies: every recipe on `ring` and `grid`, ten seeds each; writes docs/mode-collapse.md.

`python benchmarks/mode_collapse.py` trains the cases without a result, with one single-threaded process for each core,
stores each result at once, and writes figures and page from all of them. It can be stopped and started again; `--page`
only writes the page.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "mode-collapse"
PAGE = ROOT / "docs" / "mode-collapse.md"
FIGURES = ROOT / "docs" / "mode-collapse"

DATA = {"ring": 8, "grid": 25}
SEEDS = 10
STEPS = 3_000
SAMPLES = 2_500
SAME: Mapping[str, Any] = {
    "batch_size": 100,
    "lr": 1e-3,
    "steps": STEPS,
    "latent": 32,
    "ema": 0.999,
    "precision": "fp32",
}
"""Settings of all cases; `lr` applies to both players."""


class Case(NamedTuple):
    """A row of the page: a recipe with options, and the remedy that it stands for."""

    name: str
    recipe: str
    options: Mapping[str, Any] = {}
    remedy: str = "none"


CASES = (
    Case("vanilla, minimax", "vanilla", {"loss": "minimax"}),
    Case("vanilla", "vanilla"),
    Case("dcgan", "dcgan"),
    Case("primer", "primer"),
    Case("lsgan", "lsgan"),
    Case("hinge", "hinge"),
    Case("dcgan, discriminator at 3e-4", "dcgan", {"discriminator_lr": 3e-4}, "learning rates"),
    Case("wgan", "wgan", {}, "weights clipped"),
    Case("sngan", "sngan", {}, "spectral norm"),
    Case("dragan", "dragan", {}, "gradient penalty"),
    Case("wgan-gp", "wgan-gp", {}, "gradient penalty"),
    Case("wgan-lp", "wgan-lp", {}, "gradient penalty"),
    Case("dcgan-r1", "dcgan-r1", {}, "gradient penalty"),
    Case("rpgan-r1r2", "rpgan-r1r2", {}, "gradient penalty"),
)


RENAMED = {"dcgan, critic at 3e-4": "dcgan, discriminator at 3e-4"}
"""Names of cases in older results."""


def train(case: Case, data: str, seed: int) -> dict[str, Any]:
    """Train one case and count its modes: {"modes", "near", "last", "points", "seconds", "diverged"}.

    "modes" and "near" are those of the EMA of the generator, which `zoo sample` uses too, "last" are the modes of the
    weights after the last step.
    """
    import torch

    from aigc_zoo import options, plugins
    from aigc_zoo.run.prepare import prepare
    from aigc_zoo_plugins.metrics.modes import mode_counts

    torch.set_num_threads(1)
    catalogue = plugins.catalogue()
    spectral = "-spectral" if case.recipe == "sngan" else ""
    networks = {"generator": "vanilla.points", "discriminator": f"vanilla.points{spectral}"}
    known = {option.key for option in options.options_of(catalogue, case.recipe, networks, data=data, automatic=True)}
    both = {"discriminator_lr": SAME["lr"]} if "discriminator_lr" in known else {}
    given = {**networks, **SAME, **both, **case.options, "seed": seed}
    prepared = prepare(catalogue, options.resolve(catalogue, case.recipe, data=data, given=given))
    trainer = prepared.trainer()
    began = time.process_time()
    for _ in range(prepared.steps):
        trainer.train_step()
    fields = prepared.train.fields
    centres = torch.stack([fields["real"][fields["label"] == i].mean(0) for i in range(DATA[data])])

    def sample_and_count(ema: bool) -> tuple[Any, Any]:
        points = trainer.sampler(ema=ema, seed=1000 + seed).samples(SAMPLES)
        return points, mode_counts(points, centres, std=0.02)

    points, counts = sample_and_count(True)
    return {
        "case": case.name,
        "data": data,
        "seed": seed,
        "modes": int((counts >= 20).sum()),
        "near": float(counts.sum() / SAMPLES),
        "last": int((sample_and_count(False)[1] >= 20).sum()),
        "diverged": trainer.diverged() is not None,
        "images": trainer.images,
        "seconds": round(time.process_time() - began, 1),
        "points": [[round(x, 3) for x in point] for point in points[:1000].tolist()] if seed == 0 else [],
    }


# --- all of them ------------------------------------------------------------------------------------------------------


def load(path: Path) -> list[dict[str, Any]]:
    """The stored results, without lines that were cut off by a kill and results of former cases."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            result = json.loads(line)
        except ValueError:
            continue
        found.append({**result, "case": RENAMED.get(result["case"], result["case"])})
    names = {case.name for case in CASES}
    return [one for one in found if one["case"] in names and one["data"] in DATA]


def run(path: Path, seeds: int, processes: int) -> None:
    """Train the missing cases, seed by seed, and append each result at once."""
    done = {(one["case"], one["data"], one["seed"]) for one in load(path)}
    wanted = [(case, data, seed) for seed in range(seeds) for data in DATA for case in CASES]
    missing = [(case, data, seed) for case, data, seed in wanted if (case.name, data, seed) not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(train, *one) for one in missing]
        for number, future in enumerate(as_completed(futures), 1):
            result = future.result()
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
            print(f"{number}/{len(missing)} {result['case']} {result['data']} seed {result['seed']}: "
                  f"{result['modes']} modes, {result['seconds']} s", flush=True)  # fmt: skip


# --- the page ---------------------------------------------------------------------------------------------------------

INTRODUCTION = """A generator that covers only some modes of the data has collapsed. On a mixture of Gaussians the modes
can be counted. Below, every recipe is trained on `ring` (8 Gaussians on a circle) and `grid` (25 on a square), with the
same two perceptrons (generator: two layers of 128 ReLUs; discriminator: two layers of 64 maxout units), {same},
{steps:,} steps, and sampled from the EMA of the generator (decay 0.999). A mode is found if at least 20 of 2,500
samples are within 3 standard deviations of its centre; "near" is the fraction of samples that are so close to any
centre; "last" is the number of seeds with which the weights of the last step, without EMA, find all modes. Modes are
medians over {seeds} seeds, or as many as the row says, with minimum and maximum in brackets. `python
benchmarks/mode_collapse.py` reproduces this page in {minutes:.0f} minutes of one core ({machine})."""

TEXT = """# Mode collapse and its remedies

{introduction}

{table}

{findings}

## Samples

Seed 0, 1,000 samples each, with the number of modes found.

![ring](mode-collapse/ring.png)

![grid](mode-collapse/grid.png)
"""


def summary(results: Sequence[Mapping[str, Any]], case: Case, data: str) -> dict[str, Any]:
    """Summarize the seeds of one case on one dataset."""
    selected = sorted(
        (one for one in results if (one["case"], one["data"]) == (case.name, data)), key=lambda r: r["seed"]
    )
    modes = [one["modes"] for one in selected]
    return {
        "modes": modes,
        "median": statistics.median(modes),
        "all": sum(count == DATA[data] for count in modes),
        "last": sum(one["last"] == DATA[data] for one in selected),
        "near": statistics.median(one["near"] for one in selected),
        "diverged": sum(one["diverged"] for one in selected),
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    head = "| recipe | remedy |" + "".join(
        f" {data}: modes of {count} | all {count} found | last | near |" for data, count in DATA.items()
    )
    rows = [head, "|---|---|" + "---|" * 4 * len(DATA)]
    for case in CASES:
        cells = []
        for data in DATA:
            s = summary(results, case, data)
            low, high = min(s["modes"]), max(s["modes"])
            modes = f"{s['median']:g}" + (f" ({low} to {high})" if low != high else "")
            cells += [modes, f"{s['all']} of {len(s['modes'])} seeds", f"{s['last']}", f"{s['near']:.0%}"]
            cells[-1] += f", {s['diverged']} diverged" if s["diverged"] else ""
        rows.append(f"| {case.name} | {case.remedy} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def draw(results: Sequence[Mapping[str, Any]]) -> None:
    """Draw a panel of samples for each case."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    FIGURES.mkdir(parents=True, exist_ok=True)
    for data, count in DATA.items():
        shown = {one["case"]: one for one in results if one["data"] == data and one["seed"] == 0}
        columns = 6
        rows = -(-len(CASES) // columns)
        figure, axes = plt.subplots(rows, columns, figsize=(2.1 * columns, 2.35 * rows), squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, case in zip(axes.flat, CASES, strict=False):
            one = shown[case.name]
            x, y = zip(*one["points"], strict=True)
            axis.scatter(x, y, s=1.5, color="#1f4e99", linewidths=0, alpha=0.6)
            axis.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
            axis.set_title(f"{case.name}\n{one['modes']} of {count}", fontsize=8)
        figure.tight_layout()
        figure.savefig(FIGURES / f"{data}.png", dpi=110, metadata={"Software": None})
        plt.close(figure)


def page(path: Path, findings: str) -> None:
    results = load(path)
    missing = [case.name for case in CASES for data in DATA if not any(
        (one["case"], one["data"]) == (case.name, data) for one in results)]  # fmt: skip
    if missing:
        raise SystemExit(f"no result yet of {', '.join(dict.fromkeys(missing))}: run without --page")
    draw(results)
    seeds = max(one["seed"] for one in results) + 1
    introduction = INTRODUCTION.format(
        same=f"Adam or RMSprop at {SAME['lr']:g}, batches of {SAME['batch_size']}, z of {SAME['latent']}",
        steps=STEPS,
        seeds=seeds,
        minutes=sum(one["seconds"] for one in results) / 60,
        machine=f"of {os.cpu_count()} of an x86-64 server, no GPU",
    )
    text = TEXT.format(introduction=textwrap.fill(introduction, 120), table=table(results), findings=findings)
    PAGE.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--page", action="store_true", help="only write figures and page from stored results")
    given = parser.parse_args(arguments)
    path = RESULTS / "results.jsonl"
    if not given.page:
        run(path, given.seeds, given.processes)
    page(path, (RESULTS / "findings.md").read_text(encoding="utf-8").strip())


if __name__ == "__main__":
    main(sys.argv[1:])
