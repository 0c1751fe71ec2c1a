"""Every command with a switch --json prints valid JSON and nothing else on stdout."""

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

COMMANDS = {
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


def with_json(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    """Names of the commands that have a switch --json."""
    with click.Context(command, info_name=name, parent=parent, obj=Globals()) as context:
        if any("--json" in option.opts and getattr(option, "is_flag", False) for option in command.get_params(context)):
            yield name
        if isinstance(command, click.Group):
            for child in command.list_commands(context):
                subcommand = command.get_command(context, child)
                assert subcommand is not None
                yield from with_json(subcommand, f"{name} {child}".removeprefix("zoo "), context)


def test_all_commands_with_json_are_tested() -> None:
    assert set(with_json(zoo, "zoo", None)) == set(COMMANDS)


@pytest.mark.promise("U6", 1, 1)
@pytest.mark.parametrize("name", COMMANDS)
def test_stdout_is_json(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], promise: Any) -> None:
    file = tmp_path / "grey.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (140, 28, 28), np.uint8))
    (tmp_path / "images").mkdir()
    for number in range(3):
        Image.new("L", (28, 28), number).save(tmp_path / "images" / f"{number}.png")
    assert main(["data", "prepare", str(tmp_path / "images")]) == 0
    capsys.readouterr()
    paths = {"FILE": str(file), "FOLDER": str(tmp_path / "images")}
    args = [paths.get(word, word) for word in COMMANDS[name]]
    code = main([*args, "--json"])
    out, err = capsys.readouterr()
    assert code in ((0, 1) if name == "doctor" else (0,)), err
    assert json.loads(out)["schema"] == 1
    promise.kept(commands=1, parsed=1)
