"""`zoo doctor` finds faults and names the fix; a crash of torch is confined to a child process."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path

import pytest

from aigc_zoo.cli import doctor, main
from aigc_zoo.cli.probe import probe


def findings(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, dict[str, str]]:
    """The items of `zoo doctor --json` by their name."""
    main(["doctor", "--json", *args])
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == 1
    return {row["what"]: row for row in report["items"]}


def test_all_checks_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    found = findings(capsys)
    expected = {"aigc_zoo", "torch", "torchvision", "plugins", "processors", "GPU driver", "cache", "memory"}
    assert expected | {"working directory", "clock", "numpy", "pillow", "torch-fidelity", "safetensors"} <= found.keys()
    assert all(row["state"] in ("ok", "warning", "fault") and row["found"] for row in found.values())
    assert all(bool(row["fix"]) == (row["state"] != "ok") for row in found.values())
    assert metadata.version("torch") in found["torch"]["found"]
    assert any("ms to sync a file" in row["found"] for row in found.values())
    assert main(["doctor"]) in (0, 1)
    assert "working directory" in capsys.readouterr().out  # long rows are cut to the width


def test_incompatible_versions_are_a_fault(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "2.4.1" if name == "torch" else "99.0")
    monkeypatch.setattr(doctor, "_requires", lambda name: ["torch (==2.14.1)"] if name == "torchvision" else [])
    torch = findings(capsys)["torch"]
    assert torch["state"] == "fault"
    assert torch["found"] == "2.4.1; torchvision needs torch==2.14.1"
    assert torch["fix"] == 'python -m pip install "torch==2.14.1"'
    assert main(["doctor", "--json"]) == 1


def test_a_missing_library_is_a_fault(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "" if name == "pillow" else "99.0")
    assert findings(capsys)["pillow"]["fix"] == "python -m pip install pillow"


def test_low_disk_low_memory_and_a_wrong_clock_are_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "DISK", 1 << 60)
    monkeypatch.setattr(doctor, "EPOCH", 1 << 60)
    monkeypatch.setattr(doctor, "MEMORY", 1 << 60)
    monkeypatch.setenv("ZOO_CACHE", "/nosuch/cache")
    found = findings(capsys)
    assert found["working directory"]["state"] == found["cache"]["state"] == found["memory"]["state"] == "warning"
    assert "ZOO_CACHE" in found["cache"]["fix"]
    assert found["clock"]["state"] == "fault"


def test_a_system_without_load_average_is_no_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has neither of these functions."""
    monkeypatch.delattr(os, "getloadavg", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert findings(capsys)["processors"]["state"] == "ok"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os; os.abort()", "it ended with"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "torchvision::nms does not exist"),
        ("import time; time.sleep(60)", "no answer within 2 s"),
    ],
)
def test_a_crash_of_torch_is_a_fault(code: str, expected: str) -> None:
    first = 'import sys; sys.stdout.write(chr(0) + \'["a", "ok", "b", ""]\\n\'); sys.stdout.flush()\n'
    rows = probe(first + code, limit=2 if "sleep" in code else 60)
    assert rows[0] == ["a", "ok", "b", ""]
    assert rows[-1][:2] == ["torch works", "fault"]
    assert expected in rows[-1][2]


@pytest.mark.slow
def test_full_trains_on_the_cpu(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = findings(capsys, "--full")
    assert found["trains on cpu"]["state"] == found["torch works"]["state"] == "ok"
    assert not os.listdir(tmp_path)
