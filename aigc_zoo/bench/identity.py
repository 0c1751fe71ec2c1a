"""What a stored benchmark cell depends on besides its settings: versions, the code of plugins, data and device.

A record is reused only for an equal identity, so that a cell of an edited plugin or of other data is trained anew.
"""

from __future__ import annotations

import ast
import json
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from aigc_zoo import devices
from aigc_zoo.data import resolve
from aigc_zoo.discovery import Entry
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Spec
from aigc_zoo.metrics.known import installed
from aigc_zoo.options import Configuration, build, references
from aigc_zoo.options.signatures import read
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.card import versions
from aigc_zoo.run.device import choose_device


def identity_of(
    catalogue: Catalogue, configuration: Configuration, digests: dict[Any, tuple[str, str, Spec]] | None = None
) -> dict[str, Any]:
    """Versions of the packages and plugins, digests of plugin code and data, and the device of a configuration.

    `digests` keeps what was read for other configurations. Raises ConfigError and DataError as training would.
    """
    digests = {} if digests is None else digests
    settings = configuration.run
    reference = settings.data or build(catalogue, configuration).dataset
    key = reference, settings.size, settings.skip_bad, json.dumps(configuration.data_options, sort_keys=True)
    if key not in digests:
        digests[key] = _data(catalogue, *key[:3], configuration.data_options)
    data, extractor, spec = digests[key]
    entries = _entries(catalogue, configuration, reference, settings.extractor or extractor)
    entries += _measuring(catalogue, spec, settings.metrics or "")
    card = configuration.card()
    card["run"] = {name: value for name, value in card["run"].items() if name != "data"}  # whose digest counts
    settings_card = [card[name] for name in ("recipe", "slots", "options", "run")]
    return {
        "versions": versions() | {entry.distribution: entry.version for entry in entries if entry.file is None},
        "options": _digest(json.dumps(settings_card, sort_keys=True)),
        "code": code_digest(entries),
        "data": data,
        "device": devices.name(choose_device(settings.device)),
    }


def _data(
    catalogue: Catalogue, reference: str, size: int | None, skip_bad: int, options: Mapping[str, Any]
) -> tuple[str, str, Spec]:
    """A digest of all splits of a dataset, its extractor, and the spec of its samples."""
    splits = resolve.load(catalogue, reference, size=size, skip_bad=skip_bad, options=options)
    about = [
        [name, one.digest, list(one.classes), one.resize, asdict(one.spec)] for name, one in sorted(splits.items())
    ]
    train = splits["train"]
    return _digest(json.dumps(about, default=str)), train.extractor, train.spec


def _entries(catalogue: Catalogue, configuration: Configuration, data: str, extractor: str) -> list[Entry]:
    """The recipe with those that it extends, the components in its slots, the dataset and the extractor."""
    recipe = catalogue.find("recipe", configuration.recipe).entry
    found = list(recipe.lineage)
    for option in read(recipe):
        chosen = configuration.slots.get(option.key) if option.slot else None
        ids = (chosen,) if isinstance(chosen, str) else chosen or ()
        found += [catalogue.find(option.slot, one).entry for one in ids]
    dataset = references.find(catalogue, "data", data).entry
    found += [dataset] if dataset is not None else []
    with suppress(ConfigError):  # the extractor of no metric
        found.append(catalogue.find("extractor", extractor).entry)
    return found


def _measuring(catalogue: Catalogue, spec: Spec, names: str) -> list[Entry]:
    """The modality of the samples, and the metrics that are named, by default those of the modality."""
    known = installed(catalogue)
    metrics = map(known.find, known.named(names.split(","), spec)) if names else known.defaults(spec)
    return [catalogue.find("modality", spec.modality).entry, *(metric.entry for metric in metrics)]


def code_digest(entries: list[Entry]) -> str:
    """A digest of components and of the source files of their modules.

    These are the files of each module's package, and of what they import from the same distribution or from files that
    no package manager installed.
    """
    files: dict[str, Path] = {}
    for entry in entries:
        entry.load()
        _collect(entry.target.partition(":")[0], files)
    local = {entry.target.partition(":")[0] for entry in entries if entry.file is not None}  # may be renamed
    sources = sorted(f"{'' if name in local else name} {_digest(path.read_bytes())}" for name, path in files.items())
    rows = [f"{entry.kind} {entry.id} {_row(entry)}" for entry in entries]
    return _digest("\n".join([*sources, *rows]))


def _row(entry: Entry) -> str:
    """The fields of a component that decide what it computes."""
    about = asdict(entry.component)
    return json.dumps({key: about[key] for key in ("extends", "defaults", "presets")}, sort_keys=True, default=str)


def _collect(module: str, files: dict[str, Path]) -> None:
    """Add the source files that a component's module consists of, by name, to `files`."""
    root = module.partition(".")[0]
    for name in (module, *_siblings(module)):
        todo = [name]
        while todo:
            one = todo.pop()
            path = _source(one)
            if path is None or one in files or not _belongs(one, path, root):
                continue
            files[one] = path
            todo += _imports(one, path)


def _siblings(module: str) -> Iterator[str]:
    """All modules of the package that a module is in; none for a module outside of packages."""
    package = module if hasattr(sys.modules.get(module), "__path__") else module.rpartition(".")[0]
    for folder in getattr(sys.modules.get(package), "__path__", ()):
        for path in sorted(Path(folder).rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)])


def _source(module: str) -> Path | None:
    """The source file of a module; None if it has none. Parents of the module are imported."""
    loaded = sys.modules.get(module)
    try:
        origin = getattr(loaded, "__file__", None) if loaded is not None else None
        spec = None if origin else find_spec(module)
        origin = origin or (spec.origin if spec is not None else None)
    except Exception:  # the parent is no package, or fails to import
        return None
    return Path(origin) if origin and origin.endswith(".py") and Path(origin).is_file() else None


def _belongs(module: str, path: Path, root: str) -> bool:
    """Whether a module is code of the plugin `root`: its own, or a file that no package manager installed."""
    top = module.partition(".")[0]
    if top == root:
        return True
    path = path.resolve()
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return top != "aigc_zoo" and not installed and not path.is_relative_to(Path(sysconfig.get_path("stdlib")).resolve())


def _imports(module: str, path: Path) -> Iterator[str]:
    """Names of modules that a source file imports anywhere in its code."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            with suppress(ImportError):
                name = "." * node.level + (node.module or "")
                base = resolve_name(name, package) if node.level else name
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)


def _digest(content: str | bytes) -> str:
    return sha256(content.encode() if isinstance(content, str) else content).hexdigest()
