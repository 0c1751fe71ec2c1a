"""Checks a project that is not installed: builds its wheel, unpacks it, and runs the checks in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from aigc_zoo.errors import ConfigError
from aigc_zoo.testing.checks import Result
from aigc_zoo.testing.subjects import import_path
from aigc_zoo.testing.wheel import build


def is_project(reference: str | Path) -> bool:
    """True if a reference is a path to a directory or a wheel. A bare name is that of a component or distribution."""
    text = str(reference)
    if text.endswith(".py"):
        return False
    return text.endswith(".whl") or text.startswith((".", "~")) or (os.sep in text and Path(text).is_dir())


def check_project(path: Path, *, fast: bool = False) -> list[Result]:
    """The results for the project in a directory, or in a wheel.

    Raises ConfigError if there is no project at the path, or if it cannot be built.
    """
    path = path.expanduser().absolute()
    if not path.exists():
        raise ConfigError(f"{path}: no such project or wheel")
    if path.is_dir() and not (path / "pyproject.toml").exists():
        raise ConfigError(f"{path} has no pyproject.toml; a plugin in a single file is given as FILE.py")
    with tempfile.TemporaryDirectory(prefix="zoo-check-") as name:
        directory = Path(name)
        wheel = path if path.is_file() else build(path, directory)
        site = directory / "unpacked"
        _install(wheel, site)
        distribution = wheel.name.partition("-")[0].replace("_", "-")
        command = [sys.executable, "-m", "aigc_zoo", "check", distribution, "--json", *(["--fast"] if fast else [])]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(site), import_path()))}
        done = subprocess.run(command, capture_output=True, text=True, env=env)
    try:
        items = json.loads(done.stdout)["items"]
    except (ValueError, KeyError) as error:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise ConfigError(f"{path}: the checks cannot be run: {last.removeprefix('zoo: ')}") from error
    keys = ("check", "subject", "status", "reason", "seconds", "traceback")
    return [Result(*(item[key] for key in keys)) for item in items]


def _install(wheel: Path, site: Path) -> None:
    """Unpacks a wheel into the directory `site` without its dependencies."""
    options = ["-q", "--no-deps", "--no-index", "--no-compile", "--target", str(site)]
    command = [sys.executable, "-m", "pip", "install", *options, str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "pip failed").splitlines()[-1]
        raise ConfigError(f"{wheel}: cannot unpack the wheel: {last}")
