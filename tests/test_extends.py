"""Recipes made of data: a row that extends another recipe, of this repository or of a stranger's package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from aigc_zoo import options
from aigc_zoo.discovery import Entry, Manager
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Spec
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.prepare import prepare
from aigc_zoo.spec import Component
from aigc_zoo.testing import run_checks

ROW = '''"""Soft LSGAN: least squares with R1."""

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components():
    yield Component(kind="recipe", name="soft-lsgan", extends="zoo/lsgan", summary="LSGAN with R1 and one update of D",
                    notes="Mao et al. (2017) with the penalty of Mescheder et al. (2018), eq. 9.",
                    defaults={"discriminator": "dcgan.plain", "penalty": "r1", "discriminator_turns": 1},
                    presets={"tiny": {"preset": "lsgan.digits", "images": 640}})
'''

# The same package also has a generator called dcgan, and a row that asks for it by its own reference.
MORE = '''    yield Component(kind="generator", name="dcgan", target=f"{__name__}:flat", summary="Captures nothing")
    yield Component(kind="recipe", name="own", extends="soft-lsgan", summary="Uses it", defaults={"generator": "dcgan"})


def flat(spec, latent, *, depth: int = 1):
    """A linear generator.

    depth: not used.
    """
    import math

    from torch import nn

    return nn.Sequential(nn.Linear(latent, math.prod(spec.shape)), nn.Unflatten(1, spec.shape))
'''


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """A catalogue in which the distribution aigc-zoo-acme 0.2 is installed."""
    (tmp_path / "aigc_zoo_acme.py").write_text(ROW + MORE)
    info = tmp_path / "aigc_zoo_acme-0.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aigc-zoo-acme\nVersion: 0.2\n")
    (info / "entry_points.txt").write_text("[aigc_zoo]\nacme = aigc_zoo_acme\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "aigc_zoo_acme", raising=False)
    manager = Manager()
    manager.load_setuptools_entrypoints()
    return Catalogue(manager)


def test_a_row_is_ten_lines_of_data() -> None:
    assert len([line for line in ROW.splitlines() if line.strip()]) <= 12


def test_a_row_has_the_options_of_its_base_and_each_default_says_where_it_comes_from(acme: Catalogue) -> None:
    found = {option.key: (option.default, option.source) for option in options.options_of(acme, "acme/soft-lsgan")}
    assert found["latent"] == (128, "zoo/lsgan")
    assert found["loss"] == ("least-squares", "zoo/lsgan")
    assert found["discriminator_turns"] == (1, "acme/soft-lsgan")
    assert found["discriminator.norm"] == ("none", "preset dcgan.plain")
    assert found["penalty.r1.weight"] == (5.0, "zoo/r1")
    assert found["lr"] == (2e-4, "")
    settings = {option.key: (option.default, option.source) for option in options.settings_of(acme, "acme/soft-lsgan")}
    assert settings == {"data": ("digits", "zoo/gan"), "batch_size": (64, "zoo/lsgan"), "steps": (200_000, "zoo/lsgan")}


def test_a_generator_of_the_same_name_captures_nothing(acme: Catalogue) -> None:
    for name in ("zoo/lsgan", "zoo/dcgan", "acme/soft-lsgan"):
        assert options.resolve(acme, name, data="nothing").slots["generator"] == "zoo/dcgan"
    own = options.resolve(acme, "acme/own", data="nothing")
    assert own.slots["generator"] == "acme/dcgan"
    assert own.options["generator.depth"] == 1
    assert "generator.width" not in own.options


def test_a_preset_builds_on_a_preset_of_another_recipe(acme: Catalogue) -> None:
    tiny = options.resolve(acme, "acme/soft-lsgan.tiny")
    assert (tiny.run.images, tiny.run.steps, tiny.options["lr"]) == (640, None, 1e-3)
    assert tiny.slots["discriminator"] == "zoo/dcgan"
    assert tiny.options["discriminator.norm"] == "batch"  # lsgan.digits chooses dcgan.narrow, above the row's defaults
    again = options.resolve(acme, None, file=tiny.card())
    assert again == tiny


def test_flags_stand_above_presets_and_defaults(acme: Catalogue) -> None:
    given = {"lr": 0.25, "penalty": "gp", "steps": 3}
    chosen = options.resolve(acme, "acme/soft-lsgan.tiny", given=given)
    assert (chosen.options["lr"], chosen.slots["penalty"], chosen.run.steps) == (0.25, ("zoo/gp",), 3)
    assert chosen.set_by["lr"] == "cli"
    assert "penalty.r1.weight" not in chosen.options


def test_a_row_trains_under_its_own_name(acme: Catalogue) -> None:
    given = {"generator.width": 4, "discriminator.width": 4, "latent": 4}
    configuration = options.resolve(acme, "acme/soft-lsgan", data="nothing", given=given)
    card = configuration.card()
    assert card["recipe"] == "acme/soft-lsgan"
    assert {name: about["version"] for name, about in card["plugins"].items()}["aigc-zoo-acme"] == "0.2"
    recipe = options.build(acme, configuration)

    def source(number: int) -> dict[str, torch.Tensor]:
        return {"real": torch.zeros(4, 1, 8, 8)}

    trainer = Trainer(recipe, Spec(shape=(1, 8, 8)), source, batch_size=4, steps=1)
    assert set(trainer.train_step()) >= {"discriminator/loss", "discriminator/r1", "generator/loss"}


def test_the_conformance_checks_take_a_row(acme: Catalogue, tmp_path: Path) -> None:
    file = tmp_path / "rows.py"
    file.write_text(ROW)
    bad = [result for result in run_checks(file, fast=True) if result.bad]
    assert bad == []


def row(name: str, extends: str, **more: Any) -> Entry:
    return Entry(
        Component(kind="recipe", name=name, summary="s", extends=extends, **more), "acme", "aigc-zoo-acme", "1"
    )


def extended(acme: Catalogue, *rows: Entry) -> Catalogue:
    manager = Manager()
    manager.entries = {(entry.kind, entry.id): entry for entry in [*acme.items(), *rows]}
    return Catalogue(manager)


@pytest.mark.parametrize(
    ("extends", "reason"),
    [
        ("zoo/nope", r"recipe acme/lost extends 'zoo/nope': unknown recipe 'zoo/nope'"),
        (
            "beta/base",
            "recipe acme/lost extends 'beta/base': unknown recipe 'beta/base'; "
            "no package of the namespace beta/ is installed: it is called aigc-zoo-beta or beta",
        ),
        ("lost", r"recipe acme/lost extends 'lost': it extends itself: acme/lost -> acme/lost"),
    ],
)
def test_a_missing_base_makes_that_row_broken_by_name(acme: Catalogue, extends: str, reason: str) -> None:
    catalogue = extended(acme, row("lost", extends))
    (record,) = [record for record in catalogue.records if record.status == "broken"]
    assert record.reason.startswith(reason)
    assert "acme/lost" not in [entry.id for entry in catalogue.items("recipe")]
    assert "acme/soft-lsgan" in [entry.id for entry in catalogue.items("recipe")]
    with pytest.raises(ConfigError, match=r"unknown recipe 'lost'(?s:.*)is broken: recipe acme/lost extends"):
        catalogue.find("recipe", "lost")


def test_defaults_that_mean_nothing_are_refused_when_used_and_not_when_listed(acme: Catalogue) -> None:
    catalogue = extended(acme, row("odd", "zoo/gan", defaults={"rate": 1.0}))
    assert "acme/odd" in [entry.id for entry in catalogue.items("recipe")]
    with pytest.raises(ConfigError, match=r"no option --rate.*\(defaults of recipe acme/odd\)"):
        options.resolve(catalogue, "acme/odd")


@pytest.mark.parametrize(
    ("presets", "message"),
    [
        ({"a": {"preset": "nope"}}, r"preset 'nope' does not exist in recipe acme/built \(preset built.a\)"),
        ({"a": {"preset": "lsgan.nope"}}, r"recipe zoo/lsgan has no preset 'nope'"),
        ({"a": {"preset": "b"}, "b": {"preset": "c"}, "c": {}}, r"preset built.b builds on another preset"),
    ],
)
def test_a_preset_builds_on_one_level_that_exists(acme: Catalogue, presets: Any, message: str) -> None:
    catalogue = extended(acme, row("built", "zoo/gan", presets=presets))
    with pytest.raises(ConfigError, match=message):
        options.resolve(catalogue, "acme/built.a")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"extends": "zoo/gan", "target": "a:b"}, "brings its own target"),
        ({"extends": "zoo/gan", "kind": "loss"}, "only a recipe can extend"),
        ({"extends": "zoo/gan.mnist"}, "is not '\\[namespace/\\]name' of a recipe"),
        ({}, "target '' is not 'package.module:callable'"),
        ({"extends": "zoo/gan", "presets": {"default": {}}}, "not a preset called default"),
        ({"extends": "zoo/gan", "defaults": {"penalty": ("gp",)}}, "x.defaults: penalty is a tuple"),
        ({"extends": "zoo/gan", "notes": 3}, "notes must be strings"),
    ],
)
def test_components_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Component(**{"kind": "recipe", "name": "x", "summary": "s", **fields})


def test_no_recipe_of_the_repository_is_built_to_learn_its_defaults(
    acme: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("resolving built the recipe")

    monkeypatch.setattr(options.configuration, "call", fail)
    for entry in acme.items("recipe"):
        for name in (entry.id, *(f"{entry.id}.{preset}" for preset in entry.component.presets)):
            assert options.resolve(acme, name).run.data


def test_training_builds_its_recipe_once(acme: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def counting(entry: Entry, /, *positional: Any, **keywords: Any) -> Any:
        built.append(entry.id)
        return call(entry, *positional, **keywords)

    call = options.configuration.call
    monkeypatch.setattr(options.configuration, "call", counting)
    configuration = options.resolve(acme, "zoo/dcgan", given={"steps": 2, "batch_size": 4})
    prepare(acme, configuration)
    assert built == ["zoo/dcgan"]
