"""`zoo show` lists the sampling options of recipes, read from source where that is possible."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aigc_zoo.cli import main

HEAD = """
from typing import Annotated, Literal
from aigc_zoo.game import Player, Recipe
from aigc_zoo.spec import Component, Range, hookimpl
ZOO_API = 1
@hookimpl
def zoo_components():
    for name in ("one", "two"):
        yield Component(kind="recipe", name=name, target=f"{__name__}:{name}", summary="s", defaults=ALL)
ALL = {"data": "digits", "batch_size": 4, "steps": 1}
def player():
    return {"only": Player(controls=("G",), loss=None, optimizer=lambda parameters: None)}
"""

NESTED = """
def one():
    def draw(nets, batch, *, cut: Annotated[float, Range(0, 2)] = 1.0, order: Literal["a", "b"] = "a"):
        '''Draws.

        cut: truncation of the noise.
        '''
        return {}
    return Recipe(networks=lambda spec: {}, players=player(), generate=draw)
def two():
    return one()
"""
METHOD = """
class Game:
    def make(self, nets, batch, *, cut: Annotated[float, Range(0, 2)] = 1.0, order: Literal["a", "b"] = "a"):
        '''Draws.

        cut: truncation of the noise.
        '''
        return {}
def shared(**more):
    return Recipe(networks=lambda spec: {}, players=player(), generate=Game().make)
def one():
    return shared()
def two():
    return one()
"""
BUILT = """
def made():
    def draw(nets, batch, *, cut: Annotated[float, Range(0, 2)] = 1.0, order: Literal["a", "b"] = "a"):
        '''Draws.

        cut: truncation of the noise.
        '''
        return {}
    return {"generate": draw}
def one():
    return Recipe(networks=lambda spec: {}, players=player(), **made())
two = one
"""


@pytest.fixture(params=[NESTED, METHOD, BUILT], ids=["nested", "method", "built"])
def mine(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + request.param)
    return str(path)


@pytest.mark.parametrize("name", ["one", "two"])
def test_sampling_options_are_shown(mine: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plugin", mine, "show", name]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "sampling options, of zoo sample: --cut FLOAT Truncation of the noise. [default: 1.0; 0.0 to 2.0]" in (
        text.replace("0 to 2]", "0.0 to 2.0]")
    )
    assert "--order a|b" in text
    assert main(["--plugin", mine, "show", name, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["sampling_options"]
    assert [(row["key"], row["type"], row["default"]) for row in rows] == [("cut", "float", 1.0), ("order", "str", "a")]


def test_recipes_without_sampling_options_show_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "dcgan"]) == 0
    assert "sampling options" not in capsys.readouterr().out


def test_a_sampling_option_that_cannot_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "def one():\n    def draw(nets, batch, *, cut=1.0): ...\n"
    code += "    return Recipe(networks=lambda spec: {}, players=player(), generate=draw)\ntwo = one\n"
    (tmp_path / "odd.py").write_text(HEAD + code)
    assert main(["--plugin", str(tmp_path / "odd.py"), "show", "one"]) == 0
    assert "parameter cut: its type is missing" in capsys.readouterr().err


def test_the_sources_of_first_party_recipes_suffice() -> None:
    code = (
        "import sys\nfrom aigc_zoo.options.static_signatures import static_generate\n"
        "from aigc_zoo.plugins import catalogue\n"
        "bad = [e.id for e in catalogue().items('recipe') if static_generate(e.target) is None]\n"
        "assert not bad and 'torch' not in sys.modules, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
