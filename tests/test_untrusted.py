"""Pickles are never read or written, whatever their name (R24, R25), and hostile names do no harm (R30)."""

from __future__ import annotations

import ast
import io
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aigc_zoo import options, plugins
from aigc_zoo.cli import main
from aigc_zoo.run.prepare import data_of
from aigc_zoo.run.recorded import default_directory

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [path for folder in ("aigc_zoo", "plugins") for path in sorted((ROOT / folder).rglob("*.py"))]

# --- a check of the source code (R25) ---------------------------------------------------------------------------------

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "tarfile.extractall"}
CALLS = {"extractall", "extract", "unpack_archive", "load_state_dict_from_url", "Unpickler"}
NAMED = {"eval", "exec", "torch.load", "torch.save", "torch.jit.load", "os.system"}
ALLOWED = {
    "aigc_zoo/metrics/features.py: torch.load": "published extractor weights of a known SHA-256, weights_only, capped",
    "aigc_zoo/options/static_signatures.py: exec": "constants of a plugin's own module, as importing it would",
    "plugins/extractors/inception.py: torch.save": "an empty dictionary in memory, for torch-fidelity's constructor",
}


def used(tree: ast.AST) -> Iterator[str]:
    """Imports and calls that unpickle, execute code or extract archives, as source text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or ""] + [alias.name for alias in node.names]
            yield from (f"import {name}" for name in names if name.partition(".")[0] in MODULES)
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            last = name.rpartition(".")[2]
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name in NAMED or "hub.load" in name or last in CALLS:
                yield name
            elif name in ("np.load", "numpy.load", "np.save", "numpy.save") and keywords.get("allow_pickle") != "False":
                yield f"{name} without allow_pickle=False"
            elif keywords.get("shell") == "True":
                yield f"{name}(shell=True)"


@pytest.mark.promise("R25", 1, 1)
def test_the_package_does_not_unpickle_execute_or_extract(promise: Any) -> None:
    found = [f"{p.relative_to(ROOT)}: {use}" for p in SOURCES for use in used(ast.parse(p.read_text("utf-8")))]
    assert [use for use in found if use not in ALLOWED] == []
    assert set(found) == set(ALLOWED), "an exception that is no longer needed must be removed"
    promise.kept(files=len(SOURCES), uses=0, allowed=len(ALLOWED))


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from pickle import loads", "torch.load(f, weights_only=True)", "np.load(f)", "yaml.load(f)",
        "import yaml", "torch.hub.load('a', 'b')", "archive.extractall(p)", "np.load(f, allow_pickle=True)", "eval(x)",
        "subprocess.run(c, shell=True)", "torch.save(x, f)", "np.save(f, x)", "archive.extract(m)",
    ],
)  # fmt: skip
def test_the_check_finds_unsafe_calls(code: str) -> None:
    assert list(used(ast.parse(code))) or code == "yaml.load(f)"


def test_the_allowed_load_reads_only_tensors() -> None:
    (path,) = [path for path in SOURCES if path.name == "features.py"]
    calls = [ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    (call,) = [call for call in calls if call.startswith("torch.load(")]
    assert "weights_only=True" in call


# --- pickles as input of every command that reads a file (R24) --------------------------------------------------------


class Calls:
    """An object that calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> Any:
        return self.called


def zipped(content: bytes, *, name: str = "archive/data.pkl", packed: bool = False) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        archive.writestr(name, content)
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def npy(objects: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([objects], dtype=object), allow_pickle=True)
    return file.getvalue()


def hostile(canary: Path) -> dict[str, bytes]:
    """Ten files that create the canary file when they are unpickled."""
    code = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    system, evil = Calls(os.system, f"touch {canary}"), Calls(eval, code)
    saved = io.BytesIO()
    torch.save({"a": torch.zeros(2), "b": evil}, saved)
    return {
        "system": pickle.dumps(system),
        "eval": pickle.dumps(evil),
        "old protocol": pickle.dumps(evil, protocol=0),
        "torch.save": saved.getvalue(),
        "zip": zipped(pickle.dumps(evil)),
        "zip in a zip": zipped(zipped(pickle.dumps(system)), name="archive/data/0"),
        "bomb": zipped(pickle.dumps(bytes(20 << 20)), packed=True),
        "polyglot": b"\x89PNG\r\n\x1a\n" + pickle.dumps(evil),
        "array of objects": npy(evil),
        "compressed": zlib.compress(pickle.dumps(evil)),
    }


@pytest.mark.promise("R24", 1, 1)
def test_pickles_are_never_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str], promise: Any) -> None:
    canary = tmp_path / "canary"
    pickle.loads(hostile(canary)["eval"])
    assert canary.exists(), "unpickling them has an effect"
    canary.unlink()
    given = 0
    for number, content in enumerate(hostile(canary).values()):
        for suffix in (".safetensors", ".pt", ".npy", ".npz", ".zip", ".png", ".json"):
            (tmp_path / f"{number}{suffix}").write_bytes(content)
        name = str(tmp_path / str(number))
        commands = [
            ["sample", f"{name}.safetensors"],
            ["sample", f"{name}.pt"],
            ["eval", f"{name}.safetensors"],
            ["eval", f"{name}.npz", "--against", f"{name}.zip"],
            ["train", "dcgan", "--data", f"{name}.npy", "--out", str(tmp_path / "run"), "--steps", "1"],
            ["train", "dcgan", "--data", f"{name}.npz", "--out", str(tmp_path / "run"), "--steps", "1"],
            ["train", "dcgan", "--data", f"{name}.zip", "--out", str(tmp_path / "run"), "--steps", "1"],
            ["train", "dcgan", "--config", f"{name}.json"],
            ["config", "dcgan", "--config", f"{name}.json"],
            ["data", "prepare", f"{name}.npy"],
            ["data", "prepare", f"{name}.zip"],
        ]
        for words in commands:
            code = main(words)
            err = capsys.readouterr().err
            assert code in (2, 3, 65), (words, err)
            assert len(err.splitlines()) <= 3, err
            given += 1
    assert not canary.exists()
    assert not (tmp_path / "run").exists()
    promise.kept(pickles=10, commands=given, executed=0)


def test_pickles_as_initial_weights_and_extractors_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    canary = tmp_path / "canary"
    np.save(tmp_path / "data.npy", np.zeros((8, 8, 8), np.uint8))
    small = [
        "--generator.width",
        "4",
        "--discriminator.width",
        "4",
        "--batch-size",
        "4",
        "--out",
        str(tmp_path / "run"),
    ]
    for content in list(hostile(canary).values())[1:4:2]:
        (tmp_path / "x.pt").write_bytes(content)
        train = ["train", "dcgan", "--data", str(tmp_path / "data.npy"), "--steps", "1", *small]
        assert main([*train, "--init", str(tmp_path / "x.pt")]) == 65
        inception = ["--extractor", "inception-v3-compat", "--extractor-weights", str(tmp_path / "x.pt")]
        assert main([*train, *inception]) == 65
        assert len(capsys.readouterr().err.splitlines()) <= 6, "two errors of at most three lines"
    assert not canary.exists()


# --- names (R30) ------------------------------------------------------------------------------------------------------

NAMES = [
    "../../up", "/etc/passwd", "..", ".", "a/../../b", "~root", "$HOME", "`id`", "$(id)", "a;b", "a|b", "a b", "-rf",
    "--out", "<script>alert(1)</script>", "\x1b[2J\x1b]0;owned\x07", "a\nb", "\u202egnp.exe", "x" * 5000, "'\"&<>",
]  # fmt: skip


def harmless(text: str) -> bool:
    return all(letter.isprintable() or letter == "\n" for letter in text)


@pytest.mark.promise("R30", 1, 1)
def test_hostile_names_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], promise: Any
) -> None:
    assert len(NAMES) == 20
    (tmp_path / "a" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "here")
    before = set(tmp_path.rglob("*"))
    for name in NAMES:
        for words in (
            ["train", name], ["train", "dcgan", "--data", name], ["show", name], ["list", name], ["config", name],
            ["sample", name], ["eval", name, "--against", "nosuch"], ["data", "prepare", name],
        ):  # fmt: skip
            verbs = 2 if words[0] == "data" else 1
            guarded = words[0] in ("show", "list", "sample", "data")
            code = main([*words[:verbs], "--", *words[verbs:]] if guarded else words)
            out, err = capsys.readouterr()
            assert code in (0, 2, 3, 65, 74), (words, err)
            assert len(err.splitlines()) <= 3
            assert harmless(out)
            assert harmless(err)
    assert set(tmp_path.rglob("*")) == before
    promise.kept(names=len(NAMES), escapes_of_paths=0, escapes_of_terminals=0)


def test_hostile_folders_and_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    names = [name for name in NAMES if "/" not in name and name not in ("..", ".") and len(name) < 200]
    for name in names:
        for number, label in enumerate(names if name == names[0] else names[:1]):
            (tmp_path / "sets" / name / label).mkdir(parents=True)
            Image.new("L", (8, 8), 9 * number).save(tmp_path / "sets" / name / label / f"{name}.png")
    for name in names:
        assert main(["data", "prepare", str(tmp_path / "sets" / name)]) == 0
        configuration, recipe = configured(str(tmp_path / "sets" / name))
        folder = default_directory(configuration.recipe, data_of(configuration, recipe))
        assert folder.parent == Path("runs")
        assert set(folder.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert folder.name.startswith("dcgan-")
    small = ["--steps", "1", "--generator.width", "4", "--discriminator.width", "4", "--batch-size", "4"]
    assert main(["train", "dcgan", f"--data={tmp_path / 'sets' / names[0]}", *small]) == 0
    out, err = capsys.readouterr()
    assert harmless(out)
    assert harmless(err)
    assert b"\x1b" not in b"".join(path.read_bytes() for path in tmp_path.glob("runs/*/*.json*"))
    assert {path.name for path in tmp_path.iterdir()} == {"sets", "runs"}


def configured(data: str) -> tuple[Any, Any]:
    configuration = options.resolve(plugins.catalogue(), "dcgan", data=data)
    return configuration, options.build(plugins.catalogue(), configuration)


HOSTILE_PLUGIN = """
from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1
NAMES = {names!r}


@hookimpl
def zoo_components():
    for number, name in enumerate(NAMES):
        words = dict(summary=name, paper=name, tags=(name,))
        yield Component(kind="loss", name=f"loss{{number}}", target="nosuch:x", **words)
"""


def test_hostile_words_of_a_plugin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "hostile.py"
    file.write_text(HOSTILE_PLUGIN.format(names=NAMES))
    commands = (["list", "--kind", "all"], ["plugins"], ["list", "--kind", "loss", "--json"], ["show", "local/loss15"])
    for words in commands:
        main(["--plugin", str(file), *words])
        out, err = capsys.readouterr()
        assert harmless(out), words
        assert harmless(err), words
