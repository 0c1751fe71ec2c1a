"""Tools that measure speed: paired timing, roofline, bare loop and the speed table."""

from __future__ import annotations

import copy
import importlib.util
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent


BENCHMARKS = ("measure", "roofline", "bare", "rows")


@pytest.fixture(scope="module")
def tools() -> dict[str, ModuleType]:
    """The scripts of the benchmarks as modules."""
    found = {}
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        for path in (*(f"benchmarks/{name}.py" for name in BENCHMARKS), "tools/speed_table.py"):
            spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            found[Path(path).stem] = module
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return found


# --- pairs ------------------------------------------------------------------------------------------------------------


class Clock:
    """A simulated clock on which work becomes slower and slower, as on a machine under growing load."""

    def __init__(self) -> None:
        self.now, self.pace, self.order = 0.0, 1.0, ""

    def work(self, name: str, seconds: float) -> None:
        self.pace *= 1.01
        self.order += name
        self.now += seconds * self.pace


def test_pairs_alternate_and_stop_when_the_interval_is_narrow(tools: dict[str, ModuleType]) -> None:
    clock = Clock()
    found = tools["measure"].pairs(
        lambda: clock.work("a", 1.0), lambda: clock.work("b", 1.8), warm_up=1, clock=lambda: clock.now
    )
    assert clock.order.startswith("ab" + "abba" * 5)
    assert found["pairs"] == 20  # drift affects both equally
    assert found["median"] == pytest.approx(1.8, rel=0.011)
    assert found["interval_95"][1] - found["interval_95"][0] <= 0.04


def test_pairs_end_at_the_maximum_if_the_interval_stays_wide(tools: dict[str, ModuleType]) -> None:
    clock, turns = Clock(), iter(range(10_000))
    found = tools["measure"].pairs(
        lambda: clock.work("a", 1.0 + next(turns) % 7),
        lambda: clock.work("b", 1.0 + next(turns) % 5),
        most=60,
        clock=lambda: clock.now,
    )
    assert found["pairs"] == 60


def test_the_rows_of_train_steps_run(tools: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tools["rows"]
    monkeypatch.setattr(rows, "recipes", lambda: ["vanilla"])
    monkeypatch.setattr(rows, "report", lambda *given: {})  # slow, and tested below
    monkeypatch.setattr(rows, "prepared", partial(rows.prepared, data="digits", batch_size=8))
    for found in (rows.guard(2), rows.bare("fp32", 2)):
        assert found["slowest"] == "vanilla"
        assert found["pairs"] == 2
        assert found["median"] > 0


# --- the roofline -----------------------------------------------------------------------------------------------------


def test_operations_and_bytes_match_those_counted_by_hand(tools: dict[str, ModuleType]) -> None:
    a, b = torch.ones(8, 16), torch.ones(16, 4)
    flops, moved = tools["roofline"].work(lambda: (a @ b).add_(1))
    assert flops == 2 * 8 * 16 * 4
    product = 4 * (8 * 16 + 16 * 4 + 8 * 4)
    assert moved == product + 2 * 4 * 8 * 4  # the in-place addition reads and writes


def test_the_backward_pass_of_a_convolution_is_counted(tools: dict[str, ModuleType]) -> None:
    net, x = nn.Conv2d(3, 5, 3, padding=1, bias=False), torch.ones(2, 3, 8, 8, requires_grad=True)
    forward = 2 * 2 * 8 * 8 * 5 * 3 * 9
    flops, _ = tools["roofline"].work(lambda: net(x).sum().backward())
    assert flops == 3 * forward  # forward, and gradients of input and weight


def test_fractions_are_of_the_ceilings(tools: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    roofline = tools["roofline"]
    monkeypatch.setattr(roofline, "work", lambda step: (100, 50))
    monkeypatch.setattr(roofline, "ceilings", lambda device, dtype: (1000.0, 100.0))
    found = roofline.report(lambda: None, 2.0, torch.device("cpu"), "fp32")
    assert (found["share_of_arithmetic"], found["share_of_memory"]) == (0.05, 0.25)
    assert found["limited_by"] == "memory"


# --- the bare loop ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("recipe", ["dcgan", "wgan-gp", "rpgan-r1r2"])
def test_the_bare_loop_trains_the_recipe(tools: dict[str, ModuleType], recipe: str, precision: str) -> None:
    from tiny import small

    from aigc_zoo.data.samples import image_samples

    pixels = torch.randint(0, 256, (32, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    loop = tools["bare"].Bare(
        small(recipe),
        image_samples("noise", "train", pixels),
        steps=100,
        batch_size=8,
        device=torch.device("cpu"),
        precision=precision,
    )
    before = copy.deepcopy(loop.nets.state_dict())
    for _ in range(2):
        loop.step()
    after = loop.nets.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    for net in ("G", "D"):
        assert any(not torch.equal(before[key], after[key]) for key in after if key.startswith(f"{net}."))


# --- the table --------------------------------------------------------------------------------------------------------

RESULT: dict[str, Any] = {
    "median": 1.9,
    "interval_95": [1.88, 1.92],
    "pairs": 12,
    "environment": {
        "processor": "A processor",
        "threads": 2,
        "cores": 2,
        "load_before": 0.1,
        "versions": {"torch": "2.15"},
        "commit": "abc",
        "dirty": False,
    },
}


def test_results_become_rows_and_missing_ones_are_unmeasured(tools: dict[str, ModuleType], tmp_path: Path) -> None:
    (tmp_path / "dcgan64-auto.json").write_text(json.dumps(RESULT))
    (tmp_path / "startup.json").write_text(json.dumps({**RESULT, "median": 0.8, "interval_95": [0.7, 0.9]}))
    parts = {"wgan-gp graph against eager": {"median": 3.0}, "rpgan-r1r2 graph against eager": {"error": "no"}}
    gpu = {"parts": parts, "environment": {**RESULT["environment"], "gpu": "A card"}}
    (tmp_path / "gpu.json").write_text(json.dumps(gpu))
    text = tools["speed_table"].table(tools["speed_table"].load(tmp_path))
    assert "| 1.8 x | 1.90 x | 1.88 x to 1.92 x | 12 | A processor, 2 threads |" in text
    assert "| +1.5 s | +0.80 s | +0.70 s to +0.90 s |" in text
    assert "| 2 x | 3.00 x |  |  | A card |" in text
    assert text.count("unmeasured") == len(tools["speed_table"].ROWS) + len(tools["speed_table"].GPU) - 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"load_before": 3.0}, "the machine was busy"),
        ({"threads": None}, "lacks threads"),
        ({"commit": None}, "lacks commit"),
        ({"dirty": True}, "files differed"),
    ],
)
def test_an_unreliable_result_is_refused(
    tools: dict[str, ModuleType], tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    (tmp_path / "startup.json").write_text(json.dumps({**RESULT, "environment": {**RESULT["environment"], **change}}))
    with pytest.raises(ValueError, match=f"startup.json: .*{reason}"):
        tools["speed_table"].load(tmp_path)


def test_the_gpu_suite_needs_no_installation(tmp_path: Path) -> None:
    """Its recipes are found in the repository itself."""
    code = (
        "import sys, pathlib; sys.path.insert(0, 'benchmarks'); import gpu_suite;"
        f"gpu_suite.installed(pathlib.Path({str(tmp_path)!r}) / 'site');"
        "import aigc_zoo, aigc_zoo.plugins as p; print(aigc_zoo.__file__);"
        "print(*[e.id for e in p.catalogue().items('recipe')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    where, recipes = done.stdout.splitlines()
    assert where.startswith(str(tmp_path))
    assert {"zoo/dcgan", "zoo/wgan-gp", "zoo/rpgan-r1r2"} <= set(recipes.split())
