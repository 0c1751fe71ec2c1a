"""GPU tests and benchmarks, in one command of under ten minutes.

    python benchmarks/gpu_suite.py --out gpu.json

It needs no installation: torch, numpy, pillow, pluggy, click, safetensors, pytest and pytest-benchmark must be
importable, torch-fidelity need not be. The entry points of the repository's pyproject.toml are written as those of an
installed distribution. All results go to one JSON file, with the machine, versions and commit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TESTS = 240.0
"""Time limit for the tests in seconds."""


def installed(folder: Path) -> None:
    """Make this checkout and its entry points importable, in this process and in its child processes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = folder / f"aigc_zoo-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: aigc-zoo\nVersion: {project['version']}\n")
    lines = [f"{name} = {target}" for name, target in project["entry-points"]["aigc_zoo"].items()]
    (about / "entry_points.txt").write_text("\n".join(["[aigc_zoo]", *lines, ""]))
    (folder / "aigc_zoo").symlink_to(ROOT / "aigc_zoo")
    (folder / "aigc_zoo_plugins").symlink_to(ROOT / "plugins")
    sys.path[:0] = [str(folder), str(ROOT / "benchmarks")]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    os.environ["ZOO_CACHE"] = str(folder / "cache")


def tests(folder: Path) -> dict[str, Any]:
    """Run the tests marked gpu and report failures."""
    report = folder / "tests.xml"
    options = ["-o", "addopts=--import-mode=importlib -p no:cacheprovider"]  # one process: the GPU is not shared
    command = [sys.executable, "-m", "pytest", "-q", *options, "-m", "gpu", "tests/gpu", f"--junitxml={report}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TESTS, check=False)
    output = done.stdout.splitlines()
    failed = [line for line in output if line.startswith(("FAILED", "ERROR"))]
    return {"exit_code": done.returncode, "said": output[-1:], "failed": failed, "end": output[-60:] if failed else []}


def trainer(recipe: str, engine: str, precision: str = "auto", **given: Any) -> Any:
    """A trainer on random images in device memory."""
    import torch

    from aigc_zoo import options, plugins
    from aigc_zoo.data.pool import Pool
    from aigc_zoo.data.samples import image_samples
    from aigc_zoo.engine import fast
    from aigc_zoo.engine.trainer import Trainer

    side, batch_size = given.pop("side"), given.pop("batch_size")
    catalogue = plugins.catalogue()
    built = options.build(catalogue, options.resolve(catalogue, recipe, data="nothing", given=given, origin="python"))
    pixels = torch.randint(0, 256, (8_192, 3, side, side), dtype=torch.uint8)
    samples = image_samples("noise", "train", pixels)
    device = torch.device("cuda", 0)
    pool = Pool(samples, device)
    chosen = fast.choose_precision(precision, device).name
    return Trainer(
        built,
        samples.spec,
        lambda n: pool.batch(0, n, batch_size),
        batch_size=batch_size,
        steps=100_000,
        device=device,
        precision=chosen,
        engine=fast.Choice(engine, "asked for"),
    )


def steps_of(one: Any, steps: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(steps):
            one.train_step()

    return run


def against_reference(on_device: bool) -> dict[str, Any]:
    """`dcgan` at 64x64, batch 128, against the tutorial's loop: with its DataLoader, or with its data on the device."""
    import measure
    import torch
    from reference_dcgan import Reference

    zoo = trainer("dcgan", "auto", side=64, batch_size=128)
    pixels = torch.randint(0, 256, (8_192, 3, 64, 64), dtype=torch.uint8).float() / 127.5 - 1
    plain = Reference(pixels, "cifar10", "cuda", batch_size=128, on_device=on_device)

    def reference() -> None:
        for _ in range(20):
            plain.step()

    found = measure.pairs(steps_of(zoo, 20), reference, warm_up=3, least=10, most=40, wait=torch.cuda.synchronize)
    speed = 20 * 128 / found["seconds_a"]
    return found | {"engine": zoo.engine.choice.name, "why": zoo.engine.choice.why, "images_per_second": speed}


def graph_against_eager(recipe: str, side: int = 32, batch_size: int = 64) -> dict[str, Any]:
    import measure
    import torch

    graph = trainer(recipe, "graph", side=side, batch_size=batch_size)
    eager = trainer(recipe, "eager", side=side, batch_size=batch_size)
    found = measure.pairs(
        steps_of(graph, 10), steps_of(eager, 10), warm_up=3, least=10, most=40, wait=torch.cuda.synchronize
    )
    return found | {"batch_size": batch_size, "side": side, "graphs": len(graph.engine._graphs)}


def share_of_roofline() -> dict[str, Any]:
    """`dcgan` at 64x64: the fastest batch size, and its limiting resource."""
    import measure
    import torch
    from roofline import report

    found: dict[str, Any] = {}
    for batch_size in (128, 256, 512, 1024, 2048):
        torch.cuda.reset_peak_memory_stats()
        one = trainer("dcgan", "auto", side=64, batch_size=batch_size)
        run = steps_of(one, 5)
        for _ in range(3):
            run()
        torch.cuda.synchronize()
        times = []
        for _ in range(8):
            start = time.perf_counter()
            run()
            torch.cuda.synchronize()
            times.append((time.perf_counter() - start) / 5)
        seconds = sorted(times)[len(times) // 2]
        eager = trainer(
            "dcgan", "eager", side=64, batch_size=batch_size
        )  # the same operations, which cannot be counted in a graph
        eager.train_step()
        found[str(batch_size)] = {
            "milliseconds": 1000 * seconds,
            "images_per_second": batch_size / seconds,
            "peak_memory": measure.peak_memory(one.device),
            "roofline": report(eager.train_step, seconds, one.device, "bf16"),
        }
        del one, eager
        torch.cuda.empty_cache()
    best = max(found, key=lambda size: found[size]["images_per_second"])
    share = found[best]["roofline"]
    larger = max(share["share_of_arithmetic"], share["share_of_memory"])
    return {"best_batch": int(best), "share_of_larger_bound": larger, "limited_by": share["limited_by"], "all": found}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "dcgan64 against the loop with its DataLoader": lambda: against_reference(False),
    "dcgan64 against the loop with data on the device": lambda: against_reference(True),
    "dcgan64 graph against eager": lambda: graph_against_eager("dcgan", 64, 128),
    "wgan-gp graph against eager": lambda: graph_against_eager("wgan-gp"),
    "rpgan-r1r2 graph against eager": lambda: graph_against_eager("rpgan-r1r2"),
    "sngan graph against eager": lambda: graph_against_eager("sngan"),
    "roofline of dcgan64": share_of_roofline,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Tests and speed on a GPU.")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--only", help="run only parts whose name contains this")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        installed(folder)
        import measure
        import torch

        if not torch.cuda.is_available():
            print("no CUDA device", file=sys.stderr)
            return 1
        torch.backends.cudnn.benchmark = True
        result: dict[str, Any] = {"environment": measure.environment(), "parts": {}}
        parts = {"tests": lambda: tests(folder), **PARTS}
        for part, run in parts.items():
            if given.only and given.only not in part:
                continue
            start = time.perf_counter()
            try:
                found = run()
            except Exception as error:  # a failing part must not stop the others
                found = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()[-3_000:]}
            result["parts"][part] = found | {"took": round(time.perf_counter() - start, 1)}
            given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            summary = {key: value for key, value in found.items() if isinstance(value, str | int | float)}
            print(part, summary, flush=True)
    return int(any("error" in found or found.get("exit_code") for found in result["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
