"""Reads the names that a module defines from its source code, without running it."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path


@cache
def syntax_tree(module: str) -> ast.Module | None:
    """The syntax tree of a module, or None if there is no such module. Its parent packages are imported."""
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
    else:
        try:
            spec = importlib.util.find_spec(module)
        except ImportError:
            return None
        file = spec.origin if spec is not None else None
    if not file or not file.endswith(".py"):
        # A compiled module has no source code; a missing name shows when the component is built.
        return ast.parse("from compiled import *") if file else None
    return ast.parse(Path(file).read_text(encoding="utf-8"))


def assignments(tree: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """All assigned names with their values."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.value


def names_of(tree: ast.Module) -> Iterator[str]:
    """The names that a module defines or imports at its top level, including those inside `if`, `try` and `with`."""
    queue: list[ast.stmt] = list(tree.body)
    while queue:
        node = queue.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from (name for name, _ in assignments(node))
        elif isinstance(node, ast.If | ast.Try | ast.With):
            queue += node.body + getattr(node, "orelse", []) + getattr(node, "finalbody", [])
            queue += [line for handler in getattr(node, "handlers", []) for line in handler.body]
