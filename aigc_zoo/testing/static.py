"""Checks of a plugin as data: what its distribution, its manifest and its wheel say. No torch, no component's code."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from aigc_zoo.discovery import HEAVY
from aigc_zoo.distributions import OURS, canonical
from aigc_zoo.spec import HOOKS, KINDS, Component
from aigc_zoo.testing.checks import PLUGIN, CheckFailed, check
from aigc_zoo.testing.packed import files_of_wheel
from aigc_zoo.testing.subjects import Part, Plugin, import_path

BUDGET_MS = 20.0
"""CPU time that a manifest may take, once the API itself is imported. Ours take 1 to 3 ms."""

_PAPER = re.compile(r"arXiv:\d{4}\.\d{4,5}(v\d+)?|arXiv:[a-z-]+(\.[A-Z]{2})?/\d{7}|doi:10\.\S+|https://\S+")


@check("S-LOAD", needs="static", kinds=(PLUGIN,))
def loads(plugin: Plugin) -> None:
    """Every entry point loads, and its components and hooks are valid."""
    bad = [record for record in plugin.records if record.status != "ok"]
    if bad:
        raise CheckFailed(str(bad[0]))


@check("S-HEAVY", needs="static", kinds=(PLUGIN,))
def imports_nothing_heavy(plugin: Plugin) -> None:
    """The manifest imports neither torch nor numpy nor their like, not even if they are there: imports are blocked."""
    asked = _alone(plugin)["asked"]
    if asked:
        raise CheckFailed(
            f"importing the manifest asks for {', '.join(asked)}, which every zoo command would wait for: "
            "move what needs it into the module that a target names"
        )


@check("S-TIME", needs="static", kinds=(PLUGIN,))
def imports_fast(plugin: Plugin) -> None:
    """Importing the manifest and asking for its components takes at most 20 ms of CPU time, the best of six."""
    taken = _alone(plugin)["ms"]
    for attempt in range(1, 6):  # on a busy machine CPU time grows, too: the least is nearest to the truth
        if taken > BUDGET_MS:
            taken = min(taken, _alone(plugin, attempt)["ms"])
    if taken > BUDGET_MS:
        raise CheckFailed(
            f"the manifest takes {taken:.0f} ms of CPU time, more than {BUDGET_MS:.0f}: import less in it"
        )


@check("S-TWICE", needs="static", kinds=(PLUGIN,))
def says_the_same_twice(plugin: Plugin) -> None:
    """Asked twice, and in another process, it names equal components, and they survive JSON."""
    said = _alone(plugin)
    if said["error"]:
        raise CheckFailed(said["error"])
    if said["first"] != said["second"]:
        raise CheckFailed("zoo_components gives other components at its second call: it has to be constant")
    here = sorted(_plain(entry.component) for entry in plugin.entries)
    if sorted(json.dumps(one, sort_keys=True) for one in said["first"]) != here:
        raise CheckFailed("zoo_components gives other components in another process: it has to be constant")


@check("S-API", needs="static", kinds=(PLUGIN,))
def states_its_api(plugin: Plugin) -> None:
    """`ZOO_API` is a number written into the manifest, so that an old plugin never looks new."""
    for module in plugin.modules:
        for name, value in _assigned(ast.parse(inspect.getsource(module))):
            if name == "ZOO_API" and isinstance(value, ast.Constant) and isinstance(value.value, int):
                break
        else:
            raise CheckFailed(f"{module.__name__} takes ZOO_API from elsewhere: write ZOO_API = 1, a literal number")


@check("S-HOOKS", needs="static", kinds=(PLUGIN,))
def hooks_take_what_they_are_given(plugin: Plugin) -> None:
    """Arguments of hooks have no defaults: pluggy 1.6 would pass these in place of the values."""
    for module in plugin.modules:
        for hook in HOOKS:
            function = vars(module).get(hook)
            for parameter in inspect.signature(function).parameters.values() if callable(function) else ():
                if parameter.default is not parameter.empty:
                    raise CheckFailed(f"{module.__name__}.{hook}: argument {parameter.name} has a default: remove it")


@check("S-REQUIRES", needs="static", kinds=(PLUGIN,))
def requires_a_range_of_versions(plugin: Plugin) -> None:
    """It requires aigc-zoo from one version to below another, so that pip pairs it with none that it does not know."""
    if plugin.name == OURS:
        return
    from packaging.requirements import Requirement

    found = [Requirement(line) for line in plugin.distribution.requires or []]
    ours = [one for one in found if canonical(one.name) == OURS and one.marker is None]
    operators = {specifier.operator for one in ours for specifier in one.specifier}
    if not operators & {">=", "==", "~=", ">"} or not operators & {"<", "<=", "==", "~="}:
        stated = ", ".join(map(str, ours)) or f"nothing of {OURS}"
        raise CheckFailed(f'it requires {stated}: state both ends, dependencies = ["{OURS}>=0.1,<1"]')


@check("S-LICENCE", needs="static", kinds=(PLUGIN,))
def states_its_licence(plugin: Plugin) -> None:
    """Its metadata state a licence."""
    data = plugin.distribution.metadata
    named = [data[key] for key in ("License-Expression", "License") if key in data]
    named += [one for one in data.get_all("Classifier") or [] if one.startswith("License ::")]
    if not any(named):
        raise CheckFailed(
            'it states no licence: add license = "Apache-2.0", or another, to [project] in pyproject.toml'
        )


@check("S-WHEEL", needs="static", kinds=(PLUGIN,))
def wheel_contains_its_targets(plugin: Plugin) -> str | None:
    """The wheel, or what pip installed, contains the module of every target."""
    files, note = files_of_wheel(plugin.distribution)
    missing = []
    for module in dict.fromkeys(
        [*(entry.component.target.partition(":")[0] for entry in plugin.entries), *(m.__name__ for m in plugin.modules)]
    ):
        path = module.replace(".", "/")
        if not {f"{path}.py", f"{path}/__init__.py"} & files and not any(
            re.fullmatch(rf"{re.escape(path)}\.[^/]+\.(so|pyd)", file) for file in files
        ):
            missing.append(module)
    if missing:
        raise CheckFailed(
            f"its wheel lacks {', '.join(missing)}: name all packages in [tool.setuptools] of pyproject.toml"
        )
    return note


@check("S-TARGET", needs="static", kinds=KINDS)
def target_exists(part: Part) -> None:
    """The target's module has the name that the target ends in, found without running it."""
    module, _, attribute = part.entry.component.target.partition(":")
    tree = _source_of(module)
    if tree is None:
        raise CheckFailed(f"there is no module {module}, which its target names")
    names = set(_names(tree))
    if attribute not in names and "*" not in names:
        raise CheckFailed(f"{module} has no {attribute}, which its target names")


@check("S-SOURCE", needs="static", kinds=KINDS)
def says_where_it_comes_from(part: Part) -> None:
    """It says where it comes from: a paper as arXiv:..., doi:... or https://..., or else a docstring of its target."""
    component = part.entry.component
    if component.paper and not _PAPER.fullmatch(component.paper):
        raise CheckFailed(f"paper {component.paper!r} reads neither arXiv:1406.2661 nor doi:10... nor https://...")
    module, _, attribute = component.target.partition(":")
    tree = _source_of(module)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == attribute and ast.get_docstring(node):
            return
    if not component.paper:
        raise CheckFailed("neither a paper in the manifest nor a docstring of its target says what it follows")


@check("S-EXTRA", needs="static", kinds=KINDS)
def extra_exists(part: Part) -> None:
    """The extra that it names is one of its distribution's."""
    extra = part.entry.component.extra
    if not extra or part.entry.namespace == "local":
        return
    import importlib.metadata

    known = importlib.metadata.metadata(part.entry.distribution).get_all("Provides-Extra") or []
    if canonical(extra) not in {canonical(one) for one in known}:
        raise CheckFailed(f"extra {extra!r} is none of its distribution's ({', '.join(known) or 'which has none'})")


# --- a manifest in a process of its own -------------------------------------------------------------------------------

_ALONE = """
import json, sys, time
import aigc_zoo.spec, collections.abc, typing, dataclasses
from dataclasses import asdict
from importlib import import_module, util

class Blocked:
    asked = []

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in heavy:
            self.asked.append(top)
            raise ImportError(f"{name} is not to be imported by a manifest")

heavy, names, out = set(json.loads(sys.argv[1])), json.loads(sys.argv[2]), sys.stdout
sys.stdout = sys.stderr
sys.meta_path.insert(0, Blocked())
answer = {"error": "", "first": [], "second": []}
began = time.process_time()
try:
    for name in names:
        if name.endswith(".py"):
            spec = util.spec_from_file_location("zoo_local_checked", name)
            module = sys.modules[spec.name] = util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = import_module(name)
        answer["first"] += [asdict(one) for one in module.zoo_components()]
    answer["ms"] = (time.process_time() - began) * 1e3
    for name in names:
        module = sys.modules["zoo_local_checked" if name.endswith(".py") else name]
        answer["second"] += [asdict(one) for one in module.zoo_components()]
except BaseException as error:
    answer["error"] = f"{type(error).__name__}: {error}"
    answer["ms"] = (time.process_time() - began) * 1e3
answer["asked"] = list(dict.fromkeys(Blocked.asked))
json.dump(answer, out)
"""


def _alone(plugin: Plugin, attempt: int = 0) -> dict[str, Any]:
    """What the manifests say in a process where nothing heavy can be imported."""
    names = []
    for module in plugin.modules:
        if "zoo_components" in vars(module):
            names.append(str(module.__file__) if plugin.local else module.__name__)
    return _asked(tuple(names), import_path(), attempt, blocked=not plugin.local)


@cache
def _asked(names: tuple[str, ...], path: str, attempt: int, blocked: bool) -> dict[str, Any]:
    import os

    arguments = [json.dumps(sorted(HEAVY) if blocked else []), json.dumps(names)]
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise CheckFailed(f"its manifest ends the process that imports it (exit code {done.returncode})") from error
    # The name of a file's module differs from process to process; its components do not.
    answer["first"], answer["second"] = ([_renamed(one) for one in answer[key]] for key in ("first", "second"))
    return answer


def _renamed(component: Mapping[str, Any]) -> dict[str, Any]:
    module, colon, attribute = component["target"].partition(":")
    return {**component, "target": ("local" if module.startswith("zoo_local_") else module) + colon + attribute}


def _plain(component: Component) -> str:
    return json.dumps(_renamed(json.loads(json.dumps(asdict(component)))), sort_keys=True)


# --- sources, read but not run ----------------------------------------------------------------------------------------


@cache
def _source_of(module: str) -> ast.Module | None:
    """The syntax tree of a module; its parents are imported, it itself is not. None where there is none."""
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
    else:
        try:
            spec = importlib.util.find_spec(module)
        except ImportError:
            return None
        file = spec.origin if spec is not None else None
    if not file or not file.endswith(".py"):
        # A compiled module has no source to read; whether it has the name is seen when it is built.
        return ast.parse("from compiled import *") if file else None
    return ast.parse(Path(file).read_text(encoding="utf-8"))


def _assigned(tree: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.value


def _names(tree: ast.Module) -> Iterator[str]:
    """What a module's top level defines or imports, inside `if` and `try` as well."""
    queue: list[ast.stmt] = list(tree.body)
    while queue:
        node = queue.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from (name for name, _ in _assigned(node))
        elif isinstance(node, ast.If | ast.Try | ast.With):
            queue += node.body + getattr(node, "orelse", []) + getattr(node, "finalbody", [])
            queue += [line for handler in getattr(node, "handlers", []) for line in handler.body]
