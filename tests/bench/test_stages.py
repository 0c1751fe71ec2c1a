"""Recipes with stages are timed in each of them: `zoo bench speed`, `zoo train --dry-run`, and budgets of seconds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_zoo import options, plugins
from aigc_zoo.bench.cells import steps_in
from aigc_zoo.bench.results import read_results
from aigc_zoo.cli import main
from aigc_zoo.engine.stages import StageSteps
from aigc_zoo.run.prepare import Prepared, prepare

PLUGIN = '''
import time
from typing import Annotated, Literal

import torch
from torch import nn

from aigc_zoo.game import Every, Player, Recipe, Until, adam
from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1
HEAVY = 0.02


@hookimpl
def zoo_components():
    yield Component(kind="recipe", name="staged", target=f"{__name__}:staged", summary="a recipe with stages")


def light(nets, batch):
    return {"loss": nets.D(batch["real"].flatten(1)).mean()}


def heavy(nets, batch):
    time.sleep(HEAVY)
    return light(nets, batch)


PLAYS = {
    "late": Until(300, light, heavy),
    "early": Until(100, heavy, Until(300, light, None)),
    "lazy": Until(500, light, Every(4, heavy, light)),
    "every": Every(2, heavy, light),
    "plain": light,
}


def staged(*, play: Literal["late", "early", "lazy", "every", "plain"] = "late"):
    """A recipe whose heavy loss takes 20 ms."""
    return Recipe(
        networks=lambda spec: {"G": nn.Linear(2, 784), "D": nn.Linear(784, 1)},
        players={"discriminator": Player(controls=("D",), loss=PLAYS[play], optimizer=adam(1e-3))},
        draw=lambda batch: {"z": torch.randn(len(batch["real"]), 2)},
        generate=lambda nets, batch: {"fake": nets.G(batch["z"]).reshape(-1, 1, 28, 28)},
        batch_size=4,
        steps=1000,
    )
'''
HEAVY = 0.02


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "stages_plugin.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (40, 28, 28, 1), np.uint8))
    return path


CASES = {
    "late": {"steps 1 to 300": 0.0, "steps 301 to 1,000": 1.0},
    "early": {"steps 1 to 100": 1.0, "steps 101 to 300": 0.0, "steps 301 to 1,000": 0.0},
    "lazy": {"steps 1 to 500": 0.0, "steps 501 to 1,000": 0.25},
    "every": {},
    "plain": {},
}
"""The stages of each play, and their fractions of heavy steps."""
WHOLE = {"late": 0.7, "early": 0.1, "lazy": 0.125, "every": 0.5, "plain": 0.0}


def lengths(names: dict[str, float]) -> list[int]:
    found = []
    for name in names:
        first, last = (int(number.replace(",", "")) for number in re.findall(r"[\d,]+", name))
        found.append(last - first + 1)
    return found


@pytest.mark.parametrize("play", CASES)
def test_bench_times_each_stage_and_the_whole(plugin: Path, images: Path, tmp_path: Path, play: str) -> None:
    source = plugin.read_text().replace('= "late"', f'= "{play}"')
    own = tmp_path / f"stages_{play}.py"
    own.write_text(source)
    words = ["--plugin", own, "bench", "speed", "staged", "--data", images, "--seconds", 0.01]
    path = tmp_path / "speed.json"
    assert main([str(word) for word in (*words, "--only", "train_step", "--json", path)]) == 0
    whole, *stages = read_results(path)["entries"]
    assert whole["name"] == "local/staged"
    assert [one["name"].partition(", ")[2] for one in stages] == list(CASES[play])
    assert whole["median"] >= WHOLE[play] * HEAVY
    for one, fraction in zip(stages, CASES[play].values(), strict=True):
        assert one["median"] >= fraction * HEAVY
        assert one["images_per_second"] == pytest.approx(4 / one["median"])
        assert len(one["seconds"]) == len(one["relative"]) == len(whole["seconds"]) >= 20
    if stages:
        weights = [length / 1000 for length in lengths(CASES[play])]
        mixed = np.average([one["seconds"] for one in stages], axis=0, weights=weights)
        assert whole["seconds"] == pytest.approx(mixed.tolist())


@pytest.mark.parametrize("play", CASES)
def test_a_dry_run_reports_each_stage_and_the_whole(
    plugin: Path, images: Path, capsys: pytest.CaptureFixture[str], play: str
) -> None:
    words = ["--plugin", plugin, "train", "staged", "--play", play, "--data", images, "--dry-run"]
    assert main([str(word) for word in words]) == 0
    out = capsys.readouterr().out
    lines = re.findall(r"^  (stage|speed) .* ([\d,]+) images/s; about (\S+) (.*)$", out, re.M)
    assert [rest for kind, *_, rest in lines if kind == "stage"] == [f"for {name}" for name in CASES[play]]
    kind, rate, about, rest = lines[-1]
    assert (kind, rest) == ("speed", "in all")
    seconds = sum(60**n * int(part) for n, part in enumerate(reversed(about.split(":"))))
    assert seconds >= int(WHOLE[play] * HEAVY * 1000)
    assert seconds == pytest.approx(4 * 1000 / int(rate.replace(",", "")), abs=1.5)


def ready(plugin: Path, images: Path, play: str) -> Prepared:
    catalogue = plugins.catalogue(files=[plugin])
    given: dict[str, Any] = {"play": play, "device": "cpu"}
    return prepare(catalogue, options.resolve(catalogue, "staged", data=str(images), given=given, origin="python"))


@pytest.mark.parametrize(
    ("play", "seconds", "steps"),
    [("late", 0.2, 200), ("late", 10.3, 800), ("early", 1.0, 50), ("early", 2.7, 800), ("lazy", 6.25, 1500)],
)
def test_a_budget_of_seconds_counts_every_stage(
    plugin: Path, images: Path, monkeypatch: pytest.MonkeyPatch, play: str, seconds: float, steps: int
) -> None:
    times = {"light": 0.001, "heavy": 0.02}

    def measured(self: StageSteps, repeats: int) -> dict[Any, float]:
        return {losses: sum(times[loss.__name__] if loss else 0.001 for loss in losses) for losses in self.parts}

    monkeypatch.setattr(StageSteps, "seconds", measured)
    assert steps_in(ready(plugin, images, play), seconds) == pytest.approx(steps, abs=1)
