"""Precision, engine and batch sizes that do not fit: messages, card and resume."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import aigc_zoo
from aigc_zoo import options, plugins
from aigc_zoo.api import Run
from aigc_zoo.cli import main
from aigc_zoo.engine import fast
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Batch, Nets, Player, Terms
from aigc_zoo.run.loop import train
from aigc_zoo.run.memory import largest_batch
from aigc_zoo.run.prepare import Prepared, prepare
from aigc_zoo.run.progress import Progress

from .conftest import TINY

QUICK = {**TINY, "steps": 4, "eval_every": 100, "save_every": 2}


def train_dcgan(blobs: Path, out: Path, **more: object) -> Run:
    return aigc_zoo.train("dcgan", str(blobs), out=out, **{**QUICK, **more})


def ready(blobs: Path, **more: object) -> Prepared:
    catalogue = plugins.catalogue()
    configuration = options.resolve(catalogue, "dcgan", data=str(blobs), given={**QUICK, **more}, origin="python")
    return prepare(catalogue, configuration)


def native(monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    monkeypatch.setattr(fast.precision, "_native_bf16", lambda device: flag)


# --- precision and engine ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flag", "chosen"), [("avx512_bf16", "bf16"), ("", "fp32")])
def test_card_and_output_state_what_auto_chose(
    blobs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flag: str,
    chosen: str,
) -> None:
    native(monkeypatch, flag)
    words = [f"--{key.replace('_', '-')}={value}" for key, value in QUICK.items()]
    assert main(["train", "dcgan", "--data", str(blobs), "--out", str(tmp_path / "run"), *words]) == 0
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert (card["precision"], card["engine"]) == (chosen, "eager")
    assert card["why"].keys() == {"precision", "engine"}
    assert f"precision {chosen} ({card['why']['precision']}); engine eager (" in capsys.readouterr().err


def test_a_run_resumes_in_its_precision(blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native(monkeypatch, "avx512_bf16")
    whole = train_dcgan(blobs, tmp_path / "whole")
    part = train_dcgan(blobs, tmp_path / "part")
    # As if it had been stopped at its first checkpoint and resumed on a machine where auto chooses otherwise.
    (tmp_path / "part" / "finished.json").unlink()
    (tmp_path / "part" / "checkpoints" / "000000004.safetensors").unlink()
    native(monkeypatch, "")
    again = train_dcgan(blobs, tmp_path / "part")
    assert again.card == part.card
    assert again.card["precision"] == "bf16"
    assert torch.equal(whole.sample(8), again.sample(8))


def test_another_precision_is_refused_with_the_difference(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native(monkeypatch, "")
    train_dcgan(blobs, tmp_path / "run")
    train_dcgan(blobs, tmp_path / "run", precision="fp32")  # the same precision, requested explicitly
    train_dcgan(blobs, tmp_path / "run", engine="eager")
    with pytest.raises(ConfigError, match="precision fp32, now bf16"):
        train_dcgan(blobs, tmp_path / "run", precision="bf16")
    with pytest.raises(ConfigError, match="accumulate 1, now 2"):
        train_dcgan(blobs, tmp_path / "run", accumulate=2)


def test_a_run_without_a_precision_in_its_card_is_refused_with_the_difference(blobs: Path, tmp_path: Path) -> None:
    train_dcgan(blobs, tmp_path / "run")
    path = tmp_path / "run" / "card.json"
    card = json.loads(path.read_text())
    for key in ("precision", "engine", "why"):
        del card[key]
    path.write_text(json.dumps(card))
    with pytest.raises(ConfigError, match="precision nothing, now") as caught:
        train_dcgan(blobs, tmp_path / "run")
    assert "--fresh" in str(caught.value)


def test_a_card_is_read_back_as_a_configuration(blobs: Path, tmp_path: Path) -> None:
    train_dcgan(blobs, tmp_path / "run", precision="fp32")
    words = ["--config", str(tmp_path / "run"), "--out", str(tmp_path / "again")]
    assert main(["train", "dcgan", *words]) == 0
    first, second = (json.loads((tmp_path / name / "card.json").read_text()) for name in ("run", "again"))
    assert first["precision"] == second["precision"] == "fp32"


def test_graphs_on_a_cpu_are_refused(blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--engine", "graph", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main(["train", "dcgan", "--data", str(blobs), *words]) == 3
    error = capsys.readouterr().err
    assert "--engine graph needs a CUDA device" in error
    assert "--engine eager" in error
    assert not (tmp_path / "run").exists()


class Messages(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def say(self, text: str) -> None:
        self.texts.append(text)


def test_a_change_of_the_engine_is_reported_and_recorded_in_the_card(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, messages = ready(blobs), Messages()
    run_step = fast.Engine.run_step

    def gives_up(engine: fast.Engine, *given: object) -> object:
        engine.choice = fast.Choice("eager", "this recipe cannot be recorded: for a test")
        return run_step(engine, *given)

    monkeypatch.setattr(fast.Engine, "run_step", gives_up)
    monkeypatch.setattr(fast.Engine, "_choose", lambda *_: fast.Choice("graph", "a CUDA device"))
    monkeypatch.setattr(fast.graphs, "CudaGraphs", lambda device: None)
    train(prepared, tmp_path / "run", progress=messages)
    assert "continues with engine eager: this recipe cannot be recorded: for a test" in messages.texts
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["engine"] == "eager"
    assert card["why"]["engine"].endswith("for a test")


# --- batches that do not fit ------------------------------------------------------------------------------------------


def small_memory(prepared: Prepared, rows: int) -> Prepared:
    """The run on a device with memory for so many rows in the discriminator's loss."""

    def within(loss: Callable[[Nets, Batch], Terms]) -> Callable[[Nets, Batch], Terms]:
        def checked(nets: Nets, batch: Batch) -> Terms:
            if len(batch["real"]) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            return loss(nets, batch)

        return checked

    players = dict(prepared.recipe.players)
    discriminator: Player = players["discriminator"]
    players["discriminator"] = replace(discriminator, loss=within(discriminator.loss))
    return replace(prepared, recipe=replace(prepared.recipe, players=players))


@pytest.mark.parametrize("rows", [40, *(pytest.param(rows, marks=pytest.mark.slow) for rows in (63, 16))])
def test_a_batch_that_does_not_fit_is_refused_with_the_largest_that_fits(
    blobs: Path, tmp_path: Path, rows: int
) -> None:
    prepared = small_memory(ready(blobs, batch_size=96, precision="fp32"), rows)
    found = largest_batch(prepared, 96)
    assert rows - max(1, rows // 16) <= found <= rows
    with pytest.raises(ConfigError, match="does not fit in the memory of cpu") as caught:
        train(prepared, tmp_path / "run")
    error = str(caught.value)
    assert f"--batch-size {found}" in error
    assert len(error.splitlines()) <= 3
    least = next(n for n in range(2, 97) if 96 % n == 0 and 96 // n <= found)
    assert f"--accumulate {least}" in error
    # Both suggestions work.
    for more in ({"batch_size": found}, {"batch_size": 96, "accumulate": least}):
        fitting = small_memory(ready(blobs, precision="fp32", **more), rows)
        assert train(fitting, tmp_path / f"{more}").step == 4


def test_no_batch_fits(blobs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nor does one of 1: choose smaller"):
        train(small_memory(ready(blobs), 0), tmp_path / "run")


def test_other_errors_are_raised_unchanged(blobs: Path, tmp_path: Path) -> None:
    prepared = ready(blobs)

    def broken(nets: Nets, batch: Batch) -> Terms:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    players = {name: replace(player, loss=broken) for name, player in prepared.recipe.players.items()}
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        train(replace(prepared, recipe=replace(prepared.recipe, players=players)), tmp_path / "run")


def test_micro_batches_that_do_not_divide_are_refused_with_a_batch_size_that_does(blobs: Path) -> None:
    with pytest.raises(ConfigError, match="use --batch-size 6, or another --accumulate"):
        ready(blobs, batch_size=8, accumulate=3)
