"""Extractors in slots of recipes: frozen networks of losses, in training, resumed runs, files and evaluations."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from sketch.two_player import assert_same_steps, taped

import aigc_zoo
from aigc_zoo import options, plugins
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.errors import ConfigError, DataError, DivergedError, ZooError
from aigc_zoo.plugins import Catalogue
from aigc_zoo.random import generator
from aigc_zoo.run.footprint import footprint
from aigc_zoo.run.generator import digest_of, load_generator
from aigc_zoo.run.loop import train
from aigc_zoo.run.prepare import Prepared, prepare
from aigc_zoo.run.progress import Result
from aigc_zoo.testing.runner import cases_of, run_check
from aigc_zoo.testing.thread_ranks import run_on_ranks

from .conftest import digests_of

PLUGIN = """
from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import nn
from aigc_zoo.data.samples import image_samples, samples_of, with_entries
from aigc_zoo.game import Player, Recipe, Spec, adam
from aigc_zoo.spec import Component, Slot, hookimpl
from aigc_zoo_plugins.modalities.audio import Audio

ZOO_API = 1
SCALE = 1.0  # of the weights of "dial", which is another network after an update of its package
BUILT = []


@hookimpl
def zoo_components():
    def component(kind, name, **more):
        return Component(kind=kind, name=name, target=f"{__name__}:{name}", summary="s", notes="n", **more)

    yield component("recipe", "translate", defaults={"data": "local/pairs"}, presets={"plain": {"features": "none"}})
    yield component("recipe", "several", defaults={"data": "local/pairs"})
    yield component("recipe", "refine", defaults={"data": "local/pairs"})
    yield component("dataset", "pairs")
    yield component("dataset", "sounds")
    yield component("extractor", "dial", shapes=((3, 32, 32),))
    yield component("extractor", "remote")


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))

    def forward(self, x):
        return torch.tanh(self.body(x))


def translate(*, features: Annotated[Any, Slot("extractor")] | None = "zoo-rgb32", weight: float = 1.0) -> Recipe:
    def generate(nets, batch):
        return {"fake": nets.G(batch["source"])}

    def loss(nets, batch):
        terms = {"l1": (batch["fake"] - batch["real"]).abs().mean()}
        if features is not None:
            fake, real = (nets.F(batch[name])["features"] for name in ("fake", "real"))
            terms["features"] = weight * (fake - real).square().mean()
            terms["_training"] = torch.tensor(float(nets.F.training))
        return terms

    player = Player(controls=("G",), loss=loss, optimizer=adam(1e-2, 0.5, 0.9))
    return Recipe(networks=lambda spec: {"G": Translator()}, players={"generator": player}, generate=generate,
                  frozen={} if features is None else {"F": features}, inputs=("source",), ema={"G": 0.9},
                  batch_size=4, steps=6)


def several(*, features: Annotated[tuple[Any, ...], Slot("extractor")] = ("zoo-rgb32", "remote")) -> Recipe:
    return replace(translate(features=None), frozen={f"F{n}": build for n, build in enumerate(features)})


def refine(*, features: Annotated[Any, Slot("extractor")] = "dial") -> Recipe:
    def generate(nets, batch):
        level = nets.F(batch["source"].expand(-1, 3, -1, -1))["features"].tanh()
        return {"fake": nets.G(batch["source"]) * level[:, :, None, None]}

    player = Player(controls=("G",), loss=lambda nets, batch: {"l1": (batch["fake"] - batch["real"]).abs().mean()},
                    optimizer=adam(1e-2, 0.5, 0.9))
    return Recipe(networks=lambda spec: {"G": Translator()}, players={"generator": player}, generate=generate,
                  frozen={"F": features}, generators=("G", "F"), inputs=("source",), batch_size=4, steps=4)


class Dial(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.register_buffer("scale", scale)

    def forward(self, x):
        if x.shape[1:] != (3, 32, 32):
            raise ValueError("only 3x32x32")
        x = x.float() / 127.5 - 1 if x.dtype == torch.uint8 else x
        return {"features": self.scale * x.mean((2, 3))}


def dial():
    BUILT.append("dial")
    return Dial(torch.full((1,), SCALE))


def remote(weights):
    return Dial(weights("https://127.0.0.1:9/remote.pth", sha256="0" * 64, size=2_000)["scale"])


def images(count, seed, channels, split):
    stream = torch.Generator().manual_seed(seed)
    rows = torch.randint(256, (count, channels, 32, 32), generator=stream, dtype=torch.uint8)
    return image_samples("pairs", split, rows)


def pairs(where):
    found = {}
    for split, count in (("train", 24), ("test", 16)):
        found[split] = with_entries(images(count, count, 3, split), source=images(count, count + 1, 1, split))
    return found


def sounds(where):
    spec = Spec(shape=(1, 64), modality="audio", rate=8000.0)
    wave = torch.randint(-9000, 9000, (12, 1, 64), generator=torch.Generator().manual_seed(2), dtype=torch.int16)
    real = samples_of(Audio(), "sounds", "train", spec, wave)
    return {"train": with_entries(real, source=real)}
"""

SETTINGS = {"save_every": 2, "sample_every": 3, "log_every": 1, "eval_every": 3, "device": "cpu", "precision": "fp32"}


@pytest.fixture
def zoo(tmp_path: Path) -> Catalogue:
    (tmp_path / "extracting.py").write_text(PLUGIN)
    return plugins.catalogue((tmp_path / "extracting.py",))


@pytest.fixture
def module(zoo: Catalogue) -> Iterator[ModuleType]:
    """The module of the plugin, whose scale is restored."""
    found = sys.modules[zoo.find("extractor", "local/dial").entry.target.partition(":")[0]]
    yield found
    found.SCALE = 1.0


def ready(zoo: Catalogue, recipe: str = "translate", **given: Any) -> Prepared:
    values = {key: value for key, value in {**SETTINGS, **given}.items() if value is not None}
    return prepare(zoo, options.resolve(zoo, f"local/{recipe}", given=values, origin="python"))


def ran(zoo: Catalogue, out: Path, recipe: str = "translate", **given: Any) -> Result:
    return train(ready(zoo, recipe, **given), out)


def weights_file(path: Path, scale: float) -> Path:
    torch.save({"scale": torch.full((1,), scale)}, path)
    return path


# --- training ---------------------------------------------------------------------------------------------------------


def test_an_extractor_is_frozen_and_gradients_pass_through_it(zoo: Catalogue) -> None:
    trainer = ready(zoo).trainer()
    assert list(trainer.frozen) == ["F"]
    before = digest_of(trainer.frozen["F"])
    first = trainer.train_step()
    assert float(first["generator/_training"]) == 0.0
    for _ in range(5):
        last = trainer.train_step()
    assert digest_of(trainer.frozen["F"]) == before
    assert not trainer.frozen["F"].training
    assert not any(parameter.requires_grad for parameter in trainer.frozen["F"].parameters())
    assert list(trainer.ema) == ["G"]
    own = {id(parameter) for parameter in trainer.nets.G.parameters()}
    optimized = {id(one) for group in trainer.optimizers["generator"].param_groups for one in group["params"]}
    assert optimized == own
    assert float(last["generator/features"]) < float(first["generator/features"])
    tensors, _ = trainer.state()
    assert not [name for name in tensors if "F." in name]


def test_the_loss_is_that_of_the_extractor_itself(zoo: Catalogue) -> None:
    trainer = ready(zoo, weight=0.0).trainer()
    batch = trainer.batch(0) | {"fake": -trainer.batch(0)["real"]}
    loss = trainer.recipe.players["generator"].loss
    assert callable(loss)
    module = zoo.find("extractor", "zoo-rgb32").entry.load()().eval()
    fake, real = (module(batch[name])["features"] for name in ("fake", "real"))
    expected = (fake - real).square().mean().detach()
    found = ready(zoo).recipe.players["generator"].loss(trainer.nets, batch)["features"]  # type: ignore[operator]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("recipe", ["translate", "refine"])
def test_every_conformance_check_passes(zoo: Catalogue, recipe: str) -> None:
    """Among them: two ranks equal one, a resumed run equals an undisturbed one, its card rebuilds it."""
    results = [run_check(case) for case in cases_of(zoo, f"local/{recipe}", tiers=("cpu",))]
    assert [(one.check, one.reason) for one in results if one.status != "passed"] == []
    assert {"R-RANKS", "R-RESUME", "R-SAVE", "R-CARD", "R-TURNS"} <= {one.check for one in results}


def test_two_ranks_train_as_one(zoo: Catalogue) -> None:
    prepared = ready(zoo, batch_size=8)

    def steps(ranks: Any) -> dict[str, torch.Tensor]:
        trainer = replace(prepared, ranks=ranks).trainer(torch.float64)
        for _ in range(3):
            trainer.train_step()
        return dict(trainer.nets.named_parameters())

    one, other = run_on_ranks(steps)
    for name, value in steps(prepared.ranks).items():
        torch.testing.assert_close(one[name], value, rtol=1e-9, atol=1e-10)
        assert torch.equal(one[name], other[name])


def test_bf16_follows_float32_and_recorded_steps_equal_eager(zoo: Catalogue) -> None:
    ours, theirs = ready(zoo, precision="bf16").trainer(), ready(zoo).trainer()
    for _ in range(3):
        one, other = ours.train_step(), theirs.train_step()
        for term, value in one.items():
            assert value.dtype == torch.float32
            torch.testing.assert_close(value, other[term], rtol=0.1, atol=0.05)
    ours, theirs = ready(zoo).trainer(), ready(zoo).trainer()
    tapes = taped(ours, "auto")
    assert_same_steps(ours, theirs, 5)
    assert ours.engine.choice.name == "graph", ours.engine.choice.why
    assert tapes.tapes >= 1


def test_features_that_are_not_finite_stop_the_run(zoo: Catalogue, module: ModuleType, tmp_path: Path) -> None:
    module.SCALE = float("nan")
    with pytest.raises(DivergedError, match="step 0"):
        ran(zoo, tmp_path / "run", features="dial")


# --- the run directory ------------------------------------------------------------------------------------------------


def test_a_run_records_its_extractor_and_stores_none_of_it(zoo: Catalogue, tmp_path: Path) -> None:
    run = RunDirectory(ran(zoo, tmp_path / "run").folder)
    card = run.read_card()
    extractor = zoo.find("extractor", "zoo-rgb32").entry.load()()
    assert card["slots"] == {"features": "zoo/zoo-rgb32"}
    assert card["loss_extractors"] == ["zoo/zoo-rgb32"]
    assert card["frozen"] == {"F": digest_of(extractor)}
    tensors, own = checkpoint.load(run.generator_path)
    assert {name.partition(".")[0] for name in tensors} == {"G"}
    assert (own["frozen"], own["loss_extractors"]) == (card["frozen"], card["loss_extractors"])
    found = run.newest_valid()
    assert found is not None
    assert not [name for name in found.tensors if ".F." in name or "/F." in name]
    configuration = options.resolve(zoo, None, file=options.read_file(run.path), origin="python")
    assert configuration.card()["slots"] == card["slots"], "the card is a configuration file"
    without = RunDirectory(ran(zoo, tmp_path / "without", "translate.plain").folder).read_card()
    assert (without["frozen"], without["loss_extractors"], without["slots"]) == ({}, [], {"features": None})


def test_a_resumed_run_is_equal_bit_for_bit(zoo: Catalogue, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    ran(zoo, whole)
    ran(zoo, parts, steps=3)
    ran(zoo, parts)
    assert digests_of(parts) == digests_of(whole)


def test_a_run_resumes_only_with_the_same_weights(zoo: Catalogue, module: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ran(zoo, out, features="dial", steps=3)
    module.SCALE = 2.0
    with pytest.raises(ConfigError, match=r"now 6; frozen\.F [0-9a-f]+\.\.\., now [0-9a-f]+"):
        ran(zoo, out, features="dial")
    module.SCALE = 1.0
    assert ran(zoo, out, features="dial").reason == "done"
    with pytest.raises(ConfigError, match="features local/dial, now zoo/zoo-rgb32"):
        ran(zoo, out)


def test_a_run_of_an_earlier_version_resumes(zoo: Catalogue, tmp_path: Path) -> None:
    """Its card has no digests of frozen networks."""
    out = tmp_path / "run"
    ran(zoo, out, steps=3)
    run = RunDirectory(out)
    run.card_path.write_text(
        json.dumps({key: value for key, value in run.read_card().items() if key not in ("frozen", "loss_extractors")})
    )
    assert ran(zoo, out).reason == "done"


def test_samples_need_no_extractor_of_a_loss(zoo: Catalogue, module: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ran(zoo, out, features="dial")
    module.BUILT.clear()
    inputs = ready(zoo, features="dial").rows
    for path in (out, RunDirectory(out).checkpoints()[-1][1]):
        found = load_generator(zoo, path)
        assert list(found.nets) == ["G"]
        assert found.sample(3, inputs=inputs).shape == (3, 3, 32, 32)
    assert module.BUILT == []


def test_an_extractor_that_samples_need_is_rebuilt_with_equal_weights(
    zoo: Catalogue, module: ModuleType, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    ran(zoo, out, "refine")
    inputs = ready(zoo, "refine").rows
    found = load_generator(zoo, out)
    assert list(found.nets) == ["G", "F"]
    assert torch.equal(found.sample(2, inputs=inputs), load_generator(zoo, out).sample(2, inputs=inputs))
    tensors, _ = checkpoint.load(RunDirectory(out).generator_path)
    assert {name.partition(".")[0] for name in tensors} == {"G"}
    module.SCALE = 2.0
    for path in (out, RunDirectory(out).checkpoints()[-1][1]):
        with pytest.raises(ConfigError, match="the frozen network F differs from the one used in training"):
            load_generator(zoo, path)


# --- extractors whose weights are not shipped -------------------------------------------------------------------------


def test_a_slot_takes_a_file_of_weights(zoo: Catalogue, tmp_path: Path) -> None:
    file = weights_file(tmp_path / "weights.pth", 0.5)
    given = {"features": "remote", "features.weights": str(file)}
    out = tmp_path / "run"
    prepared = ready(zoo, **given, steps=3)
    assert prepared.trainer().frozen["F"].scale.tolist() == [0.5]
    train(prepared, out)
    card = RunDirectory(out).read_card()
    assert card["options"]["features.weights"] == str(file)
    assert card["files"]["options.features.weights"][0]["path"] == str(file)
    assert list(load_generator(zoo, out).nets) == ["G"]
    moved = file.rename(tmp_path / "moved.pth")
    assert ran(zoo, out, **given | {"features.weights": str(moved)}).reason == "done"
    weights_file(moved, 0.25)
    with pytest.raises(ConfigError, match="was started with"):
        ran(zoo, out, **given | {"features.weights": str(moved)}, steps=7)


def test_messages_name_the_option_of_the_slot(zoo: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ZooError, match="cannot be downloaded") as failed:
        ready(zoo, features="remote").trainer()
    assert "pass the file with --features.weights FILE" in str(failed.value)
    with pytest.raises(DataError, match=r"another file with --features\.weights FILE"):
        ready(zoo, features="remote", **{"features.weights": str(tmp_path / "none.pth")}).trainer()
    with pytest.raises(ZooError, match=r"--features\.weights with --features zoo-rgb32: --features .* brings it"):
        ready(zoo, **{"features.weights": "x"})


def test_a_slot_holds_several_extractors(zoo: Catalogue, tmp_path: Path) -> None:
    file = weights_file(tmp_path / "weights.pth", 0.5)
    prepared = ready(zoo, "several", **{"features.remote.weights": str(file)})
    trainer = prepared.trainer()
    assert list(trainer.frozen) == ["F0", "F1"]
    assert prepared.card(trainer.engine.choice, trainer.frozen)["loss_extractors"] == ["local/remote", "zoo/zoo-rgb32"]
    with pytest.raises(DataError, match=r"another file with --features\.remote\.weights FILE"):
        ready(zoo, "several", **{"features.remote.weights": str(tmp_path / "none.pth")}).trainer()


# --- what is refused and estimated ------------------------------------------------------------------------------------


def test_an_extractor_of_another_modality_is_refused(zoo: Catalogue) -> None:
    with pytest.raises(ConfigError) as refused:
        ready(zoo, data="local/sounds")
    assert str(refused.value) == (
        "extractor zoo/zoo-rgb32 takes samples of the modality image, and sounds has audio: "
        "choose another one with --features"
    )
    assert ready(zoo, "translate.plain", data="local/sounds").train.spec.modality == "audio"


def test_an_extractor_of_another_shape_is_refused_before_training(zoo: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"zoo-grey28 accepts .* choose another extractor for this loss"):
        ran(zoo, tmp_path / "run", features="zoo-grey28")
    assert not (tmp_path / "run").exists()


def test_its_memory_is_estimated(zoo: Catalogue, tmp_path: Path) -> None:
    row = torch.zeros(1, dtype=torch.int64)

    def estimate(recipe: str = "translate", **given: Any) -> Any:
        prepared = ready(zoo, recipe, **given)
        return footprint(prepared, prepared.batch_size, prepared.rows(row))

    bare, found = estimate("translate.plain"), estimate()
    module = zoo.find("extractor", "zoo-rgb32").entry.load()()
    assert found.weights - bare.weights == sum(value.nbytes for value in module.state_dict().values())
    assert (found.checkpoint, found.optimizer, found.ema) == (bare.checkpoint, bare.optimizer, bare.ema)
    assert found.step > bare.step
    file = weights_file(tmp_path / "weights.pth", 0.5)
    assert estimate(features="remote", **{"features.weights": str(file)}).weights == bare.weights + 4


def test_a_frozen_network_needs_a_name_of_its_own(zoo: Catalogue) -> None:
    prepared = ready(zoo)
    recipe = replace(prepared.recipe, frozen={"G": prepared.recipe.frozen["F"]})
    with pytest.raises(ConfigError, match="calls a network and a frozen one G"):
        replace(prepared, recipe=recipe).trainer()


def test_python_receives_the_function_that_builds_it(zoo: Catalogue) -> None:
    recipe = options.build(zoo, options.resolve(zoo, "local/translate", origin="python"))
    features = recipe.frozen["F"]()
    x = torch.rand(2, 3, 32, 32, generator=generator("x"))
    assert features(x)["features"].shape == (2, 128)
    assert isinstance(aigc_zoo.create("zoo/pix2pix", features="zoo-rgb32").frozen, Mapping)
