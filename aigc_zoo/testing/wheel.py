"""Builds wheels from sources, and lists the files of a distribution's wheel."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlparse

from aigc_zoo.errors import ConfigError
from aigc_zoo.text import quoted

_NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "venv", "build", "dist", "runs", "node_modules", "__pycache__", "*.egg-info", ".*_cache", ".tox"
)


def files_of_wheel(distribution: importlib.metadata.Distribution) -> tuple[set[str], str | None]:
    """The paths in a distribution's wheel, and a note on how they were found.

    For an editable installation a wheel is built, since pip records only where the sources are; for any other, the
    files that pip installed are those of the wheel.
    """
    distribution = _installed(distribution)
    source = _editable_source(distribution)
    if source is not None:
        return _files(source), f"in a wheel built from {source}"
    return {str(path) for path in distribution.files or ()}, None


def _installed(distribution: importlib.metadata.Distribution) -> importlib.metadata.Distribution:
    """The metadata that pip installed, which have a RECORD.

    A source tree on the import path (`python -m pytest` adds the working directory) may contain an *.egg-info
    directory, which is found first and lists sources as they were when it was written.
    """
    found = importlib.metadata.distributions(name=distribution.name)
    return next((one for one in found if one.read_text("RECORD") is not None), distribution)


def _editable_source(distribution: importlib.metadata.Distribution) -> Path | None:
    text = distribution.read_text("direct_url.json")
    about = json.loads(text) if text else {}
    if not about.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(about["url"]).path))


@cache
def _files(source: Path) -> set[str]:
    with tempfile.TemporaryDirectory(prefix="zoo-check-") as name, zipfile.ZipFile(build(source, Path(name))) as wheel:
        return set(wheel.namelist())


def build(source: Path, directory: Path) -> Path:
    """Builds a wheel of the project at `source` in `directory`. Raises ConfigError.

    The build backend of this environment is used if it is the project's, which needs no network; otherwise pip
    installs the backend in an isolated environment. The source tree is copied and not modified.
    """
    copy = shutil.copytree(source, directory / "source", ignore=_NOT_COPIED)
    here = ["--no-build-isolation", "--no-index"] if _backend_is_here(copy / "pyproject.toml") else []
    options = ["--no-deps", "--quiet", "--disable-pip-version-check", *here]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(directory), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    wheels = sorted(directory.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip() or done.stdout.strip() or "pip wrote none").splitlines()[-1]
        raise ConfigError(
            f"{source}: cannot build a wheel: {reason[:300]}\ntry: python -m pip wheel --no-deps {quoted(source)}"
        )
    return wheels[0]


def _backend_is_here(pyproject: Path) -> bool:
    system = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("build-system", {})
    backend = str(system.get("build-backend", "setuptools.build_meta")).partition(":")[0].partition(".")[0]
    return "backend-path" not in system and find_spec(backend) is not None
