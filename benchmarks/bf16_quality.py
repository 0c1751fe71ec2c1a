"""Compares quality in bf16 and float32: dcgan on MNIST, five seeds each, mean FID within two standard errors.

    python benchmarks/bf16_quality.py                    # about 10 runs of 10 minutes on two cores
    python benchmarks/bf16_quality.py --images 200000    # a quick check

Runs are stored in a folder and resumed, so the script may be stopped; the result is written when all are finished. Both
precisions alternate over the seeds, so that changes of the machine affect both.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import measure

from aigc_zoo.artefacts.runs import RunDirectory, read_lines

HERE = Path(__file__).resolve().parent


def verdict(bf16: list[float], fp32: list[float]) -> dict[str, float | bool]:
    """The difference of the means and its standard error."""
    difference = statistics.mean(bf16) - statistics.mean(fp32)
    error = math.sqrt(statistics.variance(bf16) / len(bf16) + statistics.variance(fp32) / len(fp32))
    return {"difference": difference, "standard_error": error, "within_two": abs(difference) <= 2 * error}


def main() -> int:
    parser = argparse.ArgumentParser(description="FID of bf16 against float32.")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--images", type=int, help="length of training; by default that of the preset")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("runs/bf16-quality"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "bf16" / "mnist.json")
    given = parser.parse_args()
    environment = measure.environment()
    found: dict[str, list[float]] = {"bf16": [], "fp32": []}
    for seed in range(given.seeds):
        for precision in ("bf16", "fp32") if seed % 2 == 0 else ("fp32", "bf16"):
            out = given.folder / f"{precision}-{seed}"
            words = ["--data", given.data, "--seed", str(seed), "--precision", precision, "--out", str(out)]
            words += ["--images", str(given.images)] if given.images else []
            words += ["--eval-num", "10000", "--metrics", "fid"]
            subprocess.run([sys.executable, "-m", "aigc_zoo", "train", "dcgan", *words], check=True)
            last = read_lines(RunDirectory(out).metrics_path)[-1]  # FID of the final generator, the only metric
            found[precision].append(float(last["value"]))
            print(precision, seed, last["name"], last["value"], flush=True)
    result = {**verdict(found["bf16"], found["fp32"]), "fid": found, "protocol": last["protocol"]}
    result |= {"environment": environment, "command": " ".join(["python", "benchmarks/bf16_quality.py", *sys.argv[1:]])}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print({key: result[key] for key in ("difference", "standard_error", "within_two")})
    return 0 if result["within_two"] else 1


if __name__ == "__main__":
    sys.exit(main())
