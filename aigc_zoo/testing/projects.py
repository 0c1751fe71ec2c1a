"""Checks of a project that is not installed: its wheel is built, unpacked, and checked by a process that finds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from aigc_zoo.errors import ConfigError
from aigc_zoo.testing.checks import Result
from aigc_zoo.testing.packed import build
from aigc_zoo.testing.subjects import import_path


def is_project(reference: str | Path) -> bool:
    """Whether a reference can only be a folder or a wheel: a bare name is a component's or a distribution's."""
    text = str(reference)
    if text.endswith(".py"):
        return False
    return text.endswith(".whl") or text.startswith((".", "~")) or (os.sep in text and Path(text).is_dir())


def check_project(path: Path, *, fast: bool = False) -> list[Result]:
    """The results for the project in a folder, or in a wheel. Raises ConfigError where it cannot be built or found."""
    path = path.expanduser().absolute()
    if not path.exists():
        raise ConfigError(f"{path}: there is no such project or wheel")
    if path.is_dir() and not (path / "pyproject.toml").exists():
        raise ConfigError(
            f"{path} has no pyproject.toml: a project has one, and a plugin of one file is given as FILE.py"
        )
    with tempfile.TemporaryDirectory(prefix="zoo-check-") as name:
        folder = Path(name)
        wheel = path if path.is_file() else build(path, folder)
        place = folder / "unpacked"
        _install(wheel, place)
        distribution = wheel.name.partition("-")[0].replace("_", "-")
        command = [sys.executable, "-m", "aigc_zoo", "check", distribution, "--json", *(["--fast"] if fast else [])]
        path_there = os.pathsep.join((str(place), import_path()))
        env = {**os.environ, "PYTHONPATH": path_there}
        done = subprocess.run(command, capture_output=True, text=True, env=env)
    try:
        items = json.loads(done.stdout)["items"]
    except (ValueError, KeyError) as error:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise ConfigError(f"{path} cannot be checked: {last.removeprefix('zoo: ')}") from error
    return [Result(*(item[key] for key in ("check", "subject", "status", "reason", "seconds"))) for item in items]


def _install(wheel: Path, place: Path) -> None:
    """Unpacks a wheel as pip does; nothing that it needs comes along."""
    command = [
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "--target",
        str(place),
        str(wheel),
    ]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "pip failed").splitlines()[-1]
        raise ConfigError(f"{wheel} cannot be installed: {last}")
