"""Only one module of the package writes files, so that every write is atomic and durable."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import aigc_zoo

ROOT = Path(aigc_zoo.__file__).parent
ALLOWED = {
    ("artefacts/atomic.py", "open"): "the module that writes",
    ("artefacts/lock.py", "open"): "lock files, which have no content of a run",
    ("report/charts.py", "savefig"): "into memory",
    ("testing/wheel.py", "copytree"): "into a temporary folder, to build an author's project",
    ("data/download.py", "open"): "PATH.part, checked and renamed by the same module",
}
WRITING = {"write_text", "write_bytes", "savefig", "save_file", "touch", "symlink_to", "copyfile", "copy2", "copytree"}
WRITING |= {"rename", "renames", "copyfileobj", "move", "mkstemp", "NamedTemporaryFile"}


def writes(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Calls that create or write a file: `open` with a mode for writing, and functions known by name."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        modes = node.args[isinstance(node.func, ast.Name) :]  # open(path, mode), path.open(mode)
        words = [arg.value for arg in modes if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        words += [str(k.value.value) for k in node.keywords if k.arg == "mode" and isinstance(k.value, ast.Constant)]
        mode = any(set(word) & set("wxa+") and len(word) <= 3 for word in words) or "O_CREAT" in ast.dump(node)
        if name in WRITING or (name == "open" and mode):
            yield node.lineno, name


def test_only_one_module_writes_files() -> None:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("scaffold/"):  # writes the project of an author, not a run
            continue
        tree = ast.parse(path.read_text("utf-8"))
        imported = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "aigc_zoo.artefacts.atomic"
            for alias in node.names
        }
        found += [
            f"{name}:{line} {what}"
            for line, what in writes(tree)
            if (name, what) not in ALLOWED and what not in imported and not name.endswith("artefacts/atomic.py")
        ]
    # `--fresh` renames a run directory, and help formatters have methods named `write`.
    assert [line for line in found if "runs.py" not in line and "formatter" not in line and "cli/" not in line] == []


def test_the_check_finds_calls_that_write() -> None:
    for code in ("open('x', 'w')", "p.open('ab')", "p.write_text(t)", "os.open(p, os.O_WRONLY | os.O_CREAT)"):
        assert list(writes(ast.parse(code)))
    for code in ("open('x')", "p.open('rb')", "Image.open(file, formats=FORMATS)", "p.read_text()"):
        assert not list(writes(ast.parse(code)))
