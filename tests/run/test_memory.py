"""Runs that do not fit in memory are refused before they start, with options that fit."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aigc_zoo import api, options, plugins
from aigc_zoo.cli import main
from aigc_zoo.engine import fast
from aigc_zoo.errors import ConfigError
from aigc_zoo.run import memory
from aigc_zoo.run.dry_run import dry_run
from aigc_zoo.run.loop import train
from aigc_zoo.run.memory import BESIDE, MARGIN, estimate, require_memory
from aigc_zoo.run.prepare import Prepared, prepare
from aigc_zoo.run.progress import Progress

from .conftest import TINY

SETTINGS = {**TINY, "steps": 2, "extractor": None, "precision": "fp32", "batch_size": 64}
CPU = torch.device("cpu")


def ready(blobs: Path, **given: Any) -> Prepared:
    catalogue = plugins.catalogue()
    chosen = {**SETTINGS, **given}
    return prepare(catalogue, options.resolve(catalogue, "dcgan", data=str(blobs), given=chosen, origin="python"))


def needs(prepared: Prepared) -> int:
    found = estimate(prepared)
    assert found.footprint is not None
    return found.needed(found.footprint)


def words(prepared: Prepared, **changes: Any) -> list[str]:
    values = {**SETTINGS, **changes}
    return [f"--{key.replace('_', '-')}={value}" for key, value in values.items() if value is not None]


def suggested(error: str) -> list[dict[str, str]]:
    """The options of the second line of a refusal, by alternative."""
    line = error.splitlines()[1].removeprefix("use ").replace(",", "")
    found = [words.split(" for ")[0] for words in line.split(" or ")]
    return [dict(zip(*[iter(shlex.split(text.split(" which")[0]))] * 2, strict=True)) for text in found]


@pytest.mark.parametrize(
    ("fraction", "given"),
    [
        (0.5, {}),
        pytest.param(0.8, {"accumulate": 2}, marks=pytest.mark.slow),
        pytest.param(0.15, {"generator.width": 8}, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_does_not_fit_is_refused_with_the_largest_batch_that_does(
    blobs: Path, tmp_path: Path, fraction: float, given: dict[str, Any]
) -> None:
    prepared = ready(blobs, **given)
    least = needs(replace(prepared, batch_size=prepared.settings.accumulate))
    free = int(least + fraction * (needs(prepared) - least))
    with pytest.raises(ConfigError) as caught:
        train(prepared, tmp_path / "run", free=lambda device: free)
    assert not (tmp_path / "run").exists()
    error = str(caught.value)
    assert len(error.splitlines()) == 3
    assert "--allow-low-memory trains nevertheless" in error
    alternatives = suggested(error)
    assert [set(one) for one in alternatives] == [{"--batch-size"}, {"--accumulate"}]
    for one in alternatives:
        fitting = ready(blobs, **{**given, **{key[2:].replace("-", "_"): int(value) for key, value in one.items()}})
        assert needs(fitting) <= free
        assert train(fitting, tmp_path / str(one), free=lambda device: free).step == 2
    found = int(alternatives[0]["--batch-size"])
    assert needs(replace(prepared, batch_size=found + 2 * max(2, found // 16))) > free, "it is the largest"


def test_narrower_networks_are_suggested_where_no_batch_fits(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = {"generator.width": 32, "discriminator.width": 64, "batch_size": 4}
    free = needs(ready(blobs, **{**wide, "generator.width": 8, "discriminator.width": 16})) + 1
    monkeypatch.setattr(memory, "free_memory", lambda device: free)
    command = ["train", "dcgan", "--data", str(blobs), *words(ready(blobs), **wide), "--out", str(tmp_path / "run")]
    assert main(command) == 3
    error = capsys.readouterr().err
    assert "nor does a batch of 1 fit" in error
    line = next(line for line in error.splitlines() if "--generator.width" in line)
    given = line.removesuffix(", which fit").split()
    assert given == ["--generator.width", "8", "--discriminator.width", "16"]
    assert main([*command, *given]) == 0


def test_the_command_and_its_dry_run_refuse_alike_and_can_be_told_to_train(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "free_memory", lambda device: BESIDE + (1 << 20))
    command = ["train", "dcgan", "--data", str(blobs), *words(ready(blobs)), "--out", "run"]
    refusals = []
    for more in ([], ["--dry-run"]):
        assert main([*command, *more]) == 3
        refusals.append(capsys.readouterr().err.splitlines()[-3:])
    assert refusals[0] == refusals[1]
    assert "101 MiB are free on cpu" in refusals[0][0]
    assert not (tmp_path / "run").exists()
    assert main([*command, "--allow-low-memory"]) == 0
    assert "warning: this run needs about" in capsys.readouterr().err
    assert main(command) == 0, "a finished run needs nothing"
    assert "nothing was done" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="the largest batch that fits"):
        api.train("dcgan", str(blobs), out=tmp_path / "again", **SETTINGS)


def test_a_dry_run_reports_what_needs_memory(blobs: Path, tmp_path: Path) -> None:
    lines = list(dry_run(ready(blobs), tmp_path / "run", free=lambda device: 3 << 30))
    text = "\n".join(lines)
    assert "3.0 GiB are free on cpu" in text
    for part in ("weights", "ema", "optimizer", "gradients", "step", "sampling", "checkpoint"):
        assert f"{part} " in text
    unknown = "\n".join(dry_run(ready(blobs), tmp_path / "run", free=lambda device: None))
    assert "an unknown amount is free" in unknown


# --- what is free, and who shares it ----------------------------------------------------------------------------------


def test_ranks_of_one_machine_share_its_memory(blobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = needs(ready(blobs))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert needs(ready(blobs)) == 3 * alone


def test_a_gpu_needs_no_margin_and_no_host_memory(blobs: Path) -> None:
    found = estimate(ready(blobs))
    assert found.footprint is not None
    peak = found.footprint.peak(CPU)
    assert found.needed(found.footprint) == int(MARGIN * peak) + BESIDE
    on_gpu = replace(found, prepared=replace(found.prepared, device=torch.device("cuda")))
    assert on_gpu.needed(found.footprint) == found.footprint.peak(torch.device("cuda")) <= peak


@pytest.mark.parametrize(("factor", "returned"), [(1.1, True), (1.9, True), (2.1, False), (None, False)])
def test_freed_memory_is_kept_only_where_there_is_plenty(
    blobs: Path, monkeypatch: pytest.MonkeyPatch, factor: float | None, returned: bool
) -> None:
    prepared, calls = ready(blobs), []
    free = None if factor is None else int(factor * needs(prepared))
    monkeypatch.setattr(fast, "return_memory", calls.append)
    require_memory(prepared, free=lambda device: free)
    assert calls == ([CPU] if returned else [])


class Messages(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def say(self, text: str) -> None:
        self.texts.append(text)


def test_a_recipe_that_cannot_be_estimated_trains_with_a_note(blobs: Path, tmp_path: Path) -> None:
    prepared, messages = ready(blobs), Messages()
    players = dict(prepared.recipe.players)
    loss: Any = players["discriminator"].loss
    players["discriminator"] = replace(
        players["discriminator"],
        loss=lambda nets, batch: loss(nets, {**batch, "real": batch["real"][batch["real"].flatten(1).amax(1) > -2]}),
    )
    prepared = replace(prepared, recipe=replace(prepared.recipe, players=players))
    assert train(prepared, tmp_path / "run", progress=messages, free=lambda device: 1).step == 2
    assert any(text.startswith("note: the memory is not estimated") for text in messages.texts)


# --- with a limit of the system ---------------------------------------------------------------------------------------

LIMITED = """
import resource, sys
import torch
import aigc_zoo.run.loop, aigc_zoo.run.free_memory as free
torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], fused=True)
used = free._table(free.Path("/proc/self/status"))["VmData"] << 10
resource.setrlimit(resource.RLIMIT_DATA, (used + (700 << 20),) * 2)
from aigc_zoo.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_twelve_large_images_are_refused_and_what_is_suggested_trains_within_the_limit(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 256, 256, 3), np.uint8)
    np.savez(tmp_path / "large.npz", images=images)
    command = ["train", "dcgan", "--data", str(tmp_path / "large.npz"), "--steps", "2", "--device", "cpu"]
    command += ["--generator.width", "8", "--discriminator.width", "8", "--precision", "fp32"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        started = [sys.executable, "-c", LIMITED, *command, "--out", str(tmp_path / "run"), *more]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(started, capture_output=True, text=True, check=False, env=env)

    refused = run("--batch-size", "512")
    assert refused.returncode == 3, refused.stderr
    error = refused.stderr[refused.stderr.index("a batch of 512") :]
    fitting = suggested(error)[0]
    done = run(*(word for pair in fitting.items() for word in pair))
    assert done.returncode == 0, done.stderr
