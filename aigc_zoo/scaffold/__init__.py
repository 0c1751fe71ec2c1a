"""What `zoo new` writes: a whole distribution from templates, which pass `zoo check` and train as they are."""

from __future__ import annotations

import datetime
import os
import re
import secrets
import shutil
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from aigc_zoo import __version__
from aigc_zoo.errors import ConfigError, StorageError, UsageError
from aigc_zoo.spec import KINDS

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue

LICENCES = ("MIT", "Apache-2.0", "BSD-3-Clause")
PREFIX = "aigc-zoo-"
LONGEST = 30
RESERVED = ("zoo", "local")

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUMMARIES = {
    "recipe": "A GAN of two perceptrons",
    "generator": "A generator of one hidden layer",
    "discriminator": "A discriminator of one hidden layer",
    "loss": "The least squares loss",
    "penalty": "The squared gradient at the reals",
    "augmentation": "Noise on what the critic sees",
    "dataset": "Points on a spiral",
    "extractor": "Means of patches as features",
}
_PLACES = {  # of the files that every kind has
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "check.yml": ".github/workflows/check.yml",
    "test_conformance.py": "tests/test_conformance.py",
    "test_training.py": "tests/test_training.py",
}


def project_of(name: str) -> str:
    """The distribution's name: `acme` and `aigc-zoo-acme` are both aigc-zoo-acme. Raises UsageError."""
    short = name.removeprefix(PREFIX)
    if not _NAME.fullmatch(short):
        raise UsageError(f"{name!r} is no name: use small letters, digits and hyphens, such as acme or aigc-zoo-acme")
    if len(short) > LONGEST:
        raise UsageError(f"{name!r} is longer than {LONGEST} letters: it is typed often")
    if short in RESERVED:
        raise UsageError(f"the namespace {short}/ is reserved: choose another name")
    return PREFIX + short


def write_project(
    catalogue: Catalogue, name: str, kind: str = "recipe", *, into: Path, licence: str = "MIT", author: str = ""
) -> tuple[Path, str]:
    """Writes the distribution NAME with one component of `kind` to a new folder in `into`, whole or not at all.

    Returns the folder, and the command that trains it. Raises UsageError for a name or a place that will not do,
    ConfigError where nothing is installed to try it with, StorageError where it cannot be written.
    """
    assert kind in KINDS, kind
    distribution = project_of(name)
    folder = into / distribution
    if folder.exists():
        raise UsageError(f"{folder} exists already: choose another name, or another place with --into")
    values = _values(catalogue, distribution, kind, licence, author)
    temporary = into / f".{distribution}.{secrets.token_hex(4)}.tmp"
    try:
        for place, text in _texts(values, kind, licence):
            path = temporary / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        os.rename(temporary, folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise StorageError(f"cannot write {folder}: {error.strerror}: choose another place with --into") from error
    return folder, values["command"]


def _values(catalogue: Catalogue, distribution: str, kind: str, licence: str, author: str) -> dict[str, str]:
    """What the templates' names stand for."""
    short = distribution.removeprefix(PREFIX)
    mine = f"{short}/{short}"
    pictures = kind == "extractor"
    data = mine if kind == "dataset" else _pick(catalogue, "dataset", "image" if pictures else "points", "offline")
    trained = mine if kind == "recipe" else _pick(catalogue, "recipe", "any-shape")
    slots = {} if kind in ("recipe", "dataset") else {kind: mine}
    flags = "".join(f" --{slot} {reference}" for slot, reference in slots.items())
    major, minor, *_ = __version__.split(".")
    return {
        "distribution": distribution,
        "package": distribution.replace("-", "_"),
        "short": short,
        "summary": _SUMMARIES[kind],
        "licence": licence,
        "author": author or f"The authors of {distribution}",
        "year": str(datetime.date.today().year),
        "core": f"aigc-zoo>={major}.{minor},<{int(major) + 1}",
        "loss": _pick(catalogue, "loss"),
        "data": data,
        "trained": trained,
        "options": repr(slots).replace("'", '"') if slots else "{}",
        "command": f"zoo train {trained} --data {data}{flags}",
    }


def _pick(catalogue: Catalogue, kind: str, *tags: str) -> str:
    """The first component of a kind that has these tags: the core knows none by name."""
    for entry in catalogue.items(kind):
        if set(tags) <= set(entry.component.tags):
            return entry.name if entry.namespace == "zoo" else entry.id
    wanted = f" with the tags {', '.join(tags)}" if tags else ""
    raise ConfigError(f"no {kind}{wanted} is installed, which the new plugin could be tried with: see zoo plugins")


def _texts(values: dict[str, str], kind: str, licence: str) -> list[tuple[str, str]]:
    """(path in the project, content) of every file."""
    home = files("aigc_zoo.scaffold") / "templates"
    package = f"src/{values['package']}"
    found = [(place, _filled(home / "common" / f"{name}.in", values)) for name, place in _PLACES.items()]
    for template in sorted((home / kind).iterdir(), key=lambda one: one.name):
        found.append((f"{package}/{template.name.removesuffix('.in')}", _filled(template, values)))
    found.append((f"{package}/py.typed", ""))
    text = (home / "licences" / licence).read_text(encoding="utf-8")
    # The text of a licence is its own; only the short ones leave room for a name.
    found.append(("LICENSE", Template(text).substitute(values) if "$author" in text else text))
    return found


def _filled(template: Traversable, values: dict[str, str]) -> str:
    return Template(template.read_text(encoding="utf-8")).substitute(values)
