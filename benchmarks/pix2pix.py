"""Compares pix2pix with its L1 loss alone on `digits-edges`: KID, FID, PSNR and SSIM of translated held-out edges.

    python benchmarks/pix2pix.py                                   # six trainings of a few minutes on two cores
    python benchmarks/pix2pix.py --seeds 0 --variants L1-only      # one of them
    python benchmarks/pix2pix.py --collect                         # nothing is trained

Both variants are the preset `digits-edges` of the recipe, with the same steps; `L1-only` is `--adversarial 0`, which
leaves out the discriminator. Each training is a fresh `zoo train`, and its result is stored at once in
results/pix2pix/digits-edges/, so the script may be stopped. Once all are there, it writes their comparison and a figure
of held-out samples. `tools/pix2pix_table.py` writes the table of docs/image-to-image.md.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import measure
import torch

from aigc_zoo import load_run, plugins
from aigc_zoo.data import resolve
from aigc_zoo.data.pool import Pool

HERE = Path(__file__).resolve().parent
DATA, SPLIT = "digits-edges", "test"
RESULTS = HERE / "results" / "pix2pix" / DATA
FIGURE = HERE.parent / "docs" / "images" / f"pix2pix-{DATA}.png"
SHOWN, SCALE = 12, 2
"""Samples in the figure, and screen pixels per pixel."""

SEEDS = (0, 1, 2)
VARIANTS: Mapping[str, Sequence[str]] = {"pix2pix": (), "L1-only": ("--adversarial", "0")}
METRICS = ("kid", "fid", "prc", "psnr", "ssim")
VALUES = ("kid", "fid", "precision", "recall", "psnr", "ssim")
NUM = 2_000
"""Samples of the held-out split."""

STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}
"""The 97.5 % quantile of Student's t for the mean of so many values."""


def measured(variant: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train one variant with one seed, and evaluate the final generator on the held-out split."""
    environment = measure.environment()
    words = ["train", "pix2pix", "--data", DATA, "--seed", str(seed), *VARIANTS[variant]]
    out = folder / f"{variant}-{seed}"
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "aigc_zoo", *words, "--out", str(out), "--fresh"], check=True)
    seconds = time.perf_counter() - start
    run = load_run(out, device="cpu")
    last = run.log[-1]
    return {
        "variant": variant,
        "seed": seed,
        "command": f"zoo {' '.join(words)}",
        "recipe": run.card["recipe"],
        "steps": last["step"],
        "images": last["images"],
        "seconds": seconds,
        "training_seconds": last["seconds"],
        "metrics": run.evaluate(split=SPLIT, num=NUM, metrics=METRICS, progress=False),
        "environment": environment,
    }


# --- the comparison ---------------------------------------------------------------------------------------------------


def value(run: Mapping[str, Any], name: str) -> float:
    """A metric of a run by its short name; results of commit 09e4b50 have those of pairs apart."""
    pairs = run.get("pairs", {})
    return float(pairs[name]["mean"] if name in pairs else record(run, name)["value"])


def record(run: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The record of a metric by its short name."""
    found: Mapping[str, Any] = next(one for one in run["metrics"] if f"{one['name']}-".startswith(f"{name}-"))
    return found


def compared(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """pix2pix minus L1-only by metric: the difference of each seed, their mean and its 95 % interval.

    The interval is Student's of the differences of equal seeds, so it contains the variation of training. Those of
    single seeds, for KID, contain the sampling error of both values, as if they were independent.
    """
    by = {
        variant: sorted((r for r in runs if r["variant"] == variant), key=lambda r: r["seed"]) for variant in VARIANTS
    }
    ours, base = by["pix2pix"], by["L1-only"]
    if [run["seed"] for run in ours] != [run["seed"] for run in base]:
        raise SystemExit("both variants need results of the same seeds")
    found = {}
    for name in VALUES:
        differences = [value(one, name) - value(other, name) for one, other in zip(ours, base, strict=True)]
        mean = statistics.mean(differences)
        error = STUDENT[len(differences)] * statistics.stdev(differences) / math.sqrt(len(differences))
        found[name] = {"differences": differences, "mean": mean, "interval_95": [mean - error, mean + error]}
    found["kid"]["intervals_95_of_seeds"] = [
        [difference - error, difference + error]
        for difference, one, other in zip(found["kid"]["differences"], ours, base, strict=True)
        for error in [math.hypot(half_width(one), half_width(other))]
    ]
    return found


def half_width(run: Mapping[str, Any]) -> float:
    """Half of the width of the interval of KID."""
    low, high = record(run, "kid")["interval"]
    return float(high - low) / 2


def figure(folder: Path, seed: int) -> None:
    """A row each of edges, L1-only, pix2pix and real images, the first held-out samples of a seed."""
    from PIL import Image

    split = resolve.load(plugins.catalogue(), DATA, wanted=("source",))[SPLIT]
    shown = Pool(split, "cpu").rows(torch.arange(SHOWN))
    fakes = [load_run(folder / f"{variant}-{seed}", device="cpu").sample(SHOWN) for variant in reversed(VARIANTS)]
    sheet = torch.stack([shown["source"].expand(-1, 3, -1, -1), *fakes, shown["real"]])
    sheet = (sheet * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
    count, _, _, height, width = sheet.shape
    pixels = sheet.permute(0, 3, 1, 4, 2).reshape(count * height, SHOWN * width, 3)
    image = Image.fromarray(pixels.numpy())
    image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.NEAREST).save(FIGURE, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="pix2pix against its L1 loss alone.")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--folder", type=Path, default=Path("runs/pix2pix-benchmark"))
    parser.add_argument("--collect", action="store_true", help="only compare the stored results")
    given = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for seed in () if given.collect else given.seeds:
        for variant in given.variants if seed % 2 == 0 else given.variants[::-1]:
            path = RESULTS / f"{variant}-{seed}.json"
            found = measured(variant, seed, given.folder)
            path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(f"{path.stem}: " + ", ".join(f"{n} {value(found, n):.4g}" for n in ("kid", "fid", "psnr", "ssim"))
                  + f", {found['seconds']:.0f} s", flush=True)  # fmt: skip
    stored = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*-[0-9]*.json"))]
    if not given.collect and {(run["variant"], run["seed"]) for run in stored} != set(product(VARIANTS, SEEDS)):
        return
    found = compared(stored)
    result = {"what": "pix2pix minus L1-only", "command": "python benchmarks/pix2pix.py", "differences": found}
    (RESULTS / "comparison.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    figure(given.folder, SEEDS[0])
    for name, one in found.items():
        print(f"{name:<10} {one['mean']:+.4g} {[round(end, 4) for end in one['interval_95']]}")


if __name__ == "__main__":
    main()
