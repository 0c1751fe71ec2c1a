"""The manifests: readable without torch, and true to what they point at."""

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import aigc_zoo_plugins
from aigc_zoo.options import build, resolve
from aigc_zoo.plugins import catalogue
from aigc_zoo.spec import Component

PACKAGES = sorted(
    path.parent.name
    for path in Path(aigc_zoo_plugins.__path__[0]).glob("*/__init__.py")
    if path.parent.name
    not in ("datasets", "extractors", "tensorboard")  # the last one listens to runs, and has no components
)
GIVEN = {"generator": ["spec", "latent"], "discriminator": ["spec"], "network": ["spec"]}

BLOCKED = """
import json, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "numpy"):
            raise ImportError(f"{name} is not to be imported here")
sys.meta_path.insert(0, Block())
from importlib import import_module
found = {}
for name in sys.argv[1:]:
    module = import_module(f"aigc_zoo_plugins.{name}")
    found[name] = [module.ZOO_API, [[c.kind, c.name, c.target, c.summary] for c in module.zoo_components()]]
print(json.dumps(found))
"""


def components() -> list[Component]:
    modules = [import_module(f"aigc_zoo_plugins.{name}") for name in PACKAGES]
    return [component for module in modules for component in module.zoo_components()]


def target(component: Component) -> Any:
    """The target of a component, or of the recipe that it extends."""
    if component.extends:
        (component,) = [one for one in EVERY if component.extends == one.name and one.kind == "recipe"]
    module, _, name = component.target.partition(":")
    return getattr(import_module(module), name)


def keywords(component: Component) -> Mapping[str, inspect.Parameter]:
    parameters = inspect.signature(target(component), eval_str=True).parameters
    return {name: one for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}


EVERY = components()
IDS = [f"{component.kind}-{component.name}" for component in EVERY]


def test_manifests_are_read_without_torch_or_numpy() -> None:
    command = [sys.executable, "-c", BLOCKED, *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {api for api, _ in found.values()} == {1}
    assert [tuple(one) for _, ours in found.values() for one in ours] == [
        (component.kind, component.name, component.target, component.summary) for component in EVERY
    ]


def test_the_issue_s_components_are_there() -> None:
    found = {(component.kind, component.name) for component in EVERY}
    networks = {(kind, name) for kind in ("generator", "discriminator") for name in ("vanilla", "primer", "dcgan")}
    assert networks <= found
    assert {("recipe", "vanilla"), ("recipe", "primer"), ("recipe", "dcgan")} <= found
    assert {("loss", "minimax"), ("loss", "non-saturating")} <= found
    assert len(found) == len(EVERY)


@pytest.mark.parametrize("component", EVERY, ids=IDS)
def test_targets_are_what_their_kind_asks_for(component: Component) -> None:
    positional = [
        name
        for name, one in inspect.signature(target(component)).parameters.items()
        if one.kind is one.POSITIONAL_OR_KEYWORD
    ]
    assert positional == GIVEN.get(component.kind, [])


@pytest.mark.parametrize("component", EVERY, ids=IDS)
def test_every_option_is_explained_in_the_docstring_s_last_paragraph(component: Component) -> None:
    options = keywords(component)
    column = inspect.getdoc(target(component)).split("\n\n")[-1].splitlines() if options else []
    explained = [re.fullmatch(r"(\w+): \S.*\.", line) for line in column]
    assert all(explained), column
    slots = [name for name, one in options.items() if _slot(one)]  # these explain themselves
    said = [match.group(1) for match in explained if match]
    assert [name for name in options if name in said or name not in slots] == said


@pytest.mark.parametrize("component", [one for one in EVERY if one.kind == "recipe"], ids=lambda one: one.name)
def test_slots_name_components_that_exist(component: Component) -> None:
    known = {(one.kind, one.name) for one in EVERY}
    slots = {name: (_slot(one), one.default) for name, one in keywords(component).items() if _slot(one)}
    if "gan" in (component.name, component.extends):
        assert {"generator", "discriminator", "loss", "penalty", "augmentation"} <= slots.keys()
    for kind, default in slots.values():
        for name in default if isinstance(default, tuple) else (default,):
            assert name is None or (kind, name.partition(".")[0]) in known


def _slot(parameter: inspect.Parameter) -> str:
    """The kind that a parameter takes, where it is a slot: alone, repeated or optional."""
    found = re.search(r"Slot\(kind='(\w+)'", str(parameter.annotation))
    return found[1] if found else ""


def preset_cases() -> list[tuple[str, str]]:
    return [(one.name, preset) for one in EVERY if one.kind == "recipe" for preset in one.presets]


@pytest.mark.parametrize(("name", "preset"), preset_cases())
def test_presets_set_options_that_exist_to_other_than_their_defaults(name: str, preset: str) -> None:
    (recipe,) = [one for one in EVERY if (one.kind, one.name) == ("recipe", name)]
    plain = resolve(catalogue(), f"zoo/{name}", given={"data": "nothing"})
    chosen = resolve(catalogue(), f"zoo/{name}.{preset}")
    for key, value in recipe.presets[preset].items():
        if key in chosen.slots:  # a component, perhaps with a preset of its own
            part, _, small = str(value).partition(".")
            assert chosen.slots[key] == f"zoo/{part}"
            kind = _slot(keywords(recipe)[key])
            (component,) = [one for one in EVERY if (one.kind, one.name) == (kind, part)]
            assert all(chosen.options[f"{key}.{name}"] == one for name, one in component.presets.get(small, {}).items())
            continue
        assert (chosen.options | chosen.run.card())[key] == value
        assert (plain.options | plain.run.card())[key] != value, f"{key} says what is the default anyway"
    game = build(catalogue(), chosen)
    assert set(game.players) == {"discriminator", "generator"}
