"""Configuration files: cards in JSON, as `zoo config` prints and runs store them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aigc_zoo.errors import ConfigError, UsageError
from aigc_zoo.options.overlays import Overlay
from aigc_zoo.options.settings import RUN_SETTINGS
from aigc_zoo.options.values import spelling

_READ = ("schema", "recipe", "slots", "options", "run", "set_by")
# What a run adds to its card as a record, in the words of `run` in part; a hand-written file must not state them there.
_RECORDED = (
    *("plugins", "aigc_zoo", "torch", "git", "versions", "data", "batch_size", "steps", "seed", "cadence", "extractor"),
    *("extractor_plugins", "files", "directory", "device", "threads", "world", "precision", "engine", "why"),
    *("started", "host", "notes", "inexact", "extended", "units", "frozen", "loss_extractors"),
)


def read_file(path: Path) -> dict[str, Any]:
    """Read a card from a JSON file or a run directory."""
    path = path / "card.json" if path.is_dir() else path
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"--config {path}: no such file") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config {path}: not a card in JSON: {error}") from error
    if not isinstance(card, dict):
        raise ConfigError(f"--config {path}: not a card, which is an object with the keys {', '.join(_READ)}")
    return card


def layer_of(file: Mapping[str, Any]) -> Overlay:
    """The values of a card as an overlay. Raises ConfigError for unknown keys and another schema."""
    where = " (configuration file)"
    if file.get("schema", 1) != 1:
        raise ConfigError(f"schema {file['schema']}: this version reads schema 1{where}")
    for key in file:
        if key not in _READ and not ("plugins" in file and key in _RECORDED):
            hint = f'put it under "run": {{"{key}": ...}}' if key in RUN_SETTINGS else f"known are {', '.join(_READ)}"
            raise ConfigError(f"unknown key {key!r}: {hint}{where}")
    if not isinstance(file.get("recipe", ""), str):
        raise ConfigError(f"recipe {file['recipe']}: not the name of a recipe{where}")
    values: dict[str, Any] = {}
    for section in ("slots", "options", "run", "set_by"):
        if not isinstance(file.get(section, {}), Mapping):
            raise ConfigError(f"{section} is not an object of keys and values{where}")
        values |= file.get(section, {}) if section != "set_by" else {}
    recorded = {spelling(key): str(by) for key, by in file["set_by"].items()} if "set_by" in file else None
    return Overlay(values, "file", where, recorded=recorded)
