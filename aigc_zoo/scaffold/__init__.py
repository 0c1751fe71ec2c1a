"""Writes new plugins: whole distributions from templates, which pass `zoo check` and train without a change."""

from __future__ import annotations

import datetime
import json
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
from aigc_zoo.text import zoo_command

if TYPE_CHECKING:
    from aigc_zoo.plugins import Catalogue

LICENCES = ("MIT", "Apache-2.0", "BSD-3-Clause")
PREFIX = "aigc-zoo-"
MAX_LENGTH = 30
RESERVED = ("zoo", "local")

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUMMARIES = {
    "recipe": "A GAN with two perceptrons",
    "generator": "A generator with one hidden layer",
    "discriminator": "A discriminator with one hidden layer",
    "loss": "Least-squares loss",
    "penalty": "Squared gradient norm at real samples",
    "augmentation": "Gaussian noise on the discriminator's inputs",
    "dataset": "Points on a spiral",
    "extractor": "Patch means as features",
    "network": "Translator of images with one hidden layer",
    "modality": "Rows of numbers from .csv files",
    "metric": "Distance between the means of features",
}
_TAGS = {"extractor": ("image", "offline"), "network": ("pairs", "offline")}
"""Tags of the dataset that a component of a kind is tried on; points where none are stated."""

_SLOTS = {"network": "generator", "metric": "metrics"}
"""The option of the recipe that takes a component of a kind, where it is not called like the kind."""

_MEASURED: dict[str, dict[str, int]] = {"network": {"eval_num": 256}, "modality": {}}
"""Settings of the evaluation in the test, where 64 samples are too few or nothing can be measured."""

_WITHOUT_SLOT = ("recipe", "dataset")

_FILES = {"rows.csv": "tests/rows.csv"}
"""Templates that are no module of the package: name -> path in the project."""
_COMMON = {  # Files of every kind: template -> path in the project.
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "check.yml": ".github/workflows/check.yml",
    "test_conformance.py": "tests/test_conformance.py",
    "test_training.py": "tests/test_training.py",
}


def project_of(name: str) -> str:
    """The distribution's name: both `acme` and `aigc-zoo-acme` give aigc-zoo-acme. Raises UsageError."""
    short = name.removeprefix(PREFIX)
    if not _NAME.fullmatch(short):
        raise UsageError(
            f"{name!r} is not a valid name: use lower-case letters, digits and hyphens, such as acme or aigc-zoo-acme"
        )
    if len(short) > MAX_LENGTH:
        raise UsageError(f"{name!r} is too long: use at most {MAX_LENGTH} characters")
    if short in RESERVED:
        raise UsageError(f"the namespace {short}/ is reserved: choose another name")
    return PREFIX + short


def write_project(
    catalogue: Catalogue, name: str, kind: str = "recipe", *, into: Path, licence: str = "MIT", author: str = ""
) -> tuple[Path, list[str]]:
    """Writes the distribution NAME with one component of `kind` to a new directory in `into`, atomically.

    Returns the directory, and the words of the command that trains with the component. Raises UsageError for an invalid
    name or an existing directory, ConfigError if no installed component can be combined with it, StorageError if the
    files cannot be written.
    """
    assert kind in KINDS, kind
    distribution = project_of(name)
    directory = into / distribution
    if directory.exists():
        raise UsageError(f"{directory} exists already: choose another name, or another directory with --into")
    values = _values(catalogue, distribution, kind, licence, author)
    temporary = into / f".{distribution}.{secrets.token_hex(4)}.tmp"
    try:
        for place, text in _texts(values, kind, licence):
            path = temporary / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        os.rename(temporary, directory)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise StorageError(
            f"cannot write {directory}: {error.strerror}: choose another directory with --into"
        ) from error
    words = values["command"].split()[1:]
    return directory, [str(directory / word) if word in _FILES.values() else word for word in words]


def _values(catalogue: Catalogue, distribution: str, kind: str, licence: str, author: str) -> dict[str, str]:
    """The values of the templates' placeholders."""
    short = distribution.removeprefix(PREFIX)
    own = f"{short}/{short}"
    data = own if kind == "dataset" else _pick(catalogue, "dataset", *_TAGS.get(kind, ("points", "offline")))
    recipe = own if kind == "recipe" else _pick(catalogue, "recipe", "paired" if kind == "network" else "any-shape")
    slots = {_SLOTS.get(kind, kind): own} if kind not in _WITHOUT_SLOT else {}
    in_test = f'"{data}"'
    if kind == "modality":
        data, in_test = "tests/rows.csv", 'Path(__file__).with_name("rows.csv")'
    flags = "".join(f" --{slot} {reference}" for slot, reference in slots.items())
    settings = {"steps": 2, "batch_size": 8} | _MEASURED.get(kind, {"eval_num": 64})
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
        "data_in_test": in_test,
        "settings": json.dumps(settings),
        "sampled": "4, data=DATA" if kind == "network" else "4",
        "recipe": recipe,
        "slots": json.dumps(slots),
        "command": f"zoo train {recipe} --data {data}{flags}",
    }


def _pick(catalogue: Catalogue, kind: str, *tags: str) -> str:
    """The first component of a kind with these tags, since the core names no component."""
    for entry in catalogue.items(kind):
        if set(tags) <= set(entry.component.tags):
            return entry.name if entry.namespace == "zoo" else entry.id
    wanted = f" with the tags {', '.join(tags)}" if tags else ""
    raise ConfigError(
        f"no {kind}{wanted} is installed, which the new plugin's tests need: see {zoo_command('plugins')}"
    )


def _texts(values: dict[str, str], kind: str, licence: str) -> list[tuple[str, str]]:
    """(path in the project, content) of every file."""
    templates = files("aigc_zoo.scaffold") / "templates"
    package = f"src/{values['package']}"
    texts = [(place, _filled(templates / "common" / f"{name}.in", values)) for name, place in _COMMON.items()]
    for template in sorted((templates / kind).iterdir(), key=lambda one: one.name):
        name = template.name.removesuffix(".in")
        texts.append((_FILES.get(name, f"{package}/{name}"), _filled(template, values)))
    texts.append((f"{package}/py.typed", ""))
    text = (templates / "licences" / licence).read_text(encoding="utf-8")
    # Only the short licenses have placeholders; the Apache license is copied unchanged.
    texts.append(("LICENSE", Template(text).substitute(values) if "$author" in text else text))
    return texts


def _filled(template: Traversable, values: dict[str, str]) -> str:
    return Template(template.read_text(encoding="utf-8")).substitute(values)
