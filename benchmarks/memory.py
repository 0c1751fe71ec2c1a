"""The estimated memory of a run against the memory that it takes: `python benchmarks/memory.py [FILE.json]`.

Each case trains three steps in a process of its own, with a sample grid, an evaluation where there is an extractor and
a checkpoint, as `zoo train` does. The memory taken is the growth of the peak resident set since the data were read. It
is measured with memory that returns to the system, as a run does that has little of it, and with memory that is kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aigc_zoo import options, plugins
from aigc_zoo.artefacts.atomic import write_json
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.bench.environment import environment
from aigc_zoo.engine import fast
from aigc_zoo.run.disk_full import TolerateFullDisk
from aigc_zoo.run.loop import train
from aigc_zoo.run.memory import estimate
from aigc_zoo.run.monitor import Monitor
from aigc_zoo.run.prepare import prepare
from aigc_zoo.run.progress import Progress
from aigc_zoo.run.signals import Stop

THIN = {"generator.width": 16, "discriminator.width": 16}
CASES: tuple[tuple[str, int, int, dict[str, Any]], ...] = (  # recipe, side of the images, batch size, options
    ("dcgan", 28, 64, {"extractor": "zoo-grey28"}),
    ("dcgan", 64, 64, {}),
    ("dcgan", 64, 64, {"precision": "fp32"}),
    ("dcgan", 128, 16, {"precision": "fp32"}),
    ("dcgan", 128, 64, {"precision": "fp32"}),
    ("dcgan", 256, 8, THIN),
    ("dcgan", 64, 64, {"accumulate": 8, "precision": "fp32"}),
    ("primer", 32, 256, {}),
    ("sngan", 32, 64, {}),
    ("wgan-gp", 32, 16, {}),
    ("wgan-gp", 64, 16, {**THIN, "precision": "fp32"}),
    ("rpgan-r1r2", 32, 32, THIN),
    ("vanilla", 28, 64, {}),
)
MIB = 1 << 20


def main() -> None:
    if len(sys.argv) > 2:
        measure_case(sys.argv[1], int(sys.argv[2]))
        return
    rows = []
    for number, (recipe, side, batch, given) in enumerate(CASES):
        row: dict[str, Any] = {"recipe": recipe, "side": side, "batch_size": batch, "options": given}
        for mode in ("estimate", "returned", "kept"):
            words = [sys.executable, __file__, mode, str(number)]
            found = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            row |= json.loads(found.splitlines()[-1])
        rows.append(row)
        print(line(row), flush=True)
    if len(sys.argv) > 1:
        write_json(Path(sys.argv[1]), {"environment": environment(), "rows": rows})


def line(row: dict[str, Any]) -> str:
    name = " ".join([row["recipe"], f"{row['side']}x{row['side']}", *(f"{k}={v}" for k, v in row["options"].items())])
    ratios = "  ".join(f"{row[mode] / row['needed']:.2f}" for mode in ("returned", "kept"))
    tensors = f"{row['tensors']:6,.0f} MiB of tensors, {row['needed']:6,.0f} needed"
    return f"{name:<60} {row['batch_size']:4}  {tensors}, {row['returned']:6,.0f} {row['kept']:6,.0f}  {ratios}"


def measure_case(mode: str, number: int) -> None:
    """Print the estimate of a case, or the memory that it takes in this process, as JSON, in MiB."""
    recipe, side, batch, given = CASES[number]
    grey = side == 28
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (400 if grey else 12, side, side, 1 if grey else 3), np.uint8)
        np.savez(Path(folder) / "data.npz", images=images)
        catalogue = plugins.catalogue()
        settings = {"batch_size": batch, "steps": 3, "eval_num": 256 if grey else None, "device": "cpu", **given}
        data = str(Path(folder) / "data.npz")
        prepared = prepare(catalogue, options.resolve(catalogue, recipe, data=data, given=settings, origin="python"))
        # Optimizers import a hundred megabytes of code, which the estimate imports as well.
        torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], fused=True)
        run = Path(folder) / "run"
        if mode == "estimate":
            began = time.perf_counter()
            monitor = Monitor(prepared, RunDirectory(run), Progress(), Stop(), TolerateFullDisk(print))
            memory = estimate(prepared, monitor.network)
            assert memory.footprint is not None, memory.problem
            tensors = memory.footprint.peak(prepared.device) / MIB
            seconds = time.perf_counter() - began
            parts = {name: round(size / MIB) for name, size in vars(memory.footprint).items()}
            needed = memory.needed(memory.footprint) / MIB
            print(json.dumps({"tensors": tensors, "needed": needed, "seconds": seconds, "parts": parts}))
            return
        if mode == "returned":
            fast.return_memory(prepared.device)
        before = _status("RssAnon") + _status("RssFile")
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        train(prepared, run, allow_low_memory=True)
        print(json.dumps({mode: _status("VmHWM") - before}))


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(text.split()[1]) / 1024 for text in lines if text.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
