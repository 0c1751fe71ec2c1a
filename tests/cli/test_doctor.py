"""`zoo doctor` finds what is wrong, and says what to do about it; what crashes torch crashes a child alone."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path

import pytest

from aigc_zoo.cli import doctor, main
from aigc_zoo.cli.probe import probe


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, str]]:
    main(["doctor", "--json", *words])
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    return {row["what"]: row for row in found["items"]}


def test_it_looks_at_what_it_should(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys)
    wanted = {"aigc_zoo", "torch", "torchvision", "plugins", "processors", "GPU driver", "runs here", "cache", "memory"}
    assert wanted | {"clock", "numpy", "pillow", "torch-fidelity", "safetensors"} <= found.keys()
    assert all(row["state"] in ("ok", "warning", "fault") and row["found"] for row in found.values())
    assert all(bool(row["fix"]) == (row["state"] != "ok") for row in found.values())
    assert metadata.version("torch") in found["torch"]["found"]
    assert main(["doctor"]) in (0, 1)
    assert "ms to sync a file" in capsys.readouterr().out


def test_a_pair_that_does_not_fit_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "2.4.1" if name == "torch" else "99.0")
    monkeypatch.setattr(doctor, "_requires", lambda name: ["torch (==2.14.1)"] if name == "torchvision" else [])
    found = rows(capsys)["torch"]
    assert found["state"] == "fault"
    assert found["found"] == "2.4.1; torchvision needs torch==2.14.1"
    assert found["fix"] == 'python -m pip install "torch==2.14.1"'
    assert main(["doctor", "--json"]) == 1


def test_a_missing_library_is_a_fault(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "" if name == "pillow" else "99.0")
    assert rows(capsys)["pillow"]["fix"] == "python -m pip install pillow"


def test_a_disk_that_fills_up_and_a_clock_that_stands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "ROOM", 1 << 60)
    monkeypatch.setattr(doctor, "EPOCH", 1 << 60)
    monkeypatch.setattr(doctor, "MEMORY", 1 << 60)
    monkeypatch.setenv("ZOO_CACHE", "/nosuch/cache")
    found = rows(capsys)
    assert found["runs here"]["state"] == found["cache"]["state"] == found["memory"]["state"] == "warning"
    assert "ZOO_CACHE" in found["cache"]["fix"]
    assert found["clock"]["state"] == "fault"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.abort()", "it ended with"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "torchvision::nms does not exist"),
        ("import time; time.sleep(60)", "no answer within 2 s"),
    ],
)
def test_a_torch_that_dies_is_a_finding(code: str, said: str) -> None:
    first = 'import sys; sys.stdout.write(chr(0) + \'["a", "ok", "b", ""]\\n\'); sys.stdout.flush()\n'
    found = probe(first + code, limit=2 if "sleep" in code else 60)
    assert found[0] == ["a", "ok", "b", ""]
    assert found[-1][:2] == ["torch works", "fault"]
    assert said in found[-1][2]


@pytest.mark.slow
def test_the_full_look_trains(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = rows(capsys, "--full")
    assert found["trains on cpu"]["state"] == found["torch works"]["state"] == "ok"
    assert not os.listdir(tmp_path)
