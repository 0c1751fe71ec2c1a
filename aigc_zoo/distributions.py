"""Installed distributions and plugin files: name, version, namespace and requirements, and the import of a module.

Whatever prevents an import is raised as `Refused`, with the status and the reason that the plugin's record states.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.metadata import Distribution, EntryPoint
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from aigc_zoo import __version__
from aigc_zoo.errors import in_a_line

OURS = "aigc-zoo"
RESERVED = ("zoo", "local")
"""Namespaces of this distribution and of plugin files, which no other distribution can have."""


class Refused(Exception):
    """A plugin is not loaded: (status, reason)."""


def canonical(distribution: str) -> str:
    """A distribution's name as package indices compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def namespace_of(distribution: str) -> str:
    """The namespace of a canonical distribution name: `acme` for `aigc-zoo-acme` and `acme`, `zoo` for `aigc-zoo`."""
    return "zoo" if distribution == OURS else distribution.removeprefix(f"{OURS}-")


def identity(distribution: Distribution | None) -> tuple[str, str]:
    """Canonical name and version; both are "?" if METADATA is missing or cannot be read."""
    try:
        data = distribution.metadata  # type: ignore[union-attr]
        return canonical(data["Name"]), data["Version"] or "?"
    except Exception:  # METADATA is a stranger's file, and its readers raise whatever they meet
        return "?", "?"


def import_entry_point(point: EntryPoint, name: str, present: set[str]) -> object:
    """Import the module of an entry point, unless the metadata of its distribution `name` rules it out.

    `present` holds the names of all distributions with plugins that are not disabled.
    """
    namespace = namespace_of(name)
    if name == "?":
        raise Refused("broken", "its METADATA cannot be read or states no name")
    if name != OURS:
        if namespace in RESERVED:
            raise Refused("incompatible", f"the namespace {namespace}/ is reserved")
        if name == namespace and f"{OURS}-{namespace}" in present:
            raise Refused("duplicate", f"{OURS}-{namespace} has the namespace {namespace}/ already")
        for requirement in _unmet_requirements(point.dist):
            raise Refused("incompatible", f"requires {requirement}, but {OURS} {__version__} is installed")
    return point.load()


def _unmet_requirements(distribution: Distribution | None) -> Iterator[str]:
    """The requirements on aigc-zoo that this version does not meet; `packaging` (12 ms) is imported only for these."""
    lines = (distribution.requires if distribution is not None else None) or []
    ours = [line for line in lines if canonical(re.split(r"[^\w.-]", line.strip())[0]) == OURS]
    if ours:
        from packaging.requirements import Requirement

        for requirement in map(Requirement, ours):
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and not requirement.specifier.contains(__version__, prereleases=True):
                yield f"{OURS}{requirement.specifier}"


class _Loader(SourceFileLoader):
    """Runs the bytes that were read and hashed.

    Python's own loader takes bytecode of an earlier content from __pycache__ where size and second of the file are the
    same, and a card would then record a digest of code that was not run.
    """

    def __init__(self, name: str, path: Path, content: bytes) -> None:
        super().__init__(name, str(path))
        self._content = content

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._content, self.path)


def import_file(path: Path, content: bytes) -> ModuleType:
    """Execute `content`, the bytes of the file, as a module that targets such as f"{__name__}:build" can name."""
    name = "zoo_local_" + re.sub(r"\W", "_", path.stem)
    while name in sys.modules and sys.modules[name].__file__ != str(path):
        name += "_"
    if path.suffix != ".py":
        raise Refused("broken", "it is not a Python file")
    loader = _Loader(name, path, content)
    spec = spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = _line_in(path, error)
        raise Refused("broken", (f"line {line}: " if line else "") + in_a_line(error)) from error
    return module


def _line_in(path: Path, error: BaseException) -> int:
    """The innermost line of a file that an error passed through; 0 if there is none, as for a SyntaxError."""
    line, frame = 0, error.__traceback__
    while frame is not None:
        line = frame.tb_lineno if frame.tb_frame.f_code.co_filename == str(path) else line
        frame = frame.tb_next
    return line
