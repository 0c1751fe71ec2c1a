"""Wrong command lines give at most three lines, which name the thing and the fix, the exit code and no leftovers."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aigc_zoo.cli import main

WRONG = [
    ("trian dcgan", 2, "Did you mean 'train'?"),
    ("train", 2, "zoo list shows"),
    ("train dcgna", 3, "did you mean 'dcgan'"),
    ("train dcgan.cifra10", 3, "did you mean 'cifar10'?"),
    ("train dcgan --stpes 5", 2, "did you mean --steps?"),
    ("train dcgan --input x=y", 2, "dcgan reads no inputs"),
    ("train pix2pix --input source=three", 2, "reads source from --data"),
    ("config gan --input x", 2, "gan reads no inputs"),
    ("train dcgan --generator.widht 3", 2, "did you mean --generator.width"),
    ("train dcgan --steps many", 2, "--steps many: not a whole number"),
    ("train dcgan --steps 0", 2, "not in the range 1 or more"),
    ("train dcgan --steps 5 --images 5", 2, "give one of them"),
    ("train dcgan --lr fast", 2, "--lr fast: not a finite number"),
    ("train dcgan --lr -1", 2, "not in the range 0 to 1"),
    ("train dcgan --precision fp8", 2, "not one of auto, fp32, bf16"),
    ("train dcgan --accumulate 7", 3, "use --batch-size 63"),
    ("train dcgan --data ./nowhere", 65, "no such file or folder"),
    ("train dcgan --data mnits", 65, "did you mean 'mnist'?"),
    ("train dcgan --data empty", 65, "use --data with a folder"),
    ("train dcgan --data text.zip", 65, "pack it again"),
    ("train dcgan --data torn", 65, "replace the damaged files, or give other data"),
    ("train dcgan --data odd.npy", 3, "--size 40"),
    ("train dcgan --data text.npy", 65, "samples must be numbers"),
    ("train dcgan --data grey.npy --conditional", 3, "leave out --conditional"),
    ("train dcgan --generator nope", 3, "zoo list --kind generator"),
    ("train dcgan --penalty gpp", 3, "did you mean 'gp'?"),
    ("train dcgan --penalty gp", 3, "--discriminator.norm none"),
    ("train dcgan --engine graph --device cpu", 3, "say --engine eager"),
    ("train dcgan --until 'fid<='", 2, 'for example --until "fid<=5"'),
    ("train dcgan --until 'kid<=1'", 2, "kid is not measured"),
    ("train dcgan --extractor none-such", 3, "zoo list --kind extractor"),
    ("train dcgan --out file", 2, "is a file"),
    ("train dcgan --init missing.safetensors", 65, "missing.safetensors cannot be read"),
    ("train dcgan --init text.safetensors", 65, "use another copy"),
    ("train dcgan --config missing.json", 2, "no such file"),
    ("train dcgan --config bad.json", 3, "not a card in JSON"),
    ("sample nowhere", 65, "no such run or file"),
    ("sample empty", 65, "train it first"),
    ("sample text.safetensors", 65, "use another copy"),
    ("eval nowhere --against digits", 65, "no such run, file or folder"),
    ("eval three --against digits", 65, "--allow-few"),
    ("eval three", 2, "use --against DATA"),
    ("show nope", 3, "zoo list --kind all"),
    ("list --kind nope", 2, "is not one of"),
    ("new Bad!Name", 2, "use lower-case letters"),
    ("export nowhere --to x", 65, "no such run or file"),
    ("report nowhere", 65, "no such run or result file"),
    ("bench speed --fail-if 'median>1.1'", 2, "--compare OLD.json"),
    ("bench speed --compare nowhere.json", 65, "nowhere.json"),
    ("bench speed --compare bad.json", 65, "bad.json"),
    ("bench speed --json no/such/folder.json", 2, "there is no folder"),
    ("bench speed --json empty", 2, "name a file in it"),
    ("bench quality --json .", 2, "name a file in it, such as results.json"),
    ("bench matrix gan --dry-run --json ''", 2, "name a file in it"),
    ("check nope", 3, "`zoo plugins` lists"),
    ("--plugin missing.py list", 3, "missing.py: No such file"),
    ("data prepare nowhere", 65, "zoo list --kind dataset"),
    ("completion tcsh", 2, "is not one of 'bash', 'zsh', 'fish'"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are empty, damaged or of the wrong type."""
    path = tmp_path_factory.mktemp("folder")
    for name in ("empty", "torn", "three"):
        (path / name).mkdir()
    for number in range(3):
        (path / "torn" / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
        Image.new("L", (28, 28), number).save(path / "three" / f"{number}.png")
    for name in ("text.zip", "text.safetensors", "file", "bad.json"):
        (path / name).write_text("{ no such thing")
    np.save(path / "odd.npy", np.zeros((8, 3, 33, 33), np.uint8))
    np.save(path / "grey.npy", np.zeros((8, 28, 28), np.uint8))
    np.save(path / "text.npy", np.full((4, 28, 28), "x"))
    return path


def test_there_are_at_least_thirty() -> None:
    assert len({line for line, _, _ in WRONG}) == len(WRONG) >= 30


@pytest.mark.promise("U4", 1, 1)
@pytest.mark.parametrize(("line", "code", "fix"), WRONG, ids=[line for line, _, _ in WRONG])
def test_the_error_has_three_lines_at_most(
    line: str,
    code: int,
    fix: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    promise: Any,
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.rglob("*"))
    assert main(shlex.split(line)) == code
    out, err = capsys.readouterr()
    assert not out
    assert fix in err
    message = err[err.index("zoo: " if "zoo: " in err else "Error: ") :]  # after any notes
    assert len(message.splitlines()) <= 3
    assert "Traceback" not in err
    assert sorted(path.name for path in folder.rglob("*")) == before, "no files are left behind"
    promise.kept(command_lines=1, told=1)
