"""Stages of a run: which losses its steps have, how often, and what their means weigh."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from sketch.toy import linear_loss, player, toy
from torch import Tensor

from aigc_zoo.engine.stages import StageSteps, mean, stages
from aigc_zoo.game import Every, Loss, Play, Player, Recipe, Until, play_at

one, two, three = (linear_loss("G", by=float(by)) for by in (1, 2, 3))


def recipe(*plays: Play) -> Recipe:
    return toy({f"player{n}": player("G", loss=play) for n, play in enumerate(plays)}).recipe


def spans(found: Recipe, steps: int) -> list[tuple[int, int]]:
    return [(stage.first, stage.end) for stage in stages(found, steps)]


@pytest.mark.parametrize(
    ("plays", "steps", "expected"),
    [
        ((one,), 10, [(0, 10)]),
        ((Until(3, one, two),), 10, [(0, 3), (3, 10)]),
        ((Until(3, None, two), Until(5, one, two)), 10, [(0, 3), (3, 5), (5, 10)]),
        ((Until(3, one, Until(7, two, Every(2, three, None))),), 10, [(0, 3), (3, 7), (7, 10)]),
        ((Every(2, Until(4, one, two), three),), 10, [(0, 4), (4, 10)]),
        ((Until(4, one, one),), 10, [(0, 10)]),
        ((Until(10, one, two),), 10, [(0, 10)]),
        ((Until(0, one, two), Until(50, one, two)), 10, [(0, 10)]),
    ],
)
def test_a_stage_ends_where_an_until_changes_a_loss(
    plays: tuple[Play, ...], steps: int, expected: list[tuple[int, int]]
) -> None:
    assert spans(recipe(*plays), steps) == expected


@pytest.mark.parametrize(
    ("plays", "steps"),
    [
        ((Every(4, one, two),), 10),
        ((Every(4, one, two), Every(6, one, None)), 100),
        ((Until(7, Every(2, one, two), Every(3, Every(2, two, one), three)), Until(2, None, one)), 50),
    ],
)
def test_means_are_those_of_the_steps_one_by_one(plays: tuple[Play, ...], steps: int) -> None:
    found = recipe(*plays)
    own = {None: 0.5, one: 1.0, two: 10.0, three: 100.0}

    def cost(losses: tuple[Loss | None, ...]) -> float:
        return sum(own[loss] for loss in losses)

    values = {part.losses: cost(part.losses) for stage in stages(found, steps) for part in stage.parts}
    each = [cost(tuple(play_at(play, step) for play in plays)) for step in range(steps)]
    assert mean(stages(found, steps), values) == pytest.approx(sum(each) / steps)
    for stage in stages(found, steps):
        assert stage.mean(values) == pytest.approx(sum(each[stage.first : stage.end]) / stage.steps)


def test_long_stages_are_counted_by_their_period() -> None:
    (stage,) = stages(recipe(Every(16, one, two), Every(3, one, two)), 1 << 40)
    assert sorted(part.fraction for part in stage.parts) == pytest.approx([1 / 48, 2 / 48, 15 / 48, 30 / 48])


def test_each_part_starts_at_its_first_step_in_its_stage() -> None:
    found = stages(recipe(Until(5, one, Every(4, two, three))), 20)
    assert [[part.first for part in stage.parts] for stage in found] == [[0], [5, 8]]


def test_steps_of_every_stage_can_be_run_and_the_data_go_on() -> None:
    ran: list[float] = []
    batches: list[int] = []

    def recording(by: float) -> Loss:
        def loss(nets: object, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            ran.append(by)
            return linear_loss("G", by=by)(nets, batch)

        return loss

    trainer = toy(
        {
            "G": Player(
                controls=("G",), loss=Until(3, recording(1), recording(2)), optimizer=player("G", loss=one).optimizer
            )
        }
    )
    source = trainer.source

    def counted(n: int) -> Mapping[str, Tensor]:
        batches.append(n)
        return source(n)

    trainer.source = counted
    steps = StageSteps(trainer, 10)
    for losses in steps.parts:
        steps.run(losses)
    assert ran[-2:] == [1, 2]
    assert batches[-2:] == [0, 1]
    seconds = steps.seconds(2)
    assert set(seconds) == set(steps.parts)
    assert all(value > 0 for value in seconds.values())
