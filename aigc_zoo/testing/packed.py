"""What a distribution's wheel contains, and wheels made from sources."""

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

_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "venv", "build", "dist", "runs", "node_modules", "__pycache__", "*.egg-info", ".*_cache", ".tox"
)


def files_of_wheel(distribution: importlib.metadata.Distribution) -> tuple[set[str], str | None]:
    """Paths that its wheel has, and a note on how they were found.

    Of an editable installation a wheel is built from the sources, since pip knows of them only where they are; of any
    other what pip installed is the wheel's content.
    """
    source = _editable_source(distribution)
    if source is not None:
        return _files(source), f"in a wheel built from {source}"
    return {str(path) for path in distribution.files or ()}, None


def _editable_source(distribution: importlib.metadata.Distribution) -> Path | None:
    text = distribution.read_text("direct_url.json")
    about = json.loads(text) if text else {}
    if not about.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(about["url"]).path))


@cache
def _files(source: Path) -> set[str]:
    with tempfile.TemporaryDirectory(prefix="zoo-check-") as folder, zipfile.ZipFile(build(source, Path(folder))) as it:
        return set(it.namelist())


def build(source: Path, folder: Path) -> Path:
    """A wheel of the project at `source`, in `folder`; nothing is written beside the sources. Raises ConfigError.

    Built in this environment where it has the project's build backend, which needs no network, else by pip in one of
    its own.
    """
    copy = shutil.copytree(source, folder / "source", ignore=_LEFT_OUT)
    here = ["--no-build-isolation", "--no-index"] if _backend_is_here(copy / "pyproject.toml") else []
    options = ["--no-deps", "--quiet", "--disable-pip-version-check", *here]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip() or done.stdout.strip() or "pip made none").splitlines()[-1]
        raise ConfigError(
            f"{source}: no wheel can be built: {reason[:300]}\ntry: python -m pip wheel --no-deps {source}"
        )
    return wheels[0]


def _backend_is_here(pyproject: Path) -> bool:
    system = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("build-system", {})
    backend = str(system.get("build-backend", "setuptools.build_meta")).partition(":")[0].partition(".")[0]
    return "backend-path" not in system and find_spec(backend) is not None
