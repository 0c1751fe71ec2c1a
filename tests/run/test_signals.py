"""Signals save and leave: exit 130 and 143, and the same command goes on as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aigc_zoo.artefacts.runs import RunFolder
from aigc_zoo.run.signals import stopping

from .conftest import TINY


def command(blobs: Path, out: Path, **more: object) -> list[str]:
    settings = {**TINY, "steps": 100_000, "log_every": 1, "save_every": 50_000, "eval_every": 50_000, **more}
    flags = [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "aigc_zoo", "train", "dcgan", "--data", str(blobs), "--out", str(out), *flags]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_leaves(blobs: Path, tmp_path: Path, sent: signal.Signals, code: int) -> None:
    out = tmp_path / "run"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command(blobs, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    deadline = time.monotonic() + 60
    while not (out / "log.jsonl").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(sent)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert "continues" in told
    last = json.loads((out / "log.jsonl").read_text().splitlines()[-1])["step"]
    (saved, _), *_ = RunFolder(out).checkpoints()[::-1]
    assert saved >= last >= 1
    assert not (out / "finished.json").exists()


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
