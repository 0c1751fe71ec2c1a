"""Signatures read from source, without running the module, so that `zoo show` does not import torch."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

from aigc_zoo.discovery import Entry

_LIGHT = ("typing", "pathlib", "collections.abc", "aigc_zoo.spec")
"""Modules from which a signature's types and defaults are imported; names of all others become placeholders."""


class StaticEntry(Entry):
    """An entry that loads a function with the target's signature and docstring but no body, where that is possible."""

    def load(self) -> Callable[..., Any]:
        if self.target.partition(":")[0] in sys.modules:
            return super().load()
        return static_signature(self.target) or super().load()


def static_signature(target: str) -> Callable[..., Any] | None:
    """A function or class with signature and docstring of `package.module:name`, or None if the source is too complex.

    The parent packages of the module are imported, among them its manifest. Of the module itself only the constants and
    types that the signature needs are executed, and nothing of a heavy module is imported.
    """
    module, _, name = target.partition(":")
    try:
        tree, origin = _source(module)
        found = next(node for node in tree.body if getattr(node, "name", None) == name)
        return _evaluated(tree, found, f"signature of {module}", origin)
    except Exception:  # too complex: the module itself is imported instead
        return None


def static_generate(target: str) -> Callable[..., Any] | None:
    """The function that a recipe's target passes on as `generate=`, with its signature but no body.

    Calls in the target are followed, into other modules as well. None if there is no such function or the source is too
    complex.
    """
    module, _, name = target.partition(":")
    try:
        return _generate(module, name, set())
    except Exception:  # too complex: the recipe is built instead
        return None


def _generate(module: str, name: str, seen: set[tuple[str, str]]) -> Callable[..., Any] | None:
    if (module, name) in seen:
        return None
    seen.add((module, name))
    tree, origin = _source(module)
    target = next((node for node in tree.body if getattr(node, "name", None) == name), None)
    calls = [node for node in ast.walk(target) if isinstance(node, ast.Call)] if target is not None else []
    passed = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "generate"]
    if passed:
        wanted = {getattr(value, "id", None) or getattr(value, "attr", None) for value in passed}
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in wanted]
        if len(functions) != 1:
            return None
        arguments = functions[0].args.args
        if isinstance(passed[0], ast.Attribute) and arguments and arguments[0].arg == "self":
            arguments.pop(0)
        return _evaluated(tree, functions[0], f"signature of {module}", origin)
    imported = {alias.asname or alias.name: (str(node.module), alias.name) for node in tree.body
                if isinstance(node, ast.ImportFrom) and not node.level for alias in node.names}  # fmt: skip
    called = dict.fromkeys(call.func.id for call in calls if isinstance(call.func, ast.Name))
    places = (imported.get(one, (module, one)) for one in called if one in imported or one in _functions(tree))
    return next((found for place in places if (found := _generate(*place, seen)) is not None), None)


def _functions(tree: ast.Module) -> set[str]:
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def _source(module: str) -> tuple[ast.Module, str]:
    """The source of a module, whose parent packages are imported, and its file."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise ValueError(f"{module} has no source")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8")), spec.origin


def _evaluated(tree: ast.Module, found: ast.stmt, name: str, origin: str) -> Callable[..., Any] | None:
    """A function or class of a module, without its body."""
    shell = _shell(found)
    if shell is None:
        return None
    space: dict[str, Any] = {"__name__": name}
    body = ast.fix_missing_locations(ast.Module([*_background(tree, shell), shell], []))
    exec(compile(body, origin, "exec"), space)
    made: Callable[..., Any] = space[found.name]  # type: ignore[attr-defined]
    get_type_hints(vars(made).get("__init__", made) if isinstance(made, type) else made, include_extras=True)
    return made


def _shell(node: ast.stmt) -> ast.stmt | None:
    """The definition without decorators and body; of a class, its docstring and its constructor."""
    if isinstance(node, ast.FunctionDef) and not node.decorator_list:
        node.body, node.returns = [*_docstring(node), ast.Pass()], None
        for argument in (*node.args.posonlyargs, *node.args.args):
            argument.annotation = None  # the type of a network or a sample, which is no option
        return node
    if isinstance(node, ast.ClassDef) and not node.decorator_list:
        constructor = next((one for one in node.body if getattr(one, "name", None) == "__init__"), None)
        inherited = [base for base in node.bases if getattr(base, "id", "") != "Modality"]  # which has no constructor
        if constructor is None and not inherited and not node.keywords:
            node.body, node.bases = [*_docstring(node), ast.Pass()], []
            return node
        shell = _shell(constructor) if constructor is not None else None
        if shell is not None:
            node.body, node.bases, node.keywords = [*_docstring(node), shell], [], []
            return node
    return None


def _docstring(node: ast.FunctionDef | ast.ClassDef) -> list[ast.stmt]:
    return node.body[:1] if ast.get_docstring(node, clean=False) is not None else []


def _background(tree: ast.Module, shell: ast.stmt) -> Iterator[ast.stmt]:
    """The statements that the shell needs: imports of light modules, placeholders for others, and constants."""
    wanted = {node.id for node in ast.walk(shell) if isinstance(node, ast.Name)}
    constants: list[ast.stmt] = []
    for node in reversed(tree.body):  # backwards: a constant may need earlier ones
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id in wanted for target in targets):
                wanted |= {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
                constants.insert(0, node)
    yield from _imports(tree, wanted)
    yield from constants


def _type_alias(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> list[ast.stmt]:
    """`Norm = Literal[...]` of another module, if the imported name is such an alias; nothing otherwise."""
    if not isinstance(node, ast.ImportFrom) or not node.module or node.level or alias.asname:
        return []
    spec = importlib.util.find_spec(node.module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return []
    text = Path(spec.origin).read_text(encoding="utf-8")
    for statement in ast.parse(text).body if f"{alias.name} =" in text else ():  # to parse a module takes milliseconds
        if isinstance(statement, ast.Assign) and ast.unparse(statement).startswith(f"{alias.name} = Literal["):
            return [*ast.parse("from typing import Literal").body, statement]
    return []


def _imports(tree: ast.Module, wanted: set[str]) -> Iterator[ast.stmt]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            yield node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias for alias in node.names if (alias.asname or alias.name.partition(".")[0]) in wanted]
            if isinstance(node, ast.ImportFrom) and node.module in _LIGHT and not node.level:
                yield ast.copy_location(ast.ImportFrom(node.module, names, 0), node) if names else ast.Pass()
            elif isinstance(node, ast.Import) and all(alias.name in ("math", "typing", "pathlib") for alias in names):
                yield ast.copy_location(ast.Import(names), node) if names else ast.Pass()
            else:
                for alias in names:
                    name = alias.asname or alias.name.partition(".")[0]
                    yield from _type_alias(node, alias) or ast.parse(f"class {name}: pass").body
        elif isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in wanted:
            yield from ast.parse(f"class {node.name}: pass").body
