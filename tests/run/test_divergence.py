"""NaN and Inf, injected in six places of every recipe, reach no file, and the error says where they came from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import RECIPES, SMALL
from torch import Tensor

from aigc_zoo import options, plugins
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.errors import DivergedError
from aigc_zoo.game import Batch, Every, Nets, Play, Terms, Until
from aigc_zoo.run.loop import train
from aigc_zoo.run.prepare import Prepared, prepare

BAD, STEPS, BATCH = 3, 6, 8
PLACES = ("input", "discriminator loss", "generator loss", "discriminator gradient", "generator gradient", "buffer")


class Poison(torch.autograd.Function):
    """Zero with a gradient that is not finite, like the square root of zero."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, here: Tensor, value: float) -> Tensor:
        ctx.save_for_backward(weight, here)
        ctx.value = value
        return weight.sum() * 0

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        weight, here = ctx.saved_tensors
        return torch.where(here, torch.full_like(weight, ctx.value), torch.zeros_like(weight)), None, None


def inject(run: Prepared, place: str, value: float) -> tuple[Prepared, str]:
    """The run with one non-finite value at step BAD, and the expected message."""
    recipe = run.recipe
    discriminator, generator = sorted(
        recipe.players, key=lambda name: not set(recipe.players[name].controls).isdisjoint(recipe.generators)
    )
    first = BAD * BATCH * recipe.rounds
    if place == "input":
        pool, source = run.pool, run.pool.batch

        def batch(seed: int, n: int, *rest: int) -> Mapping[str, Tensor]:
            found = dict(source(seed, n, *rest))
            if n == BAD * recipe.rounds:
                found["real"] = found["real"].index_fill(0, torch.tensor([1]), value)
            return found

        pool.batch = batch  # type: ignore[method-assign]
        return run, f"the batch's entry 'real' is not finite at step {BAD}"
    name = generator if place.startswith("generator") else discriminator
    net = recipe.players[name].controls[0]

    def change(play: Play) -> Play:
        if isinstance(play, Every):
            return replace(play, loss=change(play.loss), otherwise=change(play.otherwise))
        if isinstance(play, Until):
            return replace(play, loss=change(play.loss), then=change(play.then))
        if play is None:
            return None

        def loss(nets: Nets, batch: Batch) -> Terms:
            here, weight = batch["images"] == first, next(nets[net].parameters())
            terms = dict(play(nets, batch))
            if place == "buffer":
                nets[net].planted.copy_(torch.where(here, value, 0.0))
            elif place.endswith("loss"):
                terms["planted"] = torch.where(here, value, 0.0) * weight.square().sum()
            else:
                terms["planted"] = Poison.apply(weight, here, value)  # type: ignore[no-untyped-call]
            return terms

        return loss

    def networks(spec: Any) -> Mapping[str, Any]:
        found = dict(recipe.networks(spec))
        if place == "buffer":
            found[net].register_buffer("planted", torch.zeros(()))
        return found

    player = recipe.players[name]
    players = {**recipe.players, name: replace(player, loss=change(player.loss))}
    message = {
        "buffer": f"the buffer {net}.planted is",
        f"{place.split()[0]} loss": f"the loss of player {name} is",
        f"{place.split()[0]} gradient": f"the gradient of {net}.",
    }[place]
    return replace(run, recipe=replace(recipe, networks=networks, players=players)), message


def prepared(name: str, blobs: Path) -> Prepared:
    catalogue = plugins.catalogue()
    known = {option.key for option in options.options_of(catalogue, f"zoo/{name}", {}, data=str(blobs))}
    given = {key: value for key, value in SMALL.items() if key in known}
    given |= {"batch_size": BATCH, "steps": STEPS, "log_every": 2, "save_every": 2, "sample_every": 2}
    return prepare(catalogue, options.resolve(catalogue, f"zoo/{name}", data=str(blobs), given=given))


def not_finite(folder: Path) -> list[str]:
    """The names of all non-finite values in the files of a run."""
    bad = []
    for path in folder.rglob("*.safetensors"):
        tensors, _ = checkpoint.load(path)
        bad += [f"{path.name}: {key}" for key, value in tensors.items() if not value.double().isfinite().all()]
    for path in folder.glob("*.json*"):
        for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            json.loads(line, parse_constant=lambda word, path=path: bad.append(f"{path.name}: {word}"))
    return bad


@pytest.mark.slow
@pytest.mark.promise("R21", 6, 6)
@pytest.mark.parametrize("name", RECIPES)
def test_non_finite_values_reach_no_file(name: str, blobs: Path, tmp_path: Path, promise: Any) -> None:
    straight = train(prepared(name, blobs), tmp_path / "straight")
    assert straight.step == STEPS
    for number, place in enumerate(PLACES):
        run, message = inject(prepared(name, blobs), place, (math.nan, math.inf)[number % 2])
        folder = tmp_path / place.replace(" ", "-")
        with pytest.raises(DivergedError) as caught:
            train(run, folder)
        error = str(caught.value)
        assert message in error, place
        assert f"at step {BAD}" in error
        assert "the checkpoint of step 2 is intact" in error
        assert len(error.splitlines()) <= 3
        assert [step for step, _ in RunDirectory(folder).checkpoints()] == [2], "it is detected at the next log line"
        assert not_finite(folder) == []
        healthy = inject(prepared(name, blobs), place, 0.0)[0] if place == "buffer" else prepared(name, blobs)
        assert train(healthy, folder).step == STEPS, "it resumes from there"
        mine, whole = RunDirectory(folder).newest_valid(), RunDirectory(tmp_path / "straight").newest_valid()
        assert whole is not None
        assert mine is not None
        kept = {key: value for key, value in mine.tensors.items() if not key.endswith("planted")}
        assert checkpoint.digest(kept, {}) == checkpoint.digest(whole.tensors, {})
    promise.kept(plants=promise.count, stopped_at_the_next_log=promise.count, values_in_files=0)
