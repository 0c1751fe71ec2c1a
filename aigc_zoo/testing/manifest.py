"""Checks of a plugin's metadata, manifest and wheel. They import neither torch nor the components' code."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import re

from packaging.requirements import Requirement

from aigc_zoo.distributions import OURS, canonical
from aigc_zoo.spec import HOOKS, KINDS
from aigc_zoo.testing.checks import PLUGIN, CheckFailed, check
from aigc_zoo.testing.isolated import canonical_json, imported_alone
from aigc_zoo.testing.source import assignments, names_of, syntax_tree
from aigc_zoo.testing.subjects import ComponentSubject, PluginSubject
from aigc_zoo.testing.wheel import files_of_wheel

BUDGET_MS = 20.0
"""CPU time in milliseconds that a manifest may take once the API is imported. Ours take 1 to 3 ms."""

_PAPER = re.compile(r"arXiv:\d{4}\.\d{4,5}(v\d+)?|arXiv:[a-z-]+(\.[A-Z]{2})?/\d{7}|doi:10\.\S+|https://\S+")


# --- plugins ----------------------------------------------------------------------------------------------------------


@check("S-LOAD", needs="static", kinds=(PLUGIN,))
def loads(plugin: PluginSubject) -> None:
    """Every entry point loads, and its components and hooks are valid."""
    failed = [record for record in plugin.records if record.status != "ok"]
    if failed:
        raise CheckFailed(str(failed[0]))


@check("S-HEAVY", needs="static", kinds=(PLUGIN,))
def imports_nothing_heavy(plugin: PluginSubject) -> None:
    """The manifest imports no torch, numpy or other heavy package, not even optionally: such imports are blocked."""
    requested = imported_alone(plugin)["requested"]
    if requested:
        raise CheckFailed(
            f"the manifest imports {', '.join(requested)}, which slows down every zoo command: "
            "move the code that needs it into the module that a target names"
        )


@check("S-TIME", needs="static", kinds=(PLUGIN,))
def imports_fast(plugin: PluginSubject) -> None:
    """Importing the manifest and calling `zoo_components` takes at most 20 ms of CPU time, the best of six."""
    taken = imported_alone(plugin)["ms"]
    for attempt in range(1, 6):  # CPU time grows on a busy machine, so that the smallest is the most accurate.
        if taken > BUDGET_MS:
            taken = min(taken, imported_alone(plugin, attempt)["ms"])
    if taken > BUDGET_MS:
        raise CheckFailed(f"the manifest takes {taken:.0f} ms of CPU time, more than {BUDGET_MS:.0f}: import less")


@check("S-TWICE", needs="static", kinds=(PLUGIN,))
def components_are_constant(plugin: PluginSubject) -> None:
    """`zoo_components` returns equal components in two calls and in another process, and JSON can represent them."""
    answer = imported_alone(plugin)
    if answer["error"]:
        raise CheckFailed(answer["error"])
    if answer["first"] != answer["second"]:
        raise CheckFailed("zoo_components returns other components in its second call: it has to be constant")
    if sorted(answer["first"]) != sorted(canonical_json(entry.component) for entry in plugin.entries):
        raise CheckFailed("zoo_components returns other components in another process: it has to be constant")


@check("S-API", needs="static", kinds=(PLUGIN,))
def states_its_api(plugin: PluginSubject) -> None:
    """The manifest assigns a literal number to `ZOO_API`, so that an old plugin never claims a newer API."""
    for module in plugin.modules:
        for name, value in assignments(ast.parse(inspect.getsource(module))):
            if name == "ZOO_API" and isinstance(value, ast.Constant) and isinstance(value.value, int):
                break
        else:
            raise CheckFailed(f"{module.__name__} does not set ZOO_API to a literal number: write ZOO_API = 1")


@check("S-HOOKS", needs="static", kinds=(PLUGIN,))
def hooks_have_no_defaults(plugin: PluginSubject) -> None:
    """Arguments of hooks have no defaults: pluggy 1.6 would pass the defaults instead of the values."""
    for module in plugin.modules:
        for hook in HOOKS:
            function = vars(module).get(hook)
            for parameter in inspect.signature(function).parameters.values() if callable(function) else ():
                if parameter.default is not parameter.empty:
                    raise CheckFailed(f"{module.__name__}.{hook}: argument {parameter.name} has a default: remove it")


@check("S-REQUIRES", needs="static", kinds=(PLUGIN,))
def requires_a_range_of_versions(plugin: PluginSubject) -> None:
    """Its dependency on aigc-zoo has a lower and an upper bound, so that pip installs a compatible version."""
    if plugin.name == OURS:
        return
    requirements = [Requirement(line) for line in plugin.distribution.requires or []]
    ours = [one for one in requirements if canonical(one.name) == OURS and one.marker is None]
    operators = {specifier.operator for one in ours for specifier in one.specifier}
    if not operators & {">=", "==", "~=", ">"} or not operators & {"<", "<=", "==", "~="}:
        stated = ", ".join(map(str, ours)) or f"no {OURS}"
        raise CheckFailed(f'it requires {stated}: state both bounds, dependencies = ["{OURS}>=0.1,<1"]')


@check("S-LICENCE", needs="static", kinds=(PLUGIN,))
def states_its_licence(plugin: PluginSubject) -> None:
    """Its package metadata state a license."""
    data = plugin.distribution.metadata
    named = [data[key] for key in ("License-Expression", "License") if key in data]
    named += [one for one in data.get_all("Classifier") or [] if one.startswith("License ::")]
    if not any(named):
        raise CheckFailed(
            'it states no license: add license = "Apache-2.0", or another, to [project] in pyproject.toml'
        )


@check("S-WHEEL", needs="static", kinds=(PLUGIN,))
def wheel_contains_its_targets(plugin: PluginSubject) -> str | None:
    """The wheel, or what pip installed from it, contains the module of every target."""
    files, note = files_of_wheel(plugin.distribution)
    # That of a recipe which extends another is in the other's package.
    targets = (entry.component.target.partition(":")[0] for entry in plugin.entries if entry.component.target)
    modules = dict.fromkeys([*targets, *(module.__name__ for module in plugin.modules)])
    missing = [module for module in modules if not _contains(files, module.replace(".", "/"))]
    if missing:
        raise CheckFailed(
            f"its wheel lacks {', '.join(missing)}: name all packages in [tool.setuptools] of pyproject.toml"
        )
    return note


def _contains(files: set[str], path: str) -> bool:
    """True if one of the files is the module at this path: a source file, a package or a compiled module."""
    if files & {f"{path}.py", f"{path}/__init__.py"}:
        return True
    return any(re.fullmatch(rf"{re.escape(path)}\.[^/]+\.(so|pyd)", file) for file in files)


# --- components -------------------------------------------------------------------------------------------------------


@check("S-TARGET", needs="static", kinds=KINDS)
def target_exists(subject: ComponentSubject) -> None:
    """The module of its target defines the name of its target; the source code is read, not run."""
    module, _, attribute = subject.entry.target.partition(":")
    tree = syntax_tree(module)
    if tree is None:
        raise CheckFailed(f"its target names the module {module}, which does not exist")
    if not {attribute, "*"} & set(names_of(tree)):
        raise CheckFailed(f"its target names {attribute}, which {module} does not define")


@check("S-SOURCE", needs="static", kinds=KINDS)
def states_its_source(subject: ComponentSubject) -> None:
    """It states a paper as arXiv:..., doi:... or https://..., or it has notes, or a target with a docstring."""
    component = subject.entry.component
    if component.paper and not _PAPER.fullmatch(component.paper):
        raise CheckFailed(
            f"paper {component.paper!r} has an unknown form: write arXiv:1406.2661, doi:10... or https://..."
        )
    if component.notes or (component.extends and component.paper):
        return
    if component.extends:
        raise CheckFailed("it states no paper and has no notes: a recipe that extends another needs one of them")
    module, _, attribute = component.target.partition(":")
    tree = syntax_tree(module)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == attribute and ast.get_docstring(node):
            return
    if not component.paper:
        raise CheckFailed("it states no paper, and its target has no docstring: add one of them")


@check("S-EXTRA", needs="static", kinds=KINDS)
def extra_exists(subject: ComponentSubject) -> None:
    """Its `extra` is an optional dependency group of its distribution."""
    extra = subject.entry.component.extra
    if not extra or subject.entry.namespace == "local":
        return
    known = importlib.metadata.metadata(subject.owner).get_all("Provides-Extra") or []
    if canonical(extra) not in {canonical(one) for one in known}:
        raise CheckFailed(f"its distribution has no extra {extra!r}, only {', '.join(known) or 'none'}")
