"""A folder of small inputs for tests that call many commands: writes elsewhere are blocked, and changes are undone."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import aigc_zoo
from aigc_zoo import cli
from aigc_zoo.artefacts import checkpoint

PLUGIN = """
from aigc_zoo.spec import Component, hookimpl
ZOO_API = 1

@hookimpl
def zoo_components():
    yield Component(kind="loss", name="flat", target=f"{__name__}:flat", summary="A loss")
    yield Component(kind="dataset", name="calls", target="guarded:dataset", summary="Samples")
    yield Component(kind="recipe", name="calls", target="guarded:recipe", summary="A recipe", defaults={"data": "ring"})

def flat(*, slope: float = 1.0):
    return None
"""

action: list[Callable[[], Any]] = []
"""What the components of the plugin do."""


def recipe() -> Any:
    return action[-1]()


def dataset(where: Path) -> Any:
    return {"train": action[-1]()}


QUICK = {"steps": 1, "batch_size": 4, "eval_num": 8, "progress": False}
"""Settings of a training run that takes a tenth of a second."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.mkdir": 1, "os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.link": 2, "os.symlink": 2, "os.chmod": 1}
"""Audit events of calls that change the file system, with the number of their paths."""


class _Guard:
    """What the audit hook, which Python cannot remove, allows: while `roots` is empty, everything."""

    def __init__(self) -> None:
        self.roots: tuple[str, ...] = ()
        self.blocked: list[str] = []
        self.added = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.roots:
            return
        if event == "open":
            path, _, flags = arguments
            paths = [path] if isinstance(flags, int) and flags & _WRITES else []
        else:
            count = _CHANGES.get(event, 0)
            relative = any(isinstance(one, int) and one >= 0 for one in arguments[count:]) and event != "os.mkdir"
            paths = [] if relative and event != "os.chmod" else list(arguments[:count])
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike):
                self._check(os.fsdecode(path))

    def _check(self, path: str) -> None:
        full = os.path.realpath(path)
        if f"{full}/".startswith((*self.roots, "/dev/", "/proc/")) or "__pycache__" in full:
            return
        self.blocked.append(full)
        raise PermissionError(13, "blocked by the test", path)


_guard = _Guard()


@contextmanager
def writes_only_below(*roots: Path) -> Iterator[list[str]]:
    """Files outside `roots` cannot be written or changed by this process. Yields the paths where it was tried."""
    if not _guard.added:
        _guard.added = True
        sys.addaudithook(_guard)
    _guard.blocked = []
    _guard.roots = tuple(os.path.realpath(root) for root in roots)
    try:
        yield _guard.blocked
    finally:
        _guard.roots = ()


class Folder:
    """A folder whose content is put back after each use."""

    def __init__(self, path: Path, copy: Path) -> None:
        self.path, self._copy = path, copy
        shutil.copytree(path, copy, symlinks=True)
        self._state = self._files()

    def changed(self) -> list[Path]:
        """Files and folders that are new or changed; of a folder that was there only its content counts."""
        now = self._files()
        return [path for path in now if path not in self._state or self._state[path] != now[path]]

    def restore(self) -> None:
        """Put the content back."""
        for path in sorted(self.changed(), reverse=True):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for path in sorted(set(self._state) - set(self._files())):
            source = self._copy / path.relative_to(self.path)
            if source.is_dir():
                path.mkdir(exist_ok=True)
            else:
                shutil.copy2(source, path)
        self._state = self._files()

    def _files(self) -> dict[Path, tuple[int, int] | None]:
        """Size and time of each file, and None for each folder."""
        found: dict[Path, tuple[int, int] | None] = {}
        for folder, names, files in os.walk(self.path):
            for name in names:
                found[Path(folder, name)] = None
            for name in files:
                status = os.lstat(os.path.join(folder, name))
                found[Path(folder, name)] = (status.st_size, status.st_mtime_ns)
        return found


def write_inputs(folder: Path) -> None:
    """Images, arrays, texts, damaged files, plugin files, and the runs of three recipes."""
    rng = np.random.default_rng(0)
    for name in ("empty", "torn", "photos", "classes/cat", "classes/dog", "split/train", "split/test", "not a word"):
        (folder / name).mkdir(parents=True)
    for number in range(6):
        picture = Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8))
        for name in ("photos", f"classes/{'cat' if number % 2 else 'dog'}", f"split/{'train' if number else 'test'}"):
            picture.save(folder / name / f"{number}.png")
    (folder / "torn" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for path in sorted((folder / "photos").iterdir()):
            archive.write(path, path.name)
    np.save(folder / "points.npy", rng.normal(size=(64, 2)).astype(np.float32))
    np.savez(folder / "images.npz", images=rng.integers(0, 256, (8, 28, 28), dtype=np.uint8), labels=np.arange(8) % 2)
    for name in ("file", "text.zip", "text.npy", "bad.json", "text.safetensors", "broken.py"):
        (folder / name).write_text("{ no such thing")
    (folder / "lines.txt").write_text("one line\nand another\n" * 4)
    (folder / "list.json").write_text("[1, 2]")
    (folder / "mine.py").write_text(PLUGIN)
    aigc_zoo.train("vanilla", "ring", out="points-run", eval_every=1, metrics="modes", **QUICK)
    small = {"generator.width": 4, "discriminator.width": 4, "latent": 4}
    how = {**small, **QUICK, "eval_every": 9, "conditional": True}
    run = aigc_zoo.train("dcgan", "classes", out="images-run", **how)
    run.generator  # read once, so that an unreadable one would fail here
    words = "bench quality vanilla --data points.npy --images 4 --seeds 1 --eval-num 8 --out cells --json results.json"
    assert cli.main([*words.split(), "--metrics", "variance-ratio"]) == 0
    card = json.loads((folder / "images-run/card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card))


class Place:
    """The folder, as the working directory; `use` runs something there and puts the folder back."""

    def __init__(self, base: Path) -> None:
        self.base, self.work = base, base / "work"
        self.work.mkdir()
        self.changes = 0
        os.chdir(self.work)
        write_inputs(self.work)
        self.folder = Folder(self.work, base / "copy")

    def use(self, what: str, work: Callable[[], Any]) -> Any:
        """The result of `work`, which writes below this folder only and leaves no part of a file."""
        try:
            random.seed(0)
            with writes_only_below(self.base) as blocked, warnings.catch_warnings():
                warnings.simplefilter("error")
                result = work()
            assert not blocked, f"{what}: wrote {blocked}"
            for path in self._new_files():
                complete(path, what)
            return result
        finally:
            os.chdir(self.work)
            self.folder.restore()

    def _new_files(self) -> list[Path]:
        return [path for path in self.folder.changed() if path.is_file() and not path.is_symlink()]


def complete(path: Path, what: str) -> None:
    """A file that was written is whole: no temporary file, and readable. Reports have the name that was chosen."""
    assert not path.name.endswith((".tmp", ".part")), f"{what}: left {path}"
    with path.open("rb") as file:
        head = file.read(1)
    if head == b"<":
        text = path.read_text(encoding="utf-8")
        assert "<html" not in text or text.rstrip().endswith("</html>"), f"{what}: a part of {path}"
    elif head == b"{":
        for line in path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            json.loads(line)
    elif path.suffix == ".safetensors":
        checkpoint.read_card(path)
    elif head in (b"\x89", b"G"):
        with Image.open(path) as picture:
            picture.load()
