"""What programs read is JSON and nothing else, of every command that offers it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

from aigc_zoo.cli import Globals, main, zoo

ASKED = {
    "list": ["list", "--kind", "all"],
    "show": ["show", "dcgan"],
    "plugins": ["plugins"],
    "check": ["check", "zoo/minimax", "--fast"],
    "data list": ["data", "list"],
    "data prepare": ["data", "prepare", "FILE"],
    "data verify": ["data", "verify", "FOLDER"],
    "doctor": ["doctor"],
    "eval": ["eval", "FILE", "--against", "FILE", "--extractor", "zoo-grey28", "--metrics", "variance-ratio"],
}


def offering(command: click.Command, name: str, above: click.Context | None) -> Iterator[str]:
    """Commands with a switch --json."""
    with click.Context(command, info_name=name, parent=above, obj=Globals()) as context:
        if any("--json" in one.opts and getattr(one, "is_flag", False) for one in command.get_params(context)):
            yield name
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                found = command.get_command(context, below)
                assert found is not None
                yield from offering(found, f"{name} {below}".removeprefix("zoo "), context)


def test_none_is_left_out() -> None:
    assert set(offering(zoo, "zoo", None)) == set(ASKED)


@pytest.mark.promise("U6", 1, 1)
@pytest.mark.parametrize("name", ASKED)
def test_it_is_json(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], promise: Any) -> None:
    file = tmp_path / "grey.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (140, 28, 28), np.uint8))
    (tmp_path / "images").mkdir()
    for number in range(3):
        Image.new("L", (28, 28), number).save(tmp_path / "images" / f"{number}.png")
    assert main(["data", "prepare", str(tmp_path / "images")]) == 0
    capsys.readouterr()
    places = {"FILE": str(file), "FOLDER": str(tmp_path / "images")}
    words = [places.get(word, word) for word in ASKED[name]]
    code = main([*words, "--json"])
    out, err = capsys.readouterr()
    assert code in ((0, 1) if name == "doctor" else (0,)), err
    assert json.loads(out)["schema"] == 1
    promise.kept(commands=1, parsed=1)
