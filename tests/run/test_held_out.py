"""Recipes that generate samples from inputs are evaluated on inputs of the split that the metrics compare with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aigc_zoo import options, plugins
from aigc_zoo.errors import ConfigError
from aigc_zoo.run.evaluate import evaluate
from aigc_zoo.run.held_out import inputs_of
from aigc_zoo.run.loop import train
from aigc_zoo.run.prepare import prepare

PLUGIN = """
from dataclasses import replace
import torch
from torch import nn
from aigc_zoo.data.samples import image_samples, with_entries
from aigc_zoo.game import Player, Recipe
from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

@hookimpl
def zoo_components():
    yield Component(kind="recipe", name="copy", target=f"{__name__}:copy", summary="Copies its inputs.")
    yield Component(kind="recipe", name="translate", target=f"{__name__}:translate", summary="Copies its sources.")
    for name in ("test-split", "val-split", "wrapped", "equal", "black", "derived"):
        yield Component(kind="dataset", name=name, target=f"{__name__}:{name.replace('-', '_')}", summary="s")

class Weight(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))

def translate():
    recipe = copy()
    generate = lambda nets, batch: {"fake": nets.G.w * batch["source"]}
    return replace(recipe, generate=generate, inputs=("source",), dataset="equal")

def copy():
    still = lambda parameters: torch.optim.SGD(parameters, lr=0.0)
    return Recipe(
        networks=lambda spec: {"G": Weight(), "D": Weight()},
        generate=lambda nets, batch: {"fake": nets.G.w * batch["real"]},
        generators=("G",), inputs=("real",), dataset="test-split", steps=2, batch_size=8,
        players={name: Player(controls=(net,), loss=lambda nets, batch: {"loss": nets.D.w * batch["fake"].mean()},
                              optimizer=still) for name, net in (("discriminator", "D"), ("generator", "G"))},
    )

def images(count, seed, low):
    values = torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    return (low + (255 - low) * values).to(torch.uint8)

def splits(held, count):
    train = image_samples("copy", "train", images(90, 0, 120))
    return {"train": train, held: image_samples("copy", held, images(count, 1, 0))}

def test_split(where): return splits("test", 48)
def val_split(where): return splits("val", 48)
def wrapped(where): return splits("test", 20)
def equal(where): return {name: with_entries(one, source=one) for name, one in splits("test", 48).items()}

def black(where):
    found = equal(where)
    sources = torch.zeros_like(found["test"].fields["source"])
    return found | {"test": replace(found["test"], fields={**found["test"].fields, "source": sources})}

def derived(where):
    def decoded(samples):
        dark = samples.split == "test"  # an entry that no field stores, black in the test split
        entries = lambda real: {"real": real, "source": torch.full_like(real, -1.0) if dark else real}
        return replace(samples, decode=lambda rows, draw: entries(samples.decode(rows, draw)["real"]))

    return {name: decoded(one) for name, one in splits("test", 48).items()}
"""


@pytest.mark.parametrize(("data", "split", "count"), [("test-split", "test", 48), ("val-split", "val", 48)])
def test_held_out_numbers_are_those_of_held_out_inputs(tmp_path: Path, data: str, split: str, count: int) -> None:
    """The generator copies its inputs, so the samples are the held-out images themselves."""
    (tmp_path / "copying.py").write_text(PLUGIN)
    catalogue = plugins.catalogue((tmp_path / "copying.py",))
    given = {"extractor": "zoo-grey28", "metrics": "variance-ratio,duplicates", "eval_num": count}
    chosen = options.resolve(catalogue, "local/copy", data=f"local/{data}", given=given, origin="python")
    train(prepare(catalogue, chosen), tmp_path / "run")
    held = {r["name"]: r for r in json.loads((tmp_path / "run/held_out.json").read_text())["metrics"]}
    assert held["variance-ratio-zoo-grey28"]["value"] == pytest.approx(1.0, abs=1e-4)
    assert held["variance-ratio-zoo-grey28"]["protocol"]["split"] == split
    assert held["gap-zoo-grey28"]["value"] == pytest.approx(1.0, abs=1e-4)  # with training inputs it is 0
    for other in ("train", split):
        records = evaluate(
            catalogue, tmp_path / "run", split=other, metrics=("variance-ratio",), num=90 if other == "train" else count
        )
        assert records[0]["value"] == pytest.approx(1.0, abs=1e-4), other
    assert torch.is_tensor(prepare(catalogue, chosen).rows(torch.arange(3))["real"])


def test_fewer_inputs_than_samples_are_repeated_and_a_split_without_inputs_is_named(tmp_path: Path) -> None:
    (tmp_path / "copying.py").write_text(PLUGIN)
    catalogue = plugins.catalogue((tmp_path / "copying.py",))
    given = {"extractor": "zoo-grey28", "metrics": "variance-ratio", "eval_num": 40}
    chosen = options.resolve(catalogue, "local/copy", data="local/wrapped", given=given, origin="python")
    prepared = prepare(catalogue, chosen)
    split = prepared.splits["test"]
    inputs = inputs_of(prepared.recipe, split, torch.device("cpu"))
    assert inputs is not None
    assert torch.equal(inputs(torch.arange(20, 40))["real"], inputs(torch.arange(20))["real"])
    assert inputs_of(replace(prepared.recipe, inputs=()), split, torch.device("cpu")) is None
    with pytest.raises(ConfigError, match=r"from 'edges', but the split test of copy has real"):
        inputs_of(replace(prepared.recipe, inputs=("edges",)), split, torch.device("cpu"))
    train(prepared, tmp_path / "run")
    held = json.loads((tmp_path / "run/held_out.json").read_text())["metrics"]
    assert {record["name"] for record in held} == {"variance-ratio-zoo-grey28", "gap-zoo-grey28"}
    assert all(record["value"] == pytest.approx(1.0, abs=0.06) for record in held)


@pytest.mark.parametrize(("data", "expected"), [("equal", 1.0), ("black", 0.0), ("derived", 0.0)])
def test_a_difference_between_the_sources_of_the_splits_is_seen(tmp_path: Path, data: str, expected: float) -> None:
    """The generator copies its sources, which are black in the test split of two of the datasets."""
    (tmp_path / "copying.py").write_text(PLUGIN)
    catalogue = plugins.catalogue((tmp_path / "copying.py",))
    given = {"extractor": "zoo-grey28", "metrics": "variance-ratio", "eval_num": 48}
    chosen = options.resolve(catalogue, "local/translate", data=f"local/{data}", given=given, origin="python")
    run = tmp_path / "run"
    train(prepare(catalogue, chosen), run)
    held = json.loads((run / "held_out.json").read_text())["metrics"]
    training = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert held[0]["value"] == pytest.approx(expected, abs=1e-4)
    assert training[-1]["value"] == pytest.approx(1.0, abs=0.1)
    assert (run / "nearest.png").stat().st_size > 1000
    for split, value in (("test", expected), ("train", 1.0)):
        num = 48 if split == "test" else 90
        records = evaluate(catalogue, run, split=split, metrics=("variance-ratio",), num=num)
        assert records[0]["value"] == pytest.approx(value, abs=1e-4), split
