"""The last value of each loss term is logged, with the step that computed it."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from sketch.toy import player

import aigc_zoo
from aigc_zoo import options, plugins
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.game import Every, Nets, Play, Terms, Until, play_at
from aigc_zoo.run.loop import train
from aigc_zoo.run.prepare import prepare
from aigc_zoo.run.signals import Stop
from aigc_zoo.run.terms import LastTerms

from .conftest import TINY, digests_of


def lines_of(plays: dict[str, Play], steps: int, every: int, resumed_after: int = -1) -> dict[int, Any]:
    """The log of a run whose terms are 100 * the step that computes them; resumed after a checkpoint of one step."""
    players = {name: player("D", loss=play) for name, play in plays.items()}
    last, lines = LastTerms(players, Ranks()), {}
    for step in range(1, steps + 1):
        found = {}
        for name, play in plays.items():
            loss = play_at(play, step - 1)
            for term in loss(Nets({}), {}) if loss is not None else ():
                found[f"{name}/{term}"] = torch.tensor(100.0 * step)
        last.record(step, found)
        if step % every == 0 or step == steps:
            lines[step] = last.at(step, (step - 1) // every * every)
        if step == resumed_after:
            state = json.loads(json.dumps(last.state()))
            last = LastTerms(players, Ranks())
            last.load(state)
    for line in lines.values():
        assert all(value == 100.0 * computed for computed, value in line.values())
    return {step: {name: computed for name, (computed, _) in line.items()} for step, line in lines.items()}


def plain(nets: Nets, batch: Any) -> Terms:
    return {"loss": torch.zeros(())}


def lazy(nets: Nets, batch: Any) -> Terms:
    return {"loss": torch.zeros(()), "r1": torch.zeros(())}


def other(nets: Nets, batch: Any) -> Terms:
    return {"loss": torch.zeros(()), "gp": torch.zeros(())}


def pretrain(nets: Nets, batch: Any) -> Terms:
    return {"reconstruction": torch.zeros(())}


@pytest.mark.parametrize(
    ("play", "every", "expected"),
    [
        (Every(16, lazy, plain), 16, {16: 1, 32: 17}),
        (Every(4, lazy, plain), 6, {6: 5, 12: 9, 18: 17}),
        (Every(8, lazy, plain), 2, {2: 1, 4: 1, 8: 1, 10: 9, 16: 9, 18: 17}),
        (Every(8, lazy, Every(3, other, plain)), 5, {5: 1, 10: 9, 15: 9, 20: 17}),
        (Every(64, lazy, plain), 10, {10: 1, 30: 1}),
        (Until(7, plain, Every(5, lazy, plain)), 4, {12: 11, 16: 16, 20: 16}),
        (Every(5, lazy, None), 5, {5: 1, 10: 6}),
    ],
)
def test_the_terms_of_a_lazy_loss_are_logged_with_their_step(play: Play, every: int, expected: dict[int, int]) -> None:
    lines = lines_of({"discriminator": play}, 32, every)
    assert {step: lines[step]["discriminator/r1"] for step in expected} == expected
    if play_at(play, 31) is not None:
        assert lines[32]["discriminator/loss"] == 32


def test_several_lazy_terms_have_a_step_each() -> None:
    play = Every(8, lazy, Every(3, other, plain))
    assert lines_of({"D": play, "G": Every(2, plain, None)}, 12, 12)[12] == {
        "D/loss": 12, "D/r1": 9, "D/gp": 10, "G/loss": 11,
    }  # fmt: skip


def test_terms_of_a_stage_that_ended_are_logged_once_more_and_then_no_longer() -> None:
    lines = lines_of({"D": Until(5, pretrain, Every(4, lazy, plain))}, 16, 4)
    assert lines[4] == {"D/reconstruction": 4}
    assert lines[8] == {"D/reconstruction": 5, "D/loss": 8}
    assert lines[12] == {"D/loss": 12, "D/r1": 9}
    short = lines_of({"D": Until(3, pretrain, plain), "G": plain}, 20, 10)
    assert short == {10: {"D/reconstruction": 3, "D/loss": 10, "G/loss": 10}, 20: {"D/loss": 20, "G/loss": 20}}


@pytest.mark.parametrize("after", range(1, 21))
@pytest.mark.parametrize("play", [Every(4, lazy, plain), Until(5, pretrain, Every(4, lazy, None))])
def test_a_resume_changes_no_line(play: Play, after: int) -> None:
    assert lines_of({"D": play}, 21, 3, resumed_after=after) == lines_of({"D": play}, 21, 3)


def test_values_in_memory_that_a_replay_overwrites_are_kept() -> None:
    """As with CUDA graphs, all steps of one loss return the same memory, and another graph can use it too."""
    last, memory = LastTerms({"D": player("D", loss=Every(4, lazy, plain))}, Ranks()), torch.zeros(2)
    for step in range(1, 9):
        memory.fill_(step)
        last.record(step, {"D/loss": memory[0], "D/r1": memory[1]} if step % 4 == 1 else {"D/loss": memory[0]})
    assert last.at(8, 0) == {"D/loss": (8, 8.0), "D/r1": (5, 5.0)}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_stored_as_null(value: float) -> None:
    last = LastTerms({"D": player("D", loss=plain)}, Ranks())
    last.record(1, {"D/_ratio": torch.tensor(value), "D/loss": torch.tensor(2.5)})
    state = last.state()
    assert state == {"D/_ratio": [1, None], "D/loss": [1, 2.5]}
    json.dumps(state, allow_nan=False)
    last.load(state)
    step, restored = last.at(1, 0)["D/_ratio"]
    assert step == 1
    assert math.isnan(restored)


LAZY = {**TINY, "discriminator.norm": "none", "penalty": "r1", "penalty.r1.every": 5, "eval_every": 12, "log_every": 4}


@pytest.mark.parametrize("cut", [4, 5, 7])
def test_a_run_logs_its_lazy_penalty_and_resumes_to_the_same_lines(blobs: Path, tmp_path: Path, cut: int) -> None:
    whole = aigc_zoo.train("dcgan", str(blobs), out=tmp_path / "whole", **LAZY)
    assert [line["term_steps"]["discriminator/r1"] for line in whole.log] == [1, 6, 11]
    assert [line["term_steps"]["generator/loss"] for line in whole.log] == [4, 8, 12]
    assert all(line["terms"]["discriminator/r1"] > 0 for line in whole.log)

    class After(Stop):
        def __bool__(self) -> bool:
            self.signal = signal.SIGTERM if self.asked >= cut else 0
            self.asked += 1
            return self.signal > 0

        asked = 0

    catalogue = plugins.catalogue()
    chosen = options.resolve(catalogue, "dcgan", data=str(blobs), given=LAZY, origin="python")
    assert train(prepare(catalogue, chosen), tmp_path / "run", stop=After()).reason == "stopped"
    again = aigc_zoo.train("dcgan", str(blobs), out=tmp_path / "run", **LAZY)
    assert digests_of(tmp_path / "run") == digests_of(tmp_path / "whole")
    assert [line["term_steps"] for line in again.log] == [line["term_steps"] for line in whole.log]


def test_a_checkpoint_without_terms_resumes(blobs: Path, tmp_path: Path) -> None:
    """Those of earlier versions have none."""
    last = LastTerms({"D": player("D", loss=plain)}, Ranks())
    last.load({})
    assert last.at(1, 0) == {}
    aigc_zoo.train("dcgan", str(blobs), out=tmp_path / "run", **{**LAZY, "steps": 3})
    found = RunDirectory(tmp_path / "run").newest_valid()
    assert found is not None
    assert found.card["terms"]["discriminator/r1"][0] == 1
