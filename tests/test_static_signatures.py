"""Signatures read from source equal those of the imported targets; unsupported targets are imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aigc_zoo.options.signatures import read, signature_options
from aigc_zoo.options.static_signatures import StaticEntry, static_signature
from aigc_zoo.plugins import catalogue

LIST_OPTIONS = """
import sys
from aigc_zoo.options.signatures import read
from aigc_zoo.options.static_signatures import StaticEntry
from aigc_zoo.plugins import catalogue

for entry in catalogue().with_entries(StaticEntry).items():
    for option in read(entry):
        print(entry.kind, entry.id, option)
assert not {"torch", "numpy"} & set(sys.modules), entry.id
"""


def test_signatures_of_all_first_party_components_are_read_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", LIST_OPTIONS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    expected = [f"{entry.kind} {entry.id} {option}" for entry in catalogue().items() for option in read(entry)]
    assert done.stdout.splitlines() == expected


SOURCE = '''
from __future__ import annotations
import math
import torch
from torch import Tensor, nn
from typing import Annotated, Literal
from pathlib import Path
from aigc_zoo.spec import Range
from nowhere import Spec

raise_me = 1 / len([torch])
SIZES = (4, 8)
LARGEST = 2 * SIZES[1]
Mode = Literal["fast", "slow"]


def plain(spec: Spec, latent: int, *, width: Annotated[int, Range(1, LARGEST)] = SIZES[0], mode: Mode = "slow",
          path: Path | None = None, sizes: tuple[int, ...] = SIZES) -> nn.Module:
    """Plain.

    width: of the layer.
    """
    raise AssertionError("never run")


class Net(nn.Module):
    """A class.

    gain: how much.
    """

    def __init__(self, spec: Spec, *, gain: float = math.pi) -> None:
        super().__init__()


def computed(*, width: int = max(1, int(torch.tensor(3)))) -> None: ...


@torch.no_grad()
def decorated(*, width: int = 3) -> None: ...


imported = nn.Linear
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "sketched_by_a_test.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    return "sketched_by_a_test"


def test_constants_choices_bounds_and_help_are_read(module: str) -> None:
    target = static_signature(f"{module}:plain")
    assert target is not None
    options = {option.key: option for option in signature_options(target, ("spec", "latent"))}
    assert list(options) == ["width", "mode", "path", "sizes"]
    assert (options["width"].default, options["width"].high, options["width"].help) == (4, 16, "of the layer.")
    assert (options["mode"].choices, options["mode"].default) == (("fast", "slow"), "slow")
    assert (options["path"].type, options["path"].optional) == (Path, True)
    assert options["sizes"].default == (4, 8)
    assert module not in sys.modules


def test_classes_are_read(module: str) -> None:
    target = static_signature(f"{module}:Net")
    assert target is not None
    (gain,) = signature_options(target, ("spec",))
    assert (gain.default, gain.help) == (pytest.approx(3.14159, rel=1e-5), "how much.")


@pytest.mark.parametrize("name", ["computed", "decorated", "imported", "missing"])
def test_unsupported_targets_are_not_sketched(module: str, name: str) -> None:
    assert static_signature(f"{module}:{name}") is None


def test_an_entry_falls_back_to_importing_its_target() -> None:
    entry = catalogue().with_entries(StaticEntry).find("loss", "minimax").entry
    assert isinstance(entry, StaticEntry)
    assert callable(entry.load())
