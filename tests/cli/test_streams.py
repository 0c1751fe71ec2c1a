"""Closed, full and abandoned standard streams: exit codes stay right, and nothing is printed but a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aigc_zoo import cli

COMMANDS = {
    "help": ["--help"],
    "list": ["list", "--kind", "all"],
    "show json": ["show", "dcgan", "--json"],
    "plugins": ["plugins"],
    "data list": ["data", "list"],
    "completion": ["completion", "bash"],
    "train help": ["train", "dcgan", "--help"],
}


def shell(redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command `zoo ARGUMENTS` under a shell's redirections; stderr is what is left of it."""
    script = f'exec "$0" -m aigc_zoo "$@" {redirections}'
    return subprocess.run(["sh", "-c", script, sys.executable, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.promise("R32", 1, 1)
@pytest.mark.parametrize("name", COMMANDS)
def test_output_that_nobody_wants_is_not_written(name: str, promise: Any) -> None:
    result = shell(">&-" if name < "list" else ">&- 2>&- <&-", *COMMANDS[name])
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    promise.kept(commands=1)


@pytest.mark.promise("R32", 1, 1)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_that_left_is_no_error(name: str, promise: Any) -> None:
    command = [sys.executable, "-m", "aigc_zoo", *COMMANDS[name]]
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (result.returncode, result.stderr) == (0, "")
    promise.kept(commands=1)


@pytest.mark.promise("R32", 1, 1)
@pytest.mark.parametrize("name", COMMANDS)
def test_output_that_is_lost_is_reported(name: str, promise: Any) -> None:
    result = shell("> /dev/full", *COMMANDS[name])
    assert result.returncode == 74
    assert result.stderr == (
        "zoo: standard output: No space left on device; the output is incomplete, all else is done\n"
    )
    promise.kept(commands=1)


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "a pipe"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["lost"], 2),
        (["show", "lost"], 3),
    ],
)
def test_an_error_without_stderr_keeps_its_exit_code(redirection: str, words: list[str], code: int) -> None:
    if redirection == "a pipe":
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run([sys.executable, "-m", "aigc_zoo", *words], stderr=write, stdout=subprocess.DEVNULL)
        os.close(write)
        assert done.returncode == code
    else:
        assert shell(redirection, *words).returncode == code


def test_a_stream_that_cannot_be_written_is_named() -> None:
    assert shell("1< /dev/null", "list").stderr.startswith("zoo: standard output: Bad file descriptor;")


def test_letters_that_an_encoding_lacks_are_escaped(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    path = tmp_path / "mine.py"
    path.write_text(
        "from aigc_zoo.spec import Component, hookimpl\nZOO_API = 1\n@hookimpl\ndef zoo_components():\n"
        "    yield Component(kind='penalty', name='mine', target='mine:mine', summary='大小')\n"
        "def mine(): pass\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "aigc_zoo", "--plugin", str(path), "list", "--kind", "penalty", "local/*"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert "\\u5927\\u5c0f" in result.stdout


def test_a_pipe_that_is_not_read_for_a_while_gets_everything() -> None:
    """A process that shares the pipe can make it non-blocking; then a write fails while it is full."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with subprocess.Popen([sys.executable, "-m", "aigc_zoo", "list", "--kind", "all", "--json"], stdout=write) as child:
        os.close(write)
        with open(read, "rb") as pipe:
            time.sleep(0.5)
            items = json.loads(pipe.read())["items"]
    assert child.returncode == 0
    assert len(items) > 20


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), ConnectionResetError(104, "Connection reset")])
def test_a_broken_pipe_of_something_else_is_an_error_with_words(
    error: OSError, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """click takes every EPIPE for that of stdout, and exits with 1 without a word."""

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli.Globals, "catalogue", fails)
    assert cli.main(["list"]) == 74
    assert str(error.strerror) in capsys.readouterr().err


def test_the_end_of_a_file_is_not_an_interrupt(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise EOFError("a plugin's file ends early")

    monkeypatch.setattr(cli.Globals, "catalogue", fails)
    assert cli.main(["list"]) == 1
    assert "a plugin's file ends early" in capsys.readouterr().err
